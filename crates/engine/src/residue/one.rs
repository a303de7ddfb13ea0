//! One residue: its bytes, how far they are, and how they are handed over.

use super::reserve::Home;
use crate::backend::{Backend, Op, OpCode};
use crate::errno::is_transient;
use crate::numbers::borrow;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::*};

/// One residue: what this process knows of it.
pub(super) struct Residue {
    pub next: *mut Residue,
    pub id: u32,
    /// The private duplicate; -1 in a child, which only watches.
    pub private: i32,
    /// The program's descriptor, while it is open; else -1.
    pub fd: i32,
    /// The kernel lacked something other than room in the socket (memory):
    /// no event will say when to try again.
    pub starved: bool,
    pub len: usize,
    pub shared: *mut Shared,
    pub home: Home,
}

/// What a forked child shares: this header, and the bytes behind it.
#[repr(C)]
pub(super) struct Shared {
    /// The process that drains.
    pub owner: AtomicI32,
    /// `how` of a shutdown that waits for the bytes; -1 for none.
    pub shutdown: AtomicI32,
    /// What ended it early: an errno.
    pub error: AtomicI32,
    /// A child watches too.
    pub inherited: AtomicBool,
    /// Bytes handed over. Equal to the length when done.
    pub done: AtomicUsize,
}

/// Where the bytes begin.
pub(super) const HEAD: usize = size_of::<Shared>();

/// The memory that a residue of `len` bytes takes: two mappings, whole pages
/// each. Of a small one this is most.
pub(super) fn memory(len: usize) -> usize {
    // SAFETY: a number; the C library knows this one without asking.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let pages = |n: usize| n.next_multiple_of(page);
    pages(HEAD + len) + pages(size_of::<Residue>())
}

impl Shared {
    /// Nothing is handed over yet, and this process will.
    pub fn new() -> Self {
        Shared {
            owner: AtomicI32::new(rustix::process::getpid().as_raw_nonzero().get()),
            shutdown: AtomicI32::new(-1),
            error: AtomicI32::new(0),
            inherited: AtomicBool::new(false),
            done: AtomicUsize::new(0),
        }
    }
}

/// How a stream's residue stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All was handed over.
    Done,
    /// Some is left.
    Left,
    /// It failed with this errno.
    Failed(i32),
}

impl Residue {
    /// Another process drains; this one only looks how far it is.
    pub fn watch_only(&mut self) {
        if self.private >= 0 {
            // SAFETY: this process's copy of the private duplicate is ours.
            drop(unsafe { OwnedFd::from_raw_fd(self.private) });
            self.private = -1;
        }
    }

    pub fn shared(&self) -> &Shared {
        // SAFETY: mapped as long as this is on the list.
        unsafe { &*self.shared }
    }

    fn rest(&self) -> &[u8] {
        let done = self.shared().done.load(Acquire).min(self.len);
        // SAFETY: the mapping holds len bytes behind the header.
        unsafe {
            let base = self.shared.cast::<u8>().add(HEAD);
            std::slice::from_raw_parts(base.add(done), self.len - done)
        }
    }

    pub fn standing(&self) -> Standing {
        let shared = self.shared();
        match shared.error.load(Acquire) {
            0 if self.rest().is_empty() => Standing::Done,
            0 if self.private < 0 && !alive(shared.owner.load(Acquire)) => Standing::Done,
            0 => Standing::Left,
            e => Standing::Failed(e),
        }
    }

    /// Whether nobody needs it any more. A failed one stays until its stream
    /// has been told; a child's view stays while its descriptor is open.
    pub fn over(&self) -> bool {
        match self.standing() {
            Standing::Done => true,
            Standing::Failed(_) => self.fd < 0,
            Standing::Left => self.fd < 0 && self.private < 0,
        }
    }

    /// Hands over what the socket takes now.
    pub fn drain(&mut self, backend: &dyn Backend) {
        self.starved = false;
        while self.private >= 0 && self.standing() == Standing::Left {
            let rest = self.rest();
            let mut op = Op {
                opcode: OpCode::Send as u32,
                fd: self.private,
                ptr: rest.as_ptr() as u64,
                len: rest.len() as u64,
                ..Op::nop()
            };
            // SAFETY: the bytes stand in this mapping.
            unsafe { backend.run(std::slice::from_mut(&mut op)) };
            match op.result {
                0 => {
                    self.starved = true;
                    return;
                }
                n if n > 0 => {
                    let n = (n as usize).min(rest.len());
                    // SeqCst: a child that asks for a shutdown looks at this.
                    self.shared().done.fetch_add(n, SeqCst);
                }
                e if is_transient(-e as i32) => {
                    self.starved = -e as i32 != libc::EAGAIN;
                    return;
                }
                e => self.shared().error.store(-e as i32, SeqCst),
            }
        }
        if self.private >= 0 {
            self.ended();
        }
    }

    /// Nothing is left to hand over.
    fn ended(&self) {
        let shared = self.shared();
        let how = shared.shutdown.load(SeqCst);
        if how != -1 {
            shut(self.private, how);
            // Behind it: who finds no shutdown waiting asks the kernel.
            shared.shutdown.store(-1, SeqCst);
        }
        // A child was told EAGAIN without asking the kernel, so no edge would
        // come to it.
        if shared.inherited.swap(false, SeqCst) {
            announce_room(borrow(self.private));
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
    if poll(&mut fds, Some(&now)) != Ok(1) {
        return;
    }
    let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
    let at: *mut libc::c_void = (&raw mut value).cast();
    // SAFETY: value and length are local. rustix has no TCP_NOTSENT_LOWAT.
    unsafe {
        if libc::getsockopt(fd.as_raw_fd(), level, name, at, &raw mut len) == 0 {
            libc::setsockopt(fd.as_raw_fd(), level, name, at, len);
        }
    }
}

/// Whether a process exists (or may: EPERM).
fn alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid)
        .is_some_and(|p| rustix::process::test_kill_process(p) != Err(Errno::SRCH))
}
