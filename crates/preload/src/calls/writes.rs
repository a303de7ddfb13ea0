//! The calls that send.

use super::socket;
use crate::real::{interpose, set_errno};
use crate::thread::{enter, may_bypass};
use esca_engine::{Asks, Bytes, OpKind, Verdict, WriteCall};
use libc::{
    EAGAIN, c_int, c_uint, c_void, iovec, loff_t, off_t, off64_t, size_t, sockaddr, socklen_t,
    ssize_t,
};

/// Asks the engine about a call that sends; `plain` makes the call.
///
/// # Safety
/// The call's buffers are those of the program.
#[inline]
pub(super) unsafe fn send_by(call: &WriteCall, plain: impl FnOnce() -> ssize_t) -> ssize_t {
    let Some(i) = enter() else {
        if may_bypass(call.fd) {
            return plain();
        }
        return set_errno(EAGAIN) as ssize_t;
    };
    // SAFETY: the caller's promise.
    let verdict = unsafe { i.write(i.seg, call) };
    let (engine, seg) = i.leave();
    match verdict {
        Verdict::Ret(n) => n,
        Verdict::Err(e) => set_errno(e) as ssize_t,
        Verdict::Pass | Verdict::PassHeld | Verdict::Shut => {
            let n = if call.kind == OpKind::Write
                && let Bytes::One(at, len) = call.bytes
                && engine.by_socket(seg, call.fd, len)
            {
                // SAFETY: the caller's promise.
                unsafe { socket::write(call.fd, at.cast(), len, plain) }
            } else {
                plain()
            };
            if !engine.wrote_plainly(seg, call.fd, call.flags, n)
                && let Some(i) = enter()
            {
                i.after_write(i.seg, call.fd, call.kind, call.flags, n);
            }
            n
        }
    }
}

#[inline]
fn one(fd: c_int, kind: OpKind, flags: c_int, buf: *const c_void, n: size_t) -> WriteCall {
    WriteCall {
        fd,
        kind,
        flags,
        bytes: Bytes::One(buf.cast(), n),
    }
}

/// Whether a vector may have this many pieces, and is not empty.
#[inline]
fn is_vector(n: c_int) -> bool {
    (1..=libc::UIO_MAXIOV).contains(&n)
}

/// A call that sends on `fd` and that the engine only orders: what is in
/// custody goes first, and while some is left over the call must wait, unless
/// it sends nothing.
#[inline]
pub(super) fn behind(
    fd: c_int,
    asks: impl FnOnce() -> Asks,
    plain: impl FnOnce(c_int) -> ssize_t,
) -> ssize_t {
    let verdict = match enter() {
        Some(i) => i.send_behind(i.seg, fd, asks),
        None if may_bypass(fd) => Verdict::Pass,
        None => Verdict::Err(EAGAIN),
    };
    match verdict {
        Verdict::Err(e) => set_errno(e) as ssize_t,
        Verdict::Shut => socket::shut(plain),
        _ => {
            let n = plain(fd);
            if let Some(i) = enter() {
                i.landed(i.seg);
            }
            n
        }
    }
}

/// What a call asks of its socket that moves `n` bytes or buffers there.
#[inline]
fn moved(n: usize) -> impl FnOnce() -> Asks {
    move || match n {
        0 => Asks::Nothing,
        _ => Asks::Elsewhere,
    }
}

interpose! {
    fn write(fd: c_int, buf: *const c_void, n: size_t) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { send_by(&one(fd, OpKind::Write, 0, buf, n), || real(fd, buf, n)) }
    }

    fn writev(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe {
            if !is_vector(n) {
                return behind(fd, moved(n as usize), |fd| real(fd, iov, n));
            }
            let bytes = Bytes::Many(iov, n as usize);
            let call = WriteCall { fd, kind: OpKind::Writev, flags: 0, bytes };
            send_by(&call, || real(fd, iov, n))
        }
    }

    fn send(fd: c_int, buf: *const c_void, n: size_t, flags: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { send_by(&one(fd, OpKind::Send, flags, buf, n), || real(fd, buf, n, flags)) }
    }

    fn sendto(
        fd: c_int, buf: *const c_void, n: size_t, flags: c_int,
        to: *const sockaddr, len: socklen_t,
    ) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe {
            if !to.is_null() {
                let asks = || if n == 0 { Asks::Empty } else { Asks::Bytes };
                return behind(fd, asks, |fd| real(fd, buf, n, flags, to, len));
            }
            let call = one(fd, OpKind::Send, flags, buf, n);
            send_by(&call, || real(fd, buf, n, flags, to, len))
        }
    }

    fn sendfile(out: c_int, input: c_int, at: *mut off_t, n: size_t) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { file_by(out, input, at, n, |out| real(out, input, at, n)) }
    }

    fn sendfile64(out: c_int, input: c_int, at: *mut off64_t, n: size_t) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { file_by(out, input, at, n, |out| real(out, input, at, n)) }
    }

    fn splice(
        from: c_int, at: *mut loff_t, to: c_int, to_at: *mut loff_t, n: size_t, flags: c_uint,
    ) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        behind(to, moved(n), |to| unsafe { real(from, at, to, to_at, n, flags) })
    }

    fn tee(from: c_int, to: c_int, n: size_t, flags: c_uint) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        behind(to, moved(n), |to| unsafe { real(from, to, n, flags) })
    }

    fn vmsplice(fd: c_int, iov: *const iovec, n: size_t, flags: c_uint) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        behind(fd, moved(n), |fd| unsafe { real(fd, iov, n, flags) })
    }
}

interpose! { unchecked
    fn __write(fd: c_int, buf: *const c_void, n: size_t) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { send_by(&one(fd, OpKind::Write, 0, buf, n), || real(fd, buf, n)) }
    }

    fn __send(fd: c_int, buf: *const c_void, n: size_t, flags: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { send_by(&one(fd, OpKind::Send, flags, buf, n), || real(fd, buf, n, flags)) }
    }
}

/// # Safety
/// `at` is the program's.
#[inline]
unsafe fn file_by(
    out: c_int,
    input: c_int,
    at: *mut off_t,
    n: size_t,
    plain: impl FnOnce(c_int) -> ssize_t,
) -> ssize_t {
    let verdict = match enter() {
        // SAFETY: the caller's promise.
        Some(i) => unsafe { i.sendfile(i.seg, out, input, at, n) },
        None if may_bypass(out) => return plain(out),
        None => Verdict::Err(EAGAIN),
    };
    match verdict {
        Verdict::Ret(n) => n,
        Verdict::Err(e) => set_errno(e) as ssize_t,
        Verdict::Shut => socket::shut(plain),
        Verdict::Pass | Verdict::PassHeld => {
            let n = plain(out);
            if let Some(i) = enter() {
                i.after_sendfile(i.seg, out, verdict == Verdict::PassHeld, n);
            }
            n
        }
    }
}
