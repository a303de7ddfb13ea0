//! The calls that make, share and close descriptors.

use crate::real::{errno, interpose, set_errno};
use crate::thread::{enter, may_bypass, parent_of_vfork};
use crate::{origin, process};
use esca_engine::{Engine, Segment, Verdict};
use libc::{c_char, c_int, c_uint, c_void, epoll_event, mode_t, sockaddr, socklen_t};

/// Runs `f` inside, with errno kept.
#[inline]
fn with(f: impl FnOnce(&Engine, &Segment)) {
    if let Some(i) = enter() {
        let e = errno();
        f(i.engine, i.seg);
        set_errno(e);
    }
}

/// Hands a fresh descriptor to `f`, and back.
#[inline]
pub(super) fn fresh(fd: c_int, f: impl FnOnce(&Engine, c_int)) -> c_int {
    if fd >= 0 {
        with(|e, _| f(e, fd));
    }
    fd
}

/// Hands a fresh socket to `f`, and back.
#[inline]
pub(super) fn fresh_socket(fd: c_int, f: impl FnOnce(&Engine, c_int)) -> c_int {
    if fd >= 0 && process::engine().is_none() {
        origin::made(fd);
    }
    if (0..=libc::STDERR_FILENO).contains(&fd) {
        // stdio has a FILE for each of these numbers.
        origin::forget(fd);
        return fresh(fd, Engine::made_other);
    }
    fresh(fd, f)
}

/// Runs a call that opens `flags`.
#[inline]
pub(super) fn open_by(flags: c_int, plain: impl FnOnce() -> c_int) -> c_int {
    with(|e, s| e.before_open(s, flags));
    fresh(plain(), |e, fd| e.opened(fd, flags))
}

/// Runs a call that duplicates `fd`.
#[inline]
fn dup_by(fd: c_int, plain: impl FnOnce() -> c_int) -> c_int {
    behind_parents_bytes(fd);
    origin::forget(fd);
    with(|e, s| e.before_dup(s, fd));
    fresh(plain(), |e, new| e.duplicated(fd, new))
}

/// Runs a call that duplicates `fd` as `new`, which is closed by it.
#[inline]
pub(super) fn dup_onto(fd: c_int, new: c_int, plain: impl FnOnce() -> c_int) -> c_int {
    // Only a valid source closes the target.
    // SAFETY: fcntl on a number.
    if fd != new && unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
        behind_parents_bytes(fd);
        origin::forget(fd);
        origin::forget(new);
        with(|e, s| {
            e.make_way(new);
            e.before_dup(s, fd);
            e.forget(s, new);
        });
        return fresh(plain(), |e, n| e.duplicated(fd, n));
    }
    plain()
}

/// A vfork child hands `fd` on to the program that it will run: what the
/// parent promised on it goes first.
#[inline]
fn behind_parents_bytes(fd: c_int) {
    if let Some(parent) = parent_of_vfork() {
        let e = errno();
        parent.wait_in_vfork_child(fd);
        set_errno(e);
    }
}

interpose! {
    fn close(fd: c_int) -> c_int, real {
        origin::forget(fd);
        let Some(i) = enter() else {
            may_bypass(fd);
            // SAFETY: the program's own arguments.
            return unsafe { real(fd) };
        };
        let legacy = i.legacy(fd);
        i.close(i.seg, fd);
        let (engine, _) = i.leave();
        // SAFETY: the program's own arguments.
        let n = unsafe { real(fd) };
        engine.closed(legacy.filter(|_| n == 0));
        n
    }

    fn shutdown(fd: c_int, how: c_int) -> c_int, real {
        let verdict = match enter() {
            Some(i) => i.shutdown(i.seg, fd, how),
            None => {
                may_bypass(fd);
                Verdict::Pass
            }
        };
        let n = match verdict {
            Verdict::Ret(n) => n as c_int,
            // SAFETY: the program's own arguments.
            _ => unsafe { real(fd, how) },
        };
        with(|e, s| e.after_shutdown(s, fd, if n < 0 { -i64::from(errno()) } else { 0 }));
        n
    }

    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        fresh_socket(unsafe { real(domain, kind, protocol) }, |e, fd| {
            e.made_socket(fd, domain, kind, protocol);
        })
    }

    fn accept(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int, real {
        with(|e, s| e.before_accept(s, fd));
        // SAFETY: the program's own arguments.
        fresh_socket(unsafe { real(fd, addr, len) }, |e, new| e.accepted(fd, new, 0))
    }

    fn accept4(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int, real {
        with(|e, s| e.before_accept(s, fd));
        // SAFETY: the program's own arguments.
        fresh_socket(unsafe { real(fd, addr, len, flags) }, |e, new| e.accepted(fd, new, flags))
    }

    fn dup(fd: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        dup_by(fd, || unsafe { real(fd) })
    }

    fn dup2(fd: c_int, new: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        dup_onto(fd, new, || unsafe { real(fd, new) })
    }

    fn dup3(fd: c_int, new: c_int, flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        let plain = || unsafe { real(fd, new, flags) };
        if flags & !libc::O_CLOEXEC != 0 {
            // The kernel refuses it, and `new` stays what it is.
            return plain();
        }
        dup_onto(fd, new, plain)
    }

    fn epoll_ctl(ep: c_int, op: c_int, fd: c_int, ev: *mut epoll_event) -> c_int, real {
        // SAFETY: the program's own arguments.
        let n = unsafe { real(ep, op, fd, ev) };
        if n == 0 {
            with(|e, _| match op {
                libc::EPOLL_CTL_DEL => e.unregistered(fd),
                // SAFETY: the kernel read the event just now.
                _ => e.registered(ep, fd, unsafe { ev.read_unaligned() }),
            });
        }
        n
    }

    fn pipe(fds: *mut c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        pair(unsafe { real(fds) }, fds)
    }

    fn pipe2(fds: *mut c_int, flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        pair(unsafe { real(fds, flags) }, fds)
    }

    fn socketpair(domain: c_int, kind: c_int, protocol: c_int, fds: *mut c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        pair(unsafe { real(domain, kind, protocol, fds) }, fds)
    }

    fn eventfd(init: c_uint, flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        fresh(unsafe { real(init, flags) }, Engine::made_other)
    }

    fn epoll_create(size: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        fresh(unsafe { real(size) }, Engine::made_other)
    }

    fn epoll_create1(flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        fresh(unsafe { real(flags) }, Engine::made_other)
    }

    fn fdopen(fd: c_int, mode: *const c_char) -> *mut libc::FILE, real {
        // stdio's own writes are not interposed.
        origin::forget(fd);
        with(|e, s| e.leave_alone(s, fd));
        // SAFETY: the program's own arguments.
        unsafe { real(fd, mode) }
    }

    fn creat(path: *const c_char, mode: mode_t) -> c_int, real {
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, mode) })
    }

    fn creat64(path: *const c_char, mode: mode_t) -> c_int, real {
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, mode) })
    }
}

/// Both ends of a new pair are never deferred.
///
/// # Safety (of the caller)
/// `fds` holds two descriptors if `n` is 0, as the kernel wrote them.
pub(super) fn pair(n: c_int, fds: *mut c_int) -> c_int {
    if n == 0 {
        with(|e, _| {
            for k in 0..2 {
                // SAFETY: the kernel just wrote both.
                e.made_other(unsafe { fds.add(k).read_unaligned() });
            }
        });
    }
    n
}

/// Closes a range around the library's own descriptors.
fn close_around(
    first: c_uint,
    last: c_uint,
    mut plain: impl FnMut(c_uint, c_uint) -> c_int,
) -> c_int {
    origin::forget_range(first, last);
    let mut from = first;
    if let Some(i) = enter() {
        i.forget_range(i.seg, first, last);
        let top = 65_536.min(last);
        if i.has_private() {
            for fd in first..=top {
                if i.is_private(fd as c_int) {
                    if fd > from {
                        plain(from, fd - 1);
                    }
                    from = fd + 1;
                }
            }
        }
    }
    if from > last && from != first {
        return 0;
    }
    plain(from, last)
}

interpose! { unchecked
    fn __close(fd: c_int) -> c_int, real {
        match enter() {
            Some(i) => i.close(i.seg, fd),
            None => _ = may_bypass(fd),
        }
        // SAFETY: the program's own arguments.
        unsafe { real(fd) }
    }

    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int, real {
        const CLOEXEC: c_int = 4;
        if flags & CLOEXEC != 0 || first > last {
            // SAFETY: the program's own arguments.
            return unsafe { real(first, last, flags) };
        }
        const UNSHARE: c_int = 2;
        // SAFETY: the program's own arguments.
        let plain = |a, b| unsafe { real(a, b, flags) };
        if flags & UNSHARE != 0 {
            return process::without_sweeper(true, || close_around(first, last, plain));
        }
        close_around(first, last, plain)
    }

    fn closefrom(first: c_int), real {
        let _ = real;
        // SAFETY: the library's own function of this name.
        unsafe { close_range(first.max(0) as c_uint, c_uint::MAX, 0) };
    }

    // The third argument is read only if the flags ask for it.
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, flags, mode) })
    }

    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, flags, mode) })
    }

    fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(dir, path, flags, mode) })
    }

    fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(dir, path, flags, mode) })
    }

    fn __open_2(path: *const c_char, flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, flags) })
    }

    fn __open64_2(path: *const c_char, flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, flags) })
    }

    fn __openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(dir, path, flags) })
    }

    fn __openat64_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(dir, path, flags) })
    }

    fn fcntl(fd: c_int, cmd: c_int, arg: *mut c_void) -> c_int, real {
        // SAFETY: the program's own arguments.
        fcntl_by(fd, cmd, arg, || unsafe { real(fd, cmd, arg) })
    }

    fn fcntl64(fd: c_int, cmd: c_int, arg: *mut c_void) -> c_int, real {
        // SAFETY: the program's own arguments.
        fcntl_by(fd, cmd, arg, || unsafe { real(fd, cmd, arg) })
    }
}

#[inline]
pub(super) fn fcntl_by(
    fd: c_int,
    cmd: c_int,
    arg: *mut c_void,
    plain: impl FnOnce() -> c_int,
) -> c_int {
    match cmd {
        libc::F_GETFD | libc::F_SETFD | libc::F_GETFL => plain(),
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => dup_by(fd, plain),
        libc::F_SETFL => {
            if arg.addr() as c_int & libc::O_ASYNC != 0 {
                // A signal tells of what arrives.
                with(|e, s| e.leave_alone(s, fd));
            }
            let n = plain();
            if n == 0 {
                let on = arg.addr() as c_int & libc::O_NONBLOCK != 0;
                with(|e, s| e.nonblocking(s, fd, on));
            }
            n
        }
        // Locks show to other processes, and end with a close.
        libc::F_SETLK
        | libc::F_SETLKW
        | libc::F_OFD_SETLK
        | libc::F_OFD_SETLKW
        | libc::F_SETLEASE => {
            with(|e, s| e.leave_alone(s, fd));
            plain()
        }
        _ => {
            with(|e, s| e.before_call_on(s, fd));
            plain()
        }
    }
}
