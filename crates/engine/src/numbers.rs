//! Descriptors by number: the program's, for one call; and the library's own,
//! out of the way of the program's and to be had when its table is full.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How far the limit is raised where a number above it is needed.
const ABOVE: u64 = 4096;

/// A number as a descriptor for one call.
pub(crate) fn borrow(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: only passed to the kernel, which checks it; never -1 here.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The soft limit on descriptors.
pub(crate) fn limit() -> i32 {
    saturate(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// A limit as a number that a descriptor can have.
pub(crate) fn saturate(limit: u64) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

/// Where private descriptors start: out of the way of the program's own.
fn high() -> i32 {
    let soft = limit().min(65_536);
    soft - soft / 8
}

/// A duplicate of the program's `fd` for a residue.
pub(crate) fn duplicate(fd: i32) -> rustix::io::Result<OwnedFd> {
    let at = borrow(fd);
    fcntl_dupfd_cloexec(at, high())
        .or_else(|_| fcntl_dupfd_cloexec(at, 3))
        .or_else(|_| above_limit(fd))
}

/// Moves a descriptor of ours into the high range.
pub(crate) fn to_high(fd: OwnedFd) -> OwnedFd {
    fcntl_dupfd_cloexec(&fd, high()).unwrap_or(fd)
}

/// The program has used up its limit: takes a number above it. The limit is
/// raised for the length of one call; what stands above a limit that was
/// lowered again stays open (getrlimit(2) bounds new numbers only).
#[cold]
fn above_limit(fd: i32) -> rustix::io::Result<OwnedFd> {
    let was = getrlimit(Resource::Nofile);
    let soft = was.current.ok_or(Errno::MFILE)?;
    let raised = soft + ABOVE;
    let set = |current, maximum| setrlimit(Resource::Nofile, Rlimit { current, maximum });
    // Above the hard limit: with CAP_SYS_RESOURCE.
    set(Some(raised), was.maximum.map(|m| m.max(raised)))
        .or_else(|_| set(was.maximum, was.maximum))?;
    let got = fcntl_dupfd_cloexec(borrow(fd), soft as i32);
    let _ = setrlimit(Resource::Nofile, was);
    got
}
