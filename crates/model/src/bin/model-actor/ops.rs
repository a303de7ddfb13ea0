//! The steps of a program.

use crate::calls::{self, Ret, ret};
use crate::conn::Conn;
use crate::hand::{Hand, number};
use esca_model::board::Fault;
use esca_model::program::{Dup, Op, Opt, Owner, Take, WRITERS, Waits, Way};
use std::sync::atomic::Ordering::SeqCst;

/// Descriptors of one connection at most.
const ALIASES: usize = 4;

/// The first writers are threads, the others children.
const FIRST_CHILD: usize = 2;

impl Hand<'_> {
    /// Does one step and notes what came of it. What makes no sense now (a
    /// write without a connection) is passed over, in every run alike.
    pub fn step(&mut self, op: &Op) {
        let world = self.world;
        match *op {
            Op::Write { s, a, n, how } => self.on(s, n, |h, s| h.write(s, a, n as usize, how)),
            Op::WriteAll { s, a, n, how } => {
                self.on(s, n, |h, s| h.write_all(s, a, n as usize, how));
            }
            Op::Read { s, a, n, take } if self.reads(s) => {
                self.on(s, n, |h, s| h.read(s, a, n as usize, take));
            }
            Op::ReadAll { s, n, take } if self.reads(s) && take != Take::Peek => {
                self.on(s, n, |h, s| h.read_all(s, n as usize, take));
            }
            Op::Input { s, n, take } if self.reads(s) && take != Take::Peek => {
                self.on(s, n, |h, s| h.input(s, n as usize, take));
            }
            Op::Wait(how) => self.glance(how),
            Op::Shutdown { s, a, way } if self.may_shut(s, way) => {
                self.on(s, 0, |h, s| h.shutdown(s, a, way));
            }
            Op::Close { s, all, leave } if self.owns(s) => {
                let times = if all { ALIASES } else { 1 };
                (0..times).for_each(|_| self.on(s, 0, |h, s| h.close(s, leave)));
            }
            Op::Open { s } => self.open(usize::from(s) % world.program.streams.len()),
            Op::Dup { s, a, dup } if self.owns(s) => {
                self.on(s, 0, |h, s| h.dup(s, a, dup));
            }
            Op::Opt { s, a, opt } if self.may_set(s, opt) => {
                self.on(s, 0, |h, s| h.set(s, a, opt));
            }
            Op::File => self.file(),
            Op::Compute(us) => {
                let end = std::time::Instant::now() + std::time::Duration::from_micros(us.into());
                while std::time::Instant::now() < end {
                    std::hint::spin_loop();
                }
            }
            Op::Fork { ref ops, wait } => self.fork(ops, wait),
            _ => {}
        }
        world.board.steps.fetch_add(1, SeqCst);
    }

    /// Does `f` on an open stream and notes what came of it.
    fn on(&mut self, s: u8, asked: u32, f: impl FnOnce(&mut Self, usize) -> Ret) {
        let s = usize::from(s) % self.conns.len();
        if let Some(c) = &self.conns[s] {
            let id = c.id;
            let came = f(self, s);
            self.came(Some(id), asked as usize, number(came));
        }
    }

    fn child(&self) -> bool {
        self.writer >= FIRST_CHILD
    }

    fn owner(&self, s: u8) -> Owner {
        let streams = &self.world.program.streams;
        streams[usize::from(s) % streams.len()].owner
    }

    /// Whether this thread alone uses the stream.
    fn owns(&self, s: u8) -> bool {
        self.owner(s) != Owner::Shared
    }

    fn reads(&self, s: u8) -> bool {
        !self.child() && (self.owns(s) || self.writer == 0)
    }

    fn may_shut(&self, s: u8, way: Way) -> bool {
        self.owns(s) && (!self.child() || way == Way::Write)
    }

    /// A socket is made blocking only where its peer goes on reading.
    fn may_set(&self, s: u8, opt: Opt) -> bool {
        let conn = &self.conns[usize::from(s) % self.conns.len()];
        let peer = conn.as_ref().and_then(|c| self.world.program.peer(c.id));
        match opt {
            Opt::Nonblock(_) | Opt::Fionbio(_) => {
                self.owns(s) && !self.child() && peer.is_some_and(|p| !p.stops())
            }
            _ => true,
        }
    }

    fn shutdown(&mut self, s: usize, a: u8, way: Way) -> Ret {
        let c = self.conns[s].as_mut().ok_or(0)?;
        calls::shutdown(c.fd(a), way)
    }

    fn set(&mut self, s: usize, a: u8, opt: Opt) -> Ret {
        let c = self.conns[s].as_mut().ok_or(0)?;
        if let Opt::Nonblock(on) | Opt::Fionbio(on) = opt {
            c.blocking = !on;
        }
        calls::option(c.fd(a), opt)
    }

    /// Closes the newest descriptor.
    fn close(&mut self, s: usize, leave: bool) -> Ret {
        let c = self.conns[s].as_ref().ok_or(0)?;
        let fd = *c.fds.last().ok_or(0)?;
        if c.fds.len() == 1 && !leave {
            self.settle(s);
        }
        self.hand_over(s, fd);
        self.drop_closed(s);
        calls::close(fd)
    }

    /// Reads what the peer sends, so that the close is one in good order.
    pub fn settle(&mut self, s: usize) {
        if let Some(c) = &self.conns[s]
            && !self.child()
            && (self.owns(s as u8) || self.writer == 0)
        {
            self.world.board.hurry(c.id);
            let _ = self.input(s, 30_000, Take::Read);
        }
    }

    fn drop_closed(&mut self, s: usize) {
        if self.conns[s].as_ref().is_some_and(|c| c.fds.is_empty()) {
            self.conns[s] = None;
        }
    }

    /// Accepts the next connection of stream `s`.
    pub fn open(&mut self, s: usize) {
        let (program, board) = (&self.world.program, &self.world.board);
        let Some(stream) = program.streams.get(s) else {
            return;
        };
        let mine = match stream.owner {
            Owner::Shared => self.writer == 0,
            Owner::Thread(t) => usize::from(t) % program.threads() == self.writer,
        };
        if !mine || self.conns[s].is_some() || self.next[s] >= stream.peers.len() {
            return;
        }
        let id = program.connection(s, self.next[s]);
        self.next[s] += 1;
        self.world.opened[id].store(true, SeqCst);
        let (fd, port) = calls::accept(self.world.listeners[s], stream.accept4);
        if u32::from(port) != board.peers[id].load(SeqCst) {
            self.fault(Fault::Accept, id);
        }
        self.came(Some(id), 0, number(fd));
        let Ok(fd) = fd else { return };
        let fd = fd as i32;
        if !stream.accept4 {
            let opt = if s.is_multiple_of(2) {
                Opt::Nonblock(true)
            } else {
                Opt::Fionbio(true)
            };
            let _ = calls::option(fd, opt);
        }
        let _ = calls::option(fd, Opt::Nodelay(true));
        self.conns[s] = Some(Conn::new(id, fd, stream.waits));
        self.watch(s);
    }

    fn dup(&mut self, s: usize, a: u8, dup: Dup) -> Ret {
        let c = self.conns[s].as_ref().ok_or(0)?;
        let (fd, many) = (c.fd(a), c.fds.len() >= ALIASES);
        let onto = match dup {
            Dup::Over(t) | Dup::Refused(t) => {
                let t = usize::from(t) % self.conns.len();
                let target = self.conns[t].as_ref().and_then(|c| c.fds.last().copied());
                match target {
                    Some(target) if t != s && self.owns(t as u8) => Some((t, target)),
                    _ => return Err(0),
                }
            }
            _ => None,
        };
        if many {
            return Err(0);
        }
        if let (Dup::Over(_), Some((t, target))) = (dup, onto) {
            if self.conns[t].as_ref().is_some_and(|c| c.fds.len() == 1) {
                self.settle(t);
            }
            self.hand_over(t, target);
            self.drop_closed(t);
        }
        let free = 60 + 8 * self.writer as i32 + s as i32;
        let free = (free..).find(|n| !self.conns.iter().flatten().any(|c| c.fds.contains(n)));
        let target = onto.map_or(free.unwrap_or(60), |(_, target)| target);
        let new = calls::dup(fd, dup, target)?;
        if let Some(c) = &mut self.conns[s]
            && !matches!(dup, Dup::Refused(_))
        {
            c.fds.push(new as i32);
        }
        Ok(new)
    }

    /// The lowest free number, as open(2) gives it.
    fn file(&mut self) {
        // SAFETY: a C string.
        let fd = ret(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) });
        self.came(None, 0, number(fd));
        if let Ok(fd) = fd {
            let _ = calls::close(fd as i32);
        }
    }

    fn fork(&mut self, ops: &[Op], wait: bool) {
        let world = self.world;
        let nth = FIRST_CHILD + world.forks.fetch_add(1, SeqCst) as usize;
        if self.child() || nth >= WRITERS {
            return;
        }
        let single = world.program.threads() == 1;
        if single {
            self.next_epoch();
        }
        for (opened, inherited) in world.opened.iter().zip(&world.inherited) {
            inherited.fetch_or(opened.load(SeqCst), SeqCst);
        }
        // SAFETY: the child does what a forked child of a threaded program
        // may do with this C library, and ends by _exit.
        let pid = ret(unsafe { libc::fork() });
        match pid {
            Ok(0) => {
                self.be_child(nth, ops, wait);
                crate::exit_now(0);
            }
            Ok(pid) => {
                self.children.push(pid as i32);
                world.loose.fetch_add(1, SeqCst);
                if wait {
                    self.reap();
                    if single {
                        self.next_epoch();
                    }
                }
            }
            Err(e) => self.came(None, 0, -i64::from(e)),
        }
    }

    fn be_child(&mut self, nth: usize, ops: &[Op], waited_for: bool) {
        let parents = self.epoll;
        let mut child = Hand::new(self.world, nth);
        self.world
            .inherited
            .iter()
            .for_each(|i| i.store(true, SeqCst));
        child.step = self.step;
        child.next = vec![usize::MAX; self.next.len()];
        child.conns = self.conns.clone();
        for c in child.conns.iter_mut().flatten() {
            (c.watched, c.written) = (None, 0);
            (c.writable, c.readable) = (true, true);
        }
        (0..child.conns.len()).for_each(|s| child.watch(s));
        child.glance(Waits::Level);
        for (i, op) in ops.iter().enumerate() {
            child.step = self.step + 1 + i as u32;
            // The parent would not know what it may expect.
            if waited_for || !matches!(op, Op::Shutdown { .. }) {
                child.step(op);
            }
        }
        if self.world.program.threads() == 1 {
            crate::check_descriptors(&[&child], &[parents]);
        }
    }

    /// Waits for all children.
    pub fn reap(&mut self) {
        for pid in std::mem::take(&mut self.children) {
            let mut status = 0;
            // SAFETY: the status lives through the call.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            self.world.loose.fetch_sub(1, SeqCst);
            self.came(None, 0, status.into());
        }
    }
}
