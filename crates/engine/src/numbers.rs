//! Descriptors by number: the program's, for one call; and the library's own
//! in the program's table, out of the way of the program's.

use crate::sys::fd::Fd;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

/// A number as a descriptor for one call.
pub(crate) fn borrow(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: only passed to the kernel, which checks it; never -1 here.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Where private descriptors start: out of the way of the program's own.
fn high() -> i32 {
    let soft = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let soft = soft.min(65_536) as i32;
    soft - soft / 8
}

/// A duplicate of the program's `fd` for a residue.
pub(crate) fn duplicate(fd: i32) -> rustix::io::Result<Fd> {
    let at = borrow(fd);
    fcntl_dupfd_cloexec(at, high())
        .or_else(|_| fcntl_dupfd_cloexec(at, 3))
        .map(Fd::from)
}

/// Moves a descriptor of ours into the high range.
pub(crate) fn to_high(fd: OwnedFd) -> OwnedFd {
    fcntl_dupfd_cloexec(&fd, high()).unwrap_or(fd)
}
