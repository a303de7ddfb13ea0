//! Calls that are made in another way than the program did: the socket's own
//! in place of read and write (rule `socket-calls`), and those on a stream that
//! is shut behind bytes that are left over.

use crate::real::{Real, errno, set_errno};
use crate::thread::uninterposed;
use libc::{c_int, c_void, size_t, ssize_t};

static SEND: Real = Real::new(c"send");
static RECV: Real = Real::new(c"recv");

/// `write(fd, buf, n)` with `n` above 0, by the socket's own call; `plain`
/// makes the call as the program did.
///
/// # Safety
/// As for write(2).
#[inline]
pub(super) unsafe fn write(
    fd: c_int,
    buf: *const c_void,
    n: size_t,
    plain: impl FnOnce() -> ssize_t,
) -> ssize_t {
    // SAFETY: the address is that of a function of this type.
    let send: unsafe extern "C" fn(c_int, *const c_void, size_t, c_int) -> ssize_t =
        unsafe { std::mem::transmute(SEND.get()) };
    // SAFETY: the caller's promise.
    or_plain(unsafe { send(fd, buf, n, 0) }, plain)
}

/// `read(fd, buf, n)` with `n` above 0, likewise.
///
/// # Safety
/// As for read(2).
#[inline]
pub(super) unsafe fn read(
    fd: c_int,
    buf: *mut c_void,
    n: size_t,
    plain: impl FnOnce() -> ssize_t,
) -> ssize_t {
    // SAFETY: the address is that of a function of this type.
    let recv: unsafe extern "C" fn(c_int, *mut c_void, size_t, c_int) -> ssize_t =
        unsafe { std::mem::transmute(RECV.get()) };
    // SAFETY: the caller's promise.
    or_plain(unsafe { recv(fd, buf, n, 0) }, plain)
}

/// A call by `plain` on a socket that takes no bytes: what the kernel says of
/// the call's other end, or EPIPE with its signal, as on a stream that is shut.
#[cold]
pub(super) fn shut(plain: impl FnOnce(c_int) -> ssize_t) -> ssize_t {
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let socket = uninterposed(|| unsafe { libc::socket(libc::AF_INET, flags, 0) });
    if socket < 0 {
        // SAFETY: raise takes a number.
        unsafe { libc::raise(libc::SIGPIPE) };
        return set_errno(libc::EPIPE) as ssize_t;
    }
    // Not connected, it refuses bytes as a shut one does
    // (`sk_stream_wait_connect` in net/core/stream.c).
    let n = plain(socket);
    let e = errno();
    // SAFETY: opened above.
    uninterposed(|| unsafe { libc::close(socket) });
    set_errno(e);
    n
}

/// What a socket's call gave, unless the number is no socket (any more):
/// nothing happened then, and the plain call is due.
#[inline]
fn or_plain(result: ssize_t, plain: impl FnOnce() -> ssize_t) -> ssize_t {
    if result < 0 && errno() == libc::ENOTSOCK {
        return plain();
    }
    result
}
