//! One residue: its bytes, how far they are, and how they are sent.

use super::progress::Progress;
use super::reserve::Home;
use crate::backend::{Backend, Op, OpCode};
use crate::errno::is_transient;
use crate::numbers::borrow;
use crate::sys::fd::Fd;
use crate::sys::table::Program;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, BorrowedFd};

/// The library's own descriptor of the socket, which outlives the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// None yet: the sweeper fetches it.
    Unfetched,
    /// This number, in the sweeper's descriptor table.
    Held(i32),
    /// It could not be fetched, and will not be.
    Refused,
}

/// One residue. Its number is in [`Progress`].
pub(super) struct Residue {
    pub next: *mut Residue,
    pub id: u32,
    pub hold: Hold,
    /// The program's descriptor, while it is open; else -1.
    pub fd: i32,
    /// A thread of the program sends the next bytes and may wait for that:
    /// nobody else does.
    pub lent: bool,
    /// The kernel lacked something other than room in the socket (memory).
    pub starved: bool,
    pub len: usize,
    /// Bytes handed over.
    pub done: usize,
    /// What ended it early: an errno, or 0.
    pub error: i32,
    pub bytes: *mut u8,
    pub home: Home,
}

/// How a stream's residue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All was handed over.
    Done,
    /// Some is left.
    Left,
    /// It failed with this errno.
    Failed(i32),
}

/// Whose descriptor table a number is looked up in.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// A thread of the program; whether the sweeper has the same table.
    Program { shared: bool },
    /// The sweeper, and the program's table if that is another.
    Sweeper(Option<&'a Program>),
}

impl Residue {
    /// The bytes that are left.
    pub fn rest(&self) -> &[u8] {
        // SAFETY: the mapping holds len bytes, and done <= len.
        unsafe { std::slice::from_raw_parts(self.bytes.add(self.done), self.len - self.done) }
    }

    pub fn standing(&self) -> Standing {
        match self.error {
            0 if self.done == self.len => Standing::Done,
            0 => Standing::Left,
            e => Standing::Failed(e),
        }
    }

    /// Whether nobody needs it any more. A failed one stays until its stream
    /// has been told.
    pub fn over(&self) -> bool {
        match self.standing() {
            Standing::Done => !self.lent,
            Standing::Failed(_) => self.fd < 0 && !self.lent,
            Standing::Left => false,
        }
    }

    /// Gets the library's own descriptor of the socket, if it has none.
    pub fn fetch(&mut self, side: Side) {
        if self.hold != Hold::Unfetched || self.fd < 0 {
            return;
        }
        let got = match side {
            Side::Sweeper(Some(program)) => program.fetch(self.fd),
            Side::Program { shared: false } => return,
            _ => crate::numbers::duplicate(self.fd),
        };
        self.hold = got.map_or(Hold::Refused, |fd| Hold::Held(fd.into_raw()));
    }

    /// The socket's number on `side`.
    pub fn number(&self, side: Side) -> Option<i32> {
        match (side, self.hold) {
            (Side::Sweeper(_) | Side::Program { shared: true }, Hold::Held(fd)) => Some(fd),
            (Side::Program { .. } | Side::Sweeper(None), _) => Some(self.fd).filter(|fd| *fd >= 0),
            _ => None,
        }
    }

    /// Hands over what the socket takes now.
    pub fn drain(&mut self, side: Side, backend: &dyn Backend, progress: &Progress) {
        let Some(fd) = self.number(side).filter(|_| !self.lent) else {
            return;
        };
        self.starved = false;
        while self.standing() == Standing::Left {
            let rest = self.rest();
            let mut op = Op {
                opcode: OpCode::Send as u32,
                fd,
                ptr: rest.as_ptr() as u64,
                len: rest.len() as u64,
                ..Op::nop()
            };
            // SAFETY: the bytes are in this residue's mapping.
            unsafe { backend.run(std::slice::from_mut(&mut op)) };
            match op.result {
                0 => {
                    self.starved = true;
                    return;
                }
                n if n > 0 => self.done += (n as usize).min(self.len - self.done),
                e if is_transient(-e as i32) => {
                    self.starved = -e as i32 != libc::EAGAIN;
                    return;
                }
                e => self.error = -e as i32,
            }
        }
        self.ended(fd, progress);
    }

    /// Nothing is left to hand over on the socket, which is `fd` here.
    pub fn ended(&self, fd: i32, progress: &Progress) {
        if let Some(how) = progress.shutdown(self.id) {
            shut(fd, how);
        }
        // A child was told EAGAIN without asking the kernel, so no edge would
        // come to it.
        if progress.take_watched(self.id) {
            announce_room(borrow(fd));
        }
    }

    /// Closes the library's own descriptor, on the side that has it.
    pub fn let_go(&mut self, side: Side) {
        if let (Hold::Held(fd), Side::Sweeper(_) | Side::Program { shared: true }) =
            (self.hold, side)
        {
            // SAFETY: this residue's own, in the caller's table.
            drop(unsafe { Fd::from_raw(fd) });
            self.hold = Hold::Refused;
        }
    }
}

/// shutdown(2); an error would be ENOTCONN: the peer is gone.
fn shut(fd: i32, how: i32) {
    let how = match how {
        libc::SHUT_WR => rustix::net::Shutdown::Write,
        _ => rustix::net::Shutdown::Both,
    };
    let _ = rustix::net::shutdown(borrow(fd), how);
}

/// Has the kernel tell every waiter of a socket that it may be written, now
/// or once there is room: setting TCP_NOTSENT_LOWAT does so, also to the
/// value it has, and a poll that finds no room asks for the event.
fn announce_room(fd: BorrowedFd<'_>) {
    let now = rustix::time::Timespec::default();
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    if poll(&mut fds, Some(&now)) == Ok(1) {
        let _ = crate::sys::socket::renew_lowat(fd.as_raw_fd());
    }
}
