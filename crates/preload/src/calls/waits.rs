//! The waits: where segments end and begin. The first one of a process makes
//! the engine.

use crate::process;
use crate::real::interpose;
use crate::thread::enter;
use esca_engine::segment::WaitKind;
use esca_engine::{Engine, Segment};
use libc::{
    c_int, c_ulong, epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval,
};

/// Before a wait: the segment ends. What the look after it needs, if there is
/// to be one.
#[inline(always)]
fn before(kind: WaitKind) -> Option<(&'static Engine, &'static Segment)> {
    process::wake();
    let i = enter()?;
    i.before_wait(i.seg, kind);
    Some(i.leave())
}

/// The events that the kernel wrote, wherever the program has them.
///
/// # Safety
/// `n` events stand at `events`, if it is more than none.
#[inline]
unsafe fn reported(
    events: *const epoll_event,
    n: c_int,
) -> impl ExactSizeIterator<Item = epoll_event> {
    // SAFETY: the caller's promise.
    (0..n.max(0) as usize).map(move |k| unsafe { events.add(k).read_unaligned() })
}

/// Runs a wait between the two looks; the one after it takes no lock and
/// leaves errno alone.
macro_rules! wait {
    (poll $fds:ident, $count:ident, $call:expr) => {
        wait!($call, |n| polled($fds, $count, n))
    };
    (select $set:ident, $count:ident, $call:expr) => {
        wait!($call, |n| selected($set, $count, n))
    };
    ($call:expr, |$n:ident| $reported:expr) => {{
        let look = before(WaitKind::Level);
        // SAFETY: the caller's arguments, passed on.
        let $n = unsafe { $call };
        if let Some((engine, seg)) = look {
            // SAFETY: the kernel accepted them.
            engine.after_poll(seg, $n.max(0) as u32, unsafe { $reported });
        }
        $n
    }};
    (epoll $events:ident, $call:expr) => {{
        let look = before(WaitKind::Epoll);
        // SAFETY: the caller's arguments, passed on.
        let n = unsafe { $call };
        if let Some((engine, seg)) = look {
            // SAFETY: the kernel wrote n events.
            engine.after_epoll(seg, unsafe { reported($events, n) });
        }
        n
    }};
}

/// Descriptors that a poll reported readable.
///
/// # Safety
/// The kernel wrote `n` events into `count` entries at `fds`, if there are any.
#[inline]
unsafe fn polled(fds: *const pollfd, count: nfds_t, n: c_int) -> impl Iterator<Item = c_int> {
    let count = if n > 0 { count as usize } else { 0 };
    (0..count)
        // SAFETY: the caller's promise.
        .map(move |k| unsafe { fds.add(k).read_unaligned() })
        .filter(|p| p.revents & libc::POLLIN != 0)
        .map(|p| p.fd)
}

/// Descriptors below `count` that a select reported readable.
///
/// # Safety
/// The kernel wrote the set at `set`, if it is not null and `n` is above 0.
#[inline]
unsafe fn selected(set: *const fd_set, count: c_int, n: c_int) -> impl Iterator<Item = c_int> {
    let count = if n > 0 && !set.is_null() { count } else { 0 };
    (0..count).filter(move |fd| {
        let bits = c_ulong::BITS as c_int;
        let at = set.cast::<c_ulong>().wrapping_add((fd / bits) as usize);
        // SAFETY: the caller's promise.
        let word = unsafe { at.read_unaligned() };
        word & (1 << (fd % bits)) != 0
    })
}

/// A wait that is made by syscall(2): `plain` makes it; `events` is where an
/// epoll set reports.
///
/// # Safety
/// `plain` reports its events at `events`, if it reports any there.
pub(super) unsafe fn raw(
    kind: WaitKind,
    events: *const epoll_event,
    plain: impl FnOnce() -> c_int,
) -> c_int {
    let look = before(kind);
    let n = plain();
    match look {
        Some((engine, seg)) if !events.is_null() => {
            // SAFETY: the caller's promise.
            engine.after_epoll(seg, unsafe { reported(events, n) });
        }
        Some((engine, seg)) => engine.after_wait(seg, n.max(0) as u32),
        None => {}
    }
    n
}

interpose! {
    fn epoll_wait(ep: c_int, ev: *mut epoll_event, max: c_int, ms: c_int) -> c_int, real {
        wait!(epoll ev, real(ep, ev, max, ms))
    }

    fn epoll_pwait(
        ep: c_int, ev: *mut epoll_event, max: c_int, ms: c_int, mask: *const sigset_t,
    ) -> c_int, real {
        wait!(epoll ev, real(ep, ev, max, ms, mask))
    }

    fn poll(fds: *mut pollfd, n: nfds_t, ms: c_int) -> c_int, real {
        wait!(poll fds, n, real(fds, n, ms))
    }

    fn ppoll(
        fds: *mut pollfd, n: nfds_t, limit: *const timespec, mask: *const sigset_t,
    ) -> c_int, real {
        wait!(poll fds, n, real(fds, n, limit, mask))
    }

    fn select(
        n: c_int, r: *mut fd_set, w: *mut fd_set, e: *mut fd_set, limit: *mut timeval,
    ) -> c_int, real {
        wait!(select r, n, real(n, r, w, e, limit))
    }

    fn pselect(
        n: c_int, r: *mut fd_set, w: *mut fd_set, e: *mut fd_set, limit: *const timespec,
        mask: *const sigset_t,
    ) -> c_int, real {
        wait!(select r, n, real(n, r, w, e, limit, mask))
    }
}

interpose! { unchecked
    fn epoll_pwait2(
        ep: c_int, ev: *mut epoll_event, max: c_int, limit: *const timespec, mask: *const sigset_t,
    ) -> c_int, real {
        wait!(epoll ev, real(ep, ev, max, limit, mask))
    }

    fn __poll_chk(fds: *mut pollfd, n: nfds_t, ms: c_int, len: size_t) -> c_int, real {
        wait!(poll fds, n, real(fds, n, ms, len))
    }

    fn __ppoll_chk(
        fds: *mut pollfd, n: nfds_t, limit: *const timespec, mask: *const sigset_t, len: size_t,
    ) -> c_int, real {
        wait!(poll fds, n, real(fds, n, limit, mask, len))
    }

    fn __select(
        n: c_int, r: *mut fd_set, w: *mut fd_set, e: *mut fd_set, limit: *mut timeval,
    ) -> c_int, real {
        wait!(select r, n, real(n, r, w, e, limit))
    }

    fn __poll(fds: *mut pollfd, n: nfds_t, ms: c_int) -> c_int, real {
        wait!(poll fds, n, real(fds, n, ms))
    }
}
