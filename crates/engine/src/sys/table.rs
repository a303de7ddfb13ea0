//! Descriptor tables: a thread that leaves the program's, and fetches sockets
//! from it by number.

use super::call::{result, syscall};
use super::fd::Fd;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The program's descriptor table, seen from a thread with one of its own.
pub(crate) struct Program(Fd);

impl Program {
    /// Takes the calling thread out of the program's table, into an empty one.
    ///
    /// # Errors
    /// What is missing: close_range(2) with `CLOSE_RANGE_UNSHARE` (5.9),
    /// pidfd_open(2) (5.3), pidfd_getfd(2) (5.6), or the right to them.
    pub fn leave() -> rustix::io::Result<Self> {
        const UNSHARE: usize = 2;
        let all = [0, u32::MAX as usize, UNSHARE, 0, 0];
        // SAFETY: closes no descriptor of the program's: with UNSHARE the
        // thread gets a table of its own first (`__close_range` in fs/file.c,
        // which copies nothing, or little, of what is to be closed).
        result(unsafe { syscall(libc::SYS_close_range, all) })?;
        let me = Program(pidfd_open(getpid(), PidfdFlags::empty())?.into());
        // A number that nothing has: EBADF is the answer of a kernel that
        // would give others.
        match me.fetch(i32::MAX) {
            Err(Errno::BADF) => Ok(me),
            Err(e) => Err(e),
            Ok(_) => Err(Errno::NOSYS),
        }
    }

    /// The program's descriptor `fd`, in the caller's table.
    ///
    /// # Errors
    /// Those of pidfd_getfd(2).
    pub fn fetch(&self, fd: i32) -> rustix::io::Result<Fd> {
        if fd < 0 {
            return Err(Errno::BADF);
        }
        pidfd_getfd(&self.0, fd, PidfdGetfdFlags::empty()).map(Fd::from)
    }
}

/// Closes the numbers from `first` to `last` of the caller's table.
pub(crate) fn close_between(first: i32, last: i32) {
    if first <= last {
        let range = [first as usize, last as usize, 0, 0, 0];
        // SAFETY: the caller's process or thread uses none of them.
        unsafe { syscall(libc::SYS_close_range, range) };
    }
}
