//! The calls that send.
#![allow(clippy::unnecessary_cast)] // msghdr's types differ between glibc and musl.

use super::socket;
use crate::real::{errno, interpose, set_errno};
use crate::thread::{enter, may_bypass};
use esca_engine::{Asks, Bytes, OpKind, Verdict, WriteCall};
use libc::{
    EAGAIN, c_int, c_uint, c_void, iovec, loff_t, mmsghdr, msghdr, off_t, off64_t, size_t,
    sockaddr, socklen_t, ssize_t,
};

/// Asks the engine about a call that sends; `plain` makes the call.
///
/// # Safety
/// The call's buffers are those of the program.
#[inline]
unsafe fn send_by(call: &WriteCall, plain: impl FnOnce() -> ssize_t) -> ssize_t {
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
            if !engine.wrote_plainly(seg, call.fd, call.flags)
                && let Some(i) = enter()
            {
                i.after_write(i.seg, call.fd, call.kind, call.flags, n);
            }
            n
        }
    }
}

#[inline]
fn one(fd: c_int, kind: OpKind, flags: c_int, buf: *const c_void, n: size_t) -> WriteCall<'static> {
    WriteCall {
        fd,
        kind,
        flags,
        bytes: Bytes::One(buf.cast(), n),
    }
}

/// The vector of a call; `None` where the kernel would refuse it.
///
/// # Safety
/// `iov` points to `n` iovecs, as the call requires.
#[inline]
unsafe fn vector<'a>(iov: *const iovec, n: usize) -> Option<&'a [iovec]> {
    if n == 0 || n > libc::UIO_MAXIOV as usize || iov.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(iov, n) })
}

/// A call that sends on `fd` and that the engine only orders: what is in
/// custody goes first, and while some is left over the call must wait, unless
/// it sends nothing.
#[inline]
pub(super) fn behind(fd: c_int, asks: Asks, plain: impl FnOnce(c_int) -> ssize_t) -> ssize_t {
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

/// What a message asks of its socket.
#[inline]
fn message(empty: bool) -> Asks {
    if empty { Asks::Empty } else { Asks::Bytes }
}

/// What a call asks of its socket that moves `n` bytes or buffers there.
#[inline]
fn moved(n: usize) -> Asks {
    if n == 0 {
        Asks::Nothing
    } else {
        Asks::Elsewhere
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
            let Some(v) = vector(iov, n as usize) else {
                return behind(fd, moved(n as usize), |fd| real(fd, iov, n));
            };
            let call = WriteCall { fd, kind: OpKind::Writev, flags: 0, bytes: Bytes::Many(v) };
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
                return behind(fd, message(n == 0), |fd| real(fd, buf, n, flags, to, len));
            }
            let call = one(fd, OpKind::Send, flags, buf, n);
            send_by(&call, || real(fd, buf, n, flags, to, len))
        }
    }

    fn sendmsg(fd: c_int, msg: *const msghdr, flags: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe {
            let plain = msg.as_ref().filter(|m| {
                m.msg_name.is_null() && (m.msg_control.is_null() || m.msg_controllen == 0)
            });
            let Some(v) = plain.and_then(|m| vector(m.msg_iov, m.msg_iovlen as usize)) else {
                if let Some(m) = msg.as_ref() {
                    passing(m);
                }
                return behind(fd, message(carries_nothing(msg)), |fd| real(fd, msg, flags));
            };
            let call = WriteCall { fd, kind: OpKind::Sendmsg, flags, bytes: Bytes::Many(v) };
            send_by(&call, || real(fd, msg, flags))
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
    // The type of the flags differs between glibc and musl.
    fn sendmmsg(fd: c_int, msgs: *mut mmsghdr, n: c_uint, flags: c_int) -> c_int, real {
        let all = if msgs.is_null() { 0 } else { n as usize };
        // SAFETY: the program's own arguments; a header begins with its message.
        let empty = (0..all).all(|k| unsafe { carries_nothing(msgs.add(k).cast()) });
        let asks = if n == 0 { Asks::Nothing } else { message(empty) };
        // SAFETY: as above.
        behind(fd, asks, |fd| unsafe { real(fd, msgs, n, flags) as ssize_t }) as c_int
    }

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
/// `at` is null or the program's offset.
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

/// Whether a message has no byte to send.
///
/// # Safety
/// `msg` is null or the program's message.
unsafe fn carries_nothing(msg: *const msghdr) -> bool {
    // SAFETY: the caller's promise, which is the call's.
    unsafe {
        let Some(m) = msg.as_ref() else { return false };
        let pieces = vector(m.msg_iov, m.msg_iovlen as usize);
        pieces.is_none_or(|v| v.iter().all(|i| i.iov_len == 0))
    }
}

/// A message that may carry descriptors to another process: those are left
/// alone from now on.
///
/// # Safety
/// `m` is the program's message.
unsafe fn passing(m: &msghdr) {
    if m.msg_control.is_null() {
        return;
    }
    let e = errno();
    // SAFETY: the macros of cmsg(3) walk the program's control buffer.
    unsafe {
        let mut c = libc::CMSG_FIRSTHDR(m);
        while let Some(h) = c.as_ref() {
            if h.cmsg_level == libc::SOL_SOCKET && h.cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(c).cast::<c_int>();
                let bytes = (h.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                for k in 0..bytes / size_of::<c_int>() {
                    let fd = data.add(k).read_unaligned();
                    if let Some(i) = enter() {
                        i.leave_alone(i.seg, fd);
                    }
                }
            }
            c = libc::CMSG_NXTHDR(m, c);
        }
    }
    set_errno(e);
}
