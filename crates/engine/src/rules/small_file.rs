//! Rule `small-file`: a small `sendfile` behind bytes in custody is read into
//! custody, so that header and file are one send.
//!
//! Matches: a `sendfile` of at most [`LIMIT`] bytes on a stream that is in
//! custody. Makes of it: a read into the arena, of what the page cache holds
//! (`RWF_NOWAIT`, preadv2(2)): bytes in custody do not wait for a disk.
//! Whatever the read cannot do (not cached, not seekable, a directory, ...)
//! goes to the plain call.
//!
//! Why no observer can tell: the return value is what the file held at that
//! moment, the offset advances as sendfile(2) says, the file descriptor may
//! be closed or reused at once. A page that changes later would, with the
//! plain call, go out in either state; here it is the state of the call.

use super::{About, Rule};
use crate::memory;
use esca_abi::stats::Counter;
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::io::IoSliceMut;

/// Name and counter.
pub const ABOUT: About = About {
    rule: Rule::SmallFile,
    name: "small-file",
    counter: Counter::RuleSmallFile,
};

/// Largest file part that is copied. Above, a `sendfile` behind `MSG_MORE`
/// is cheaper: it shares the page cache's pages.
pub const LIMIT: usize = 16 * 1024;

/// Reads up to `room.len()` bytes for a `sendfile`; `None` means: let the
/// plain call decide.
///
/// # Safety
/// `offset` is the program's.
pub(crate) unsafe fn fetch(in_fd: i32, offset: *mut i64, room: &mut [u8]) -> Option<usize> {
    if in_fd < 0 {
        return None;
    }
    if offset.is_null() {
        // A read of a pipe or a socket would take what the kernel refuses.
        let kind = FileType::from_raw_mode(fstat(crate::numbers::borrow(in_fd)).ok()?.st_mode);
        return if kind == FileType::RegularFile {
            read_cached(in_fd, HERE, room)
        } else {
            None
        };
    }
    // As the kernel, which would read it before and write it after.
    if !memory::is_writable(offset.addr(), size_of::<i64>()) {
        return None;
    }
    // SAFETY: readable and writable, as was just found.
    let at = unsafe { offset.read_unaligned() };
    let n = read_cached(in_fd, u64::try_from(at).ok()?, room)?;
    // SAFETY: as above.
    unsafe { offset.write_unaligned(at.wrapping_add(n as i64)) };
    Some(n)
}

/// The descriptor's own offset (preadv2(2)).
const HERE: u64 = u64::MAX;

fn read_cached(fd: i32, at: u64, room: &mut [u8]) -> Option<usize> {
    let fd = crate::numbers::borrow(fd);
    let mut to = [IoSliceMut::new(room)];
    match preadv2(fd, &mut to, at, ReadWriteFlags::NOWAIT) {
        Ok(n) => Some(n),
        // The file system does not know the flag: it may be slow, unless it
        // keeps its files in memory.
        Err(Errno::OPNOTSUPP) if is_in_memory(fd) => {
            preadv2(fd, &mut to, at, ReadWriteFlags::empty()).ok()
        }
        Err(_) => None,
    }
}

/// Whether a file is in a file system that has no disk (statfs(2)).
fn is_in_memory(fd: rustix::fd::BorrowedFd<'_>) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    rustix::fs::fstatfs(fd).is_ok_and(|s| matches!(s.f_type as u32, TMPFS | RAMFS))
}
