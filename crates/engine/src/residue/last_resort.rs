//! Where nothing can be kept: bytes that were promised are sent while the
//! caller waits.

use super::ends::wait_writable;
use crate::numbers::borrow;
use libc::iovec;
use rustix::io::Errno;

/// Sends all of `pieces` after `skip`, waiting for the peer; an error drops
/// the rest, as it would in the kernel's buffer.
pub(crate) fn send_blocking(fd: i32, pieces: &[iovec], mut skip: usize) {
    for p in pieces {
        let s = skip.min(p.iov_len);
        skip -= s;
        // SAFETY: the pieces stand in locked custody.
        let bytes = unsafe { std::slice::from_raw_parts(p.iov_base.cast::<u8>(), p.iov_len) };
        let mut rest = &bytes[s..];
        while !rest.is_empty() {
            let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
            match rustix::net::send(borrow(fd), rest, flags) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => {
                    wait_writable(fd, None)
                }
                Err(_) => return,
            }
        }
    }
}

/// Writes all of `pieces` to something that turned out not to be a socket.
pub(crate) fn write_blocking(fd: i32, pieces: &[iovec]) {
    for p in pieces {
        // SAFETY: the pieces stand in locked custody.
        let mut rest = unsafe { std::slice::from_raw_parts(p.iov_base.cast::<u8>(), p.iov_len) };
        while !rest.is_empty() {
            match rustix::io::write(borrow(fd), rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::AGAIN) => wait_writable(fd, None),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
