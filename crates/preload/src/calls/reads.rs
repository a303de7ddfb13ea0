//! The calls that receive.

use super::socket;
use crate::real::{errno, interpose, set_errno};
use crate::thread::enter;
use esca_engine::{Engine, Segment, Verdict, memory};
use libc::{
    c_int, c_uint, c_void, iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec,
};

/// Where a read's bytes go.
pub(super) trait Room: Copy {
    /// Bytes that are asked for, before the call; 0 where an answer without
    /// the kernel is not to be given, or a short count means nothing.
    fn want(self) -> usize;
    /// Whether the kernel would refuse it before it looks at the socket.
    fn is_refused(self) -> bool;
    /// Bytes that were asked for, after the kernel has filled some.
    fn asked(self) -> usize;
}

/// One buffer.
#[derive(Clone, Copy)]
struct One(*mut c_void, size_t);

impl Room for One {
    #[inline(always)]
    fn want(self) -> usize {
        self.1
    }
    #[inline(always)]
    fn is_refused(self) -> bool {
        !memory::is_room(self.0.cast(), self.1)
    }
    #[inline(always)]
    fn asked(self) -> usize {
        self.1
    }
}

/// A vector, which only the kernel can look at before it has taken it.
#[derive(Clone, Copy)]
struct Many(*const iovec, c_int);

impl Room for Many {
    #[inline(always)]
    fn want(self) -> usize {
        0
    }
    #[inline(always)]
    fn is_refused(self) -> bool {
        false
    }
    #[inline(always)]
    fn asked(self) -> usize {
        (0..self.1.max(0) as usize).fold(0, |sum, k| {
            // SAFETY: the kernel has taken so many.
            sum.saturating_add(unsafe { self.0.add(k).read_unaligned() }.iov_len)
        })
    }
}

/// Messages, whose answer has more parts than a count (control data, flags).
#[derive(Clone, Copy)]
pub(super) struct Messages;

impl Room for Messages {
    #[inline(always)]
    fn want(self) -> usize {
        0
    }
    #[inline(always)]
    fn is_refused(self) -> bool {
        false
    }
    #[inline(always)]
    fn asked(self) -> usize {
        0
    }
}

/// Asks the engine about a read into `room`; `make` makes the call, with the
/// engine if there is one.
#[inline]
pub(super) fn read_by(
    fd: c_int,
    room: impl Room,
    flags: c_int,
    make: impl FnOnce(Option<(&Engine, &Segment)>) -> ssize_t,
) -> ssize_t {
    let Some(i) = enter() else {
        return make(None);
    };
    let verdict = i.before_read(i.seg, fd, room.want(), flags);
    let (engine, seg) = i.leave();
    if let Verdict::Err(e) = verdict
        && !room.is_refused()
    {
        return set_errno(e) as ssize_t;
    }
    let n = make(Some((engine, seg)));
    if n > 0 {
        engine.after_good_read(seg, fd, room.asked(), flags, n as usize);
        return n;
    }
    let e = errno();
    let instead = enter().and_then(|i| i.after_read(i.seg, fd, 0, flags, n, e));
    match instead {
        Some(other) => set_errno(other) as ssize_t,
        None => {
            set_errno(e);
            n
        }
    }
}

/// A `read(fd, buf, n)`; `plain` makes it as the program did.
///
/// # Safety
/// `buf` has room for `n` bytes, as the call requires.
#[inline]
unsafe fn read_bytes(
    fd: c_int,
    buf: *mut c_void,
    n: size_t,
    plain: impl FnOnce() -> ssize_t,
) -> ssize_t {
    read_by(fd, One(buf, n), 0, |at| match at {
        Some((engine, seg)) if engine.by_socket(seg, fd, n) => {
            // SAFETY: the caller's promise.
            unsafe { socket::read(fd, buf, n, plain) }
        }
        _ => plain(),
    })
}

interpose! {
    fn read(fd: c_int, buf: *mut c_void, n: size_t) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { read_bytes(fd, buf, n, || real(fd, buf, n)) }
    }

    fn readv(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        read_by(fd, Many(iov, n), 0, |_| unsafe { real(fd, iov, n) })
    }

    fn recv(fd: c_int, buf: *mut c_void, n: size_t, flags: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        read_by(fd, One(buf, n), flags, |_| unsafe { real(fd, buf, n, flags) })
    }

    fn recvfrom(
        fd: c_int, buf: *mut c_void, n: size_t, flags: c_int,
        from: *mut sockaddr, len: *mut socklen_t,
    ) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        read_by(fd, One(buf, n), flags, |_| unsafe { real(fd, buf, n, flags, from, len) })
    }

    // Its answer has more parts than a count (control data, flags), so it is
    // ordered but never answered here.
    fn recvmsg(fd: c_int, msg: *mut msghdr, flags: c_int) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        read_by(fd, Messages, flags | libc::MSG_PEEK, |_| unsafe { real(fd, msg, flags) })
    }
}

interpose! { unchecked
    // The type of the flags differs between glibc and musl.
    fn recvmmsg(
        fd: c_int, msgs: *mut mmsghdr, n: c_uint, flags: c_int, limit: *mut timespec,
    ) -> c_int, real {
        // SAFETY: the program's own arguments.
        read_by(fd, Messages, flags | libc::MSG_PEEK, |_| unsafe {
            real(fd, msgs, n, flags, limit) as ssize_t
        }) as c_int
    }

    fn __read(fd: c_int, buf: *mut c_void, n: size_t) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe { read_bytes(fd, buf, n, || real(fd, buf, n)) }
    }

    fn __read_chk(fd: c_int, buf: *mut c_void, n: size_t, len: size_t) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        unsafe {
            if n > len {
                // Ends the program.
                return real(fd, buf, n, len);
            }
            read_bytes(fd, buf, n, || real(fd, buf, n, len))
        }
    }

    fn __recv_chk(
        fd: c_int, buf: *mut c_void, n: size_t, len: size_t, flags: c_int,
    ) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        read_by(fd, One(buf, n), flags, |_| unsafe { real(fd, buf, n, len, flags) })
    }

    fn __recvfrom_chk(
        fd: c_int, buf: *mut c_void, n: size_t, size: size_t, flags: c_int,
        from: *mut sockaddr, len: *mut socklen_t,
    ) -> ssize_t, real {
        // SAFETY: the program's own arguments.
        read_by(fd, One(buf, n), flags, |_| unsafe { real(fd, buf, n, size, flags, from, len) })
    }
}
