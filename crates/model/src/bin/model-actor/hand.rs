//! One thread (or forked child) of the program: its connections and the calls
//! it makes on them, each written to the log.

use crate::World;
use crate::calls::{self, Ret};
use crate::conn::Conn;
use esca_model::board::{Entry, Fault, Kind, NOBODY};
use esca_model::bytes;
use esca_model::program::{How, Take};
use std::sync::atomic::Ordering::SeqCst;

pub(crate) struct Hand<'a> {
    pub world: &'a World,
    /// Its mark in the bytes it writes.
    pub writer: usize,
    pub epoll: i32,
    pub conns: Vec<Option<Conn>>,
    /// The next connection of each stream.
    pub next: Vec<usize>,
    pub step: u32,
    /// Children not waited for.
    pub children: Vec<i32>,
}

/// Events in a row that say that there is room where there is none. Each may
/// have let some of what is left over out.
const SPINS: u32 = 3000;

/// A result as the log has it.
pub(crate) fn number(r: Ret) -> i64 {
    r.map_or_else(|e| -i64::from(e), |n| n as i64)
}

impl<'a> Hand<'a> {
    pub fn new(world: &'a World, writer: usize) -> Hand<'a> {
        // SAFETY: a number.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        let streams = world.program.streams.len();
        Hand {
            world,
            writer,
            epoll,
            conns: vec![None; streams],
            next: vec![0; streams],
            step: 0,
            children: Vec::new(),
        }
    }

    pub fn log(&self, kind: Kind, connection: usize, asked: usize, result: i64, epoch: u16) {
        let fits = self.world.board.log(Entry {
            kind,
            step: self.step,
            writer: self.writer as u8,
            connection: connection as u8,
            epoch,
            asked: asked as u32,
            result,
        });
        if !fits {
            // The run cannot be judged; that is not the program's fault.
            crate::exit_now(crate::TOO_LONG);
        }
    }

    /// Notes a fault; the first loss of an event ends the process.
    pub fn fault(&self, what: Fault, connection: usize) {
        self.log(Kind::Fault, connection, 0, what as i64, self.epoch());
        if what == Fault::Lost {
            crate::exit_now(crate::LOST);
        }
    }

    /// Notes what came of a step.
    pub fn came(&self, connection: Option<usize>, asked: usize, result: i64) {
        let connection = connection.unwrap_or(usize::from(NOBODY));
        self.log(Kind::Step, connection, asked, result, self.epoch());
    }

    pub fn epoch(&self) -> u16 {
        self.world.board.epoch.load(SeqCst)
    }

    /// Orders what comes after it behind what came before, for all writers;
    /// not while a child may be anywhere.
    pub fn next_epoch(&self) {
        if self.world.loose.load(SeqCst) == 0 {
            self.world.board.epoch.fetch_add(1, SeqCst);
        }
    }

    /// One call that writes the next `n` bytes on stream `s`.
    pub fn write(&mut self, s: usize, a: u8, n: usize, how: How) -> Ret {
        let Some(c) = &self.conns[s] else {
            return Err(0);
        };
        let (id, fd) = (c.id, c.fd(a));
        if c.blocking {
            self.world.board.hurry(id);
        }
        let seed = self.world.program.seed;
        let mut buffer = bytes::make(seed, id, self.writer, c.written, n);
        let (signals, epoch) = (calls::sigpipes(), self.epoch());
        let wrote = calls::write(fd, &mut buffer, how);
        // The buffer is the program's again.
        buffer.fill(b'!');
        let ret = wrote.ret;
        self.log(Kind::Wrote, id, n, number(ret), epoch);
        if !wrote.offset_holds {
            self.fault(Fault::Offset, id);
        }
        if ret.is_ok_and(|done| done > n) {
            self.fault(Fault::TooMuch, id);
        }
        let raised = calls::sigpipes() - signals;
        let due = u32::from(ret == Err(libc::EPIPE) && how != How::Quiet);
        // The second part of a sendmmsg or of a file may fail where the first
        // did not.
        let parts = [
            How::Sendmmsg,
            How::File,
            How::FileHere,
            How::ShortFile,
            How::Splice,
        ];
        if raised != due && !parts.contains(&how) {
            self.fault(Fault::Sigpipe, id);
        }
        match ret {
            Ok(done) => {
                if let Some(c) = &mut self.conns[s] {
                    c.written += done as u64;
                }
            }
            Err(libc::EAGAIN) => self.exhausted(s, true),
            Err(_) => {}
        }
        ret
    }

    /// Writes all `n` bytes; what was accepted, or the error that ended it.
    /// Gives up where the peer has stopped for good.
    pub fn write_all(&mut self, s: usize, a: u8, n: usize, how: How) -> Ret {
        let (mut done, mut spins) = (0, 0);
        while done < n {
            match self.write(s, a, n - done, how) {
                Ok(0) => return Err(0),
                Ok(more) => (done, spins) = (done + more, 0),
                Err(libc::EAGAIN) => {
                    spins += 1;
                    if spins == SPINS {
                        self.fault(Fault::Spins, self.conns[s].as_ref().map_or(0, |c| c.id));
                    }
                    let id = self.conns[s].as_ref().map_or(0, |c| c.id);
                    let stops = self.world.program.peer(id).is_some_and(|p| p.stops());
                    if stops || !self.await_ready(s, true) {
                        return Ok(done);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// One call that reads up to `n` bytes of stream `s`.
    pub fn read(&mut self, s: usize, a: u8, n: usize, take: Take) -> Ret {
        let Some(c) = &self.conns[s] else {
            return Err(0);
        };
        let (id, fd, at) = (c.id, c.fd(a), c.read);
        let take = if c.blocking && matches!(take, Take::Read | Take::Readv) {
            Take::Recv
        } else {
            take
        };
        let mut buffer = vec![0; n];
        let ret = calls::read(fd, &mut buffer, take);
        if n == 0 {
            return ret;
        }
        let epoch = self.epoch();
        // A peek is no progress: it is logged as asking for nothing.
        let asked = if take == Take::Peek { 0 } else { n };
        self.log(Kind::Read, id, asked, number(ret), epoch);
        match ret {
            Ok(0) => {
                if let Some(c) = &mut self.conns[s] {
                    c.over = true;
                }
            }
            Ok(done) => {
                let seed = self.world.program.seed;
                let due = bytes::make(seed, id, bytes::PEER, at, done);
                if buffer.get(..done) != Some(&due[..]) {
                    self.fault(Fault::Input, id);
                }
                if take != Take::Peek
                    && let Some(c) = &mut self.conns[s]
                {
                    c.read += done as u64;
                }
            }
            Err(libc::EAGAIN) => self.exhausted(s, false),
            Err(_) => {
                if let Some(c) = &mut self.conns[s] {
                    c.over = true;
                }
            }
        }
        ret
    }

    /// Reads pieces of `n` until there is no more now.
    pub fn read_all(&mut self, s: usize, n: usize, take: Take) -> Ret {
        let mut sum = 0;
        loop {
            match self.read(s, 0, n, take) {
                Ok(0) => return Ok(sum),
                Ok(more) => sum += more,
                Err(libc::EAGAIN) => return Ok(sum),
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits for all that the peer sends and reads it.
    pub fn input(&mut self, s: usize, n: usize, take: Take) -> Ret {
        loop {
            let Some(c) = &self.conns[s] else {
                return Err(0);
            };
            let due = self.world.program.peer(c.id).map_or(0, |p| p.sends());
            if c.over || c.read >= due {
                return Ok(c.read as usize);
            }
            if !self.await_ready(s, false) {
                return Err(0);
            }
            self.read_all(s, n, take)?;
        }
    }
}
