//! Reads and writes at a position. With position -1 they are readv(2) and
//! writev(2), on streams too.

use super::reads::{Messages, read_by};
use super::writes::behind;
use crate::real::interpose;
use crate::thread::enter;
use esca_engine::Asks;
use libc::{c_int, iovec, off_t, off64_t, ssize_t};

/// `pwritev2(fd, iov, n, at, flags)`; `plain` makes the call.
///
/// # Safety
/// `iov` points to `n` iovecs, as the call requires.
pub(super) unsafe fn write(
    fd: c_int,
    iov: *const iovec,
    n: c_int,
    at: off_t,
    flags: c_int,
    plain: impl FnOnce() -> ssize_t,
) -> ssize_t {
    if at == -1 && flags == 0 {
        // SAFETY: the caller's promise.
        return unsafe { libc::writev(fd, iov, n) };
    }
    if let Some(i) = enter() {
        i.effect(i.seg);
    }
    if at != -1 {
        return plain();
    }
    let asks = if n == 0 {
        Asks::Nothing
    } else {
        Asks::Elsewhere
    };
    let mut plain = Some(plain);
    behind(fd, || asks, |_| plain.take().map_or(-1, |plain| plain()))
}

/// `preadv2(fd, iov, n, at, flags)`; `plain` makes the call.
///
/// # Safety
/// `iov` points to `n` iovecs, as the call requires.
pub(super) unsafe fn read(
    fd: c_int,
    iov: *const iovec,
    n: c_int,
    at: off_t,
    flags: c_int,
    plain: impl FnOnce() -> ssize_t,
) -> ssize_t {
    match (at, flags) {
        // SAFETY: the caller's promise.
        (-1, 0) => unsafe { libc::readv(fd, iov, n) },
        // What the flags ask for is the kernel's to answer.
        (-1, _) => read_by(fd, Messages, libc::MSG_PEEK, |_| plain()),
        _ => plain(),
    }
}

interpose! { unchecked
    fn pwritev2(fd: c_int, iov: *const iovec, n: c_int, at: off_t, flags: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { write(fd, iov, n, at, flags, || real(fd, iov, n, at, flags)) }
    }

    fn pwritev64v2(
        fd: c_int, iov: *const iovec, n: c_int, at: off64_t, flags: c_int,
    ) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { write(fd, iov, n, at, flags, || real(fd, iov, n, at, flags)) }
    }

    fn preadv2(fd: c_int, iov: *const iovec, n: c_int, at: off_t, flags: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { read(fd, iov, n, at, flags, || real(fd, iov, n, at, flags)) }
    }

    fn preadv64v2(
        fd: c_int, iov: *const iovec, n: c_int, at: off64_t, flags: c_int,
    ) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { read(fd, iov, n, at, flags, || real(fd, iov, n, at, flags)) }
    }
}
