//! A connection as a program sees it, and how it waits for readiness.

use crate::calls::{Ret, ret};
use crate::hand::Hand;
use esca_model::board::Fault;
use esca_model::program::Waits;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

/// One connection, as one thread knows it.
#[derive(Clone)]
pub(crate) struct Conn {
    /// Its number in the program.
    pub id: usize,
    /// Its descriptors, the newest last.
    pub fds: Vec<i32>,
    /// The one in the epoll set.
    pub watched: Option<i32>,
    pub waits: Waits,
    /// Bytes that this writer has written.
    pub written: u64,
    /// Bytes read.
    pub read: u64,
    /// No more can be read.
    pub over: bool,
    pub blocking: bool,
    /// For edges: may be written, may be read.
    pub writable: bool,
    pub readable: bool,
}

impl Conn {
    pub fn new(id: usize, fd: i32, waits: Waits) -> Conn {
        Conn {
            id,
            fds: vec![fd],
            watched: None,
            waits,
            written: 0,
            read: 0,
            over: false,
            blocking: false,
            writable: true,
            readable: true,
        }
    }

    /// The descriptor that an operation names.
    pub fn fd(&self, a: u8) -> i32 {
        self.fds[usize::from(a) % self.fds.len()]
    }

    fn edge(&self) -> bool {
        matches!(self.waits, Waits::Edge | Waits::PlainEdge)
    }
}

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ENDS: u32 = (libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLRDHUP) as u32;

fn control(epoll: i32, op: i32, fd: i32, events: u32, data: u64) -> Ret {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the event lives through the call.
    ret(unsafe { libc::epoll_ctl(epoll, op, fd, &raw mut event) })
}

impl Hand<'_> {
    /// Puts the connection of stream `s` into the epoll set, if it waits so.
    pub fn watch(&mut self, s: usize) {
        let epoll = self.epoll;
        let Some(c) = &mut self.conns[s] else { return };
        let rdhup = libc::EPOLLRDHUP as u32;
        let events = match c.waits {
            Waits::Level => IN,
            Waits::Edge => IN | OUT | rdhup | libc::EPOLLET as u32,
            Waits::PlainEdge => IN | OUT | libc::EPOLLET as u32,
            Waits::Poll | Waits::Select => return,
        };
        let fd = c.fds[0];
        if control(epoll, libc::EPOLL_CTL_ADD, fd, events, c.id as u64).is_ok() {
            c.watched = Some(fd);
        }
    }

    /// Takes the descriptor out of the epoll set before it is closed, where
    /// others of the same connection stay open; puts one of those in.
    pub fn hand_over(&mut self, s: usize, closed: i32) {
        let epoll = self.epoll;
        let Some(c) = &mut self.conns[s] else { return };
        c.fds.retain(|fd| *fd != closed);
        if c.watched == Some(closed) {
            c.watched = None;
            if !c.fds.is_empty() {
                let _ = control(epoll, libc::EPOLL_CTL_DEL, closed, 0, 0);
                self.watch(s);
            }
        }
    }

    /// epoll_wait(2) of at most `ms`; notes what came.
    pub fn events(&mut self, ms: i32) -> usize {
        // SAFETY: room for 16 events.
        let (n, all) = unsafe {
            let mut all: [libc::epoll_event; 16] = zeroed();
            (libc::epoll_wait(self.epoll, all.as_mut_ptr(), 16, ms), all)
        };
        let n = n.max(0) as usize;
        for event in &all[..n] {
            let (id, bits) = (event.u64 as usize, event.events);
            let known = self.conns.iter_mut().flatten().find(|c| c.id == id);
            match known {
                Some(c) => {
                    c.writable |= bits & (OUT | ENDS) != 0;
                    c.readable |= bits & (IN | ENDS) != 0;
                }
                // A child has the connection too: the kernel goes on.
                None if self.world.inherited[id].load(SeqCst) => {}
                None => self.fault(Fault::Stale, id),
            }
        }
        n
    }

    /// Waits until the stream may be written (or read); false if that never
    /// comes.
    pub fn await_ready(&mut self, s: usize, write: bool) -> bool {
        let Some(c) = &self.conns[s] else {
            return false;
        };
        let (id, fd, waits) = (c.id, c.fds[0], c.waits);
        self.world.board.hurry(id);
        let came = match waits {
            Waits::Edge | Waits::PlainEdge => self.await_event(s, write),
            Waits::Level => {
                let Some(watched) = c.watched else {
                    return false;
                };
                let on = IN | if write { OUT } else { 0 };
                let _ = control(self.epoll, libc::EPOLL_CTL_MOD, watched, on, id as u64);
                if let Some(c) = &mut self.conns[s] {
                    (c.writable, c.readable) = (c.writable && !write, c.readable && write);
                }
                let came = self.await_event(s, write);
                let _ = control(self.epoll, libc::EPOLL_CTL_MOD, watched, IN, id as u64);
                came
            }
            Waits::Poll => poll(&[fd], write, self.world.patience) > 0,
            Waits::Select => select(&[fd], write, self.world.patience) > 0,
        };
        if !came {
            self.fault(Fault::Lost, id);
        }
        came
    }

    fn await_event(&mut self, s: usize, write: bool) -> bool {
        let end = std::time::Instant::now()
            + std::time::Duration::from_millis(self.world.patience as u64);
        loop {
            let Some(c) = &self.conns[s] else {
                return false;
            };
            if write && c.writable || !write && c.readable {
                return true;
            }
            if std::time::Instant::now() > end {
                return false;
            }
            self.events(100);
        }
    }

    /// A wait of no time, for all streams.
    pub fn glance(&mut self, how: Waits) {
        let fds: Vec<i32> = self.conns.iter().flatten().map(|c| c.fds[0]).collect();
        match how {
            Waits::Poll => _ = poll(&fds, true, 0),
            Waits::Select => _ = select(&fds, true, 0),
            _ => _ = self.events(0),
        }
    }

    /// What is known of edges after a call said EAGAIN.
    pub fn exhausted(&mut self, s: usize, write: bool) {
        if let Some(c) = &mut self.conns[s]
            && (c.edge() || c.waits == Waits::Level)
        {
            if write {
                c.writable = false;
            } else {
                c.readable = false;
            }
        }
    }
}

/// poll(2) of all for reading, and for writing too if asked.
fn poll(fds: &[i32], write: bool, ms: i32) -> i32 {
    let events = if write && ms == 0 {
        libc::POLLIN | libc::POLLOUT
    } else if write {
        libc::POLLOUT
    } else {
        libc::POLLIN
    };
    let mut all: Vec<_> = fds
        .iter()
        .map(|&fd| libc::pollfd {
            fd,
            events,
            revents: 0,
        })
        .collect();
    // SAFETY: as many as there are.
    unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, ms) }
}

/// The same by select(2).
fn select(fds: &[i32], write: bool, ms: i32) -> i32 {
    let mut time = libc::timeval {
        tv_sec: (ms / 1000).into(),
        tv_usec: (ms % 1000 * 1000).into(),
    };
    // SAFETY: initialised sets; the actor's numbers are far below FD_SETSIZE.
    unsafe {
        let mut set: libc::fd_set = zeroed();
        fds.iter().for_each(|fd| libc::FD_SET(*fd, &raw mut set));
        let most = fds.iter().max().map_or(0, |fd| fd + 1);
        let (read, written) = if write {
            (null_mut(), &raw mut set)
        } else {
            (&raw mut set, null_mut())
        };
        libc::select(most, read, written, null_mut(), &raw mut time)
    }
}
