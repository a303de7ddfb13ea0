//! The waits: epoll, select and poll in their forms.

use super::{Ret, ret};
use std::mem::zeroed;
use std::ptr::{null, null_mut};

/// epoll_ctl(2): adds or changes, with the descriptor as the data.
pub fn epoll_set(epoll: i32, fd: i32, interest: i32) -> Ret {
    let mut event = libc::epoll_event {
        events: interest.cast_unsigned(),
        u64: fd as u64,
    };
    // SAFETY: the event lives through both calls.
    unsafe {
        let done = libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, fd, &mut event);
        if done == 0 {
            return Ok(0);
        }
        ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event))
    }
}

/// epoll_wait(2) for one event: its descriptor and bits, `None` at the end
/// of the time.
pub fn epoll_wait(epoll: i32, ms: i32) -> Option<(i32, i32)> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    loop {
        // SAFETY: room for one event.
        let n = unsafe { libc::epoll_wait(epoll, &mut event, 1, ms) };
        if n >= 0 {
            return (n > 0).then_some((event.u64 as i32, event.events.cast_signed()));
        }
    }
}

/// select(2) or pselect(2) on one descriptor: whether it became readable.
pub fn select_read(fd: i32, seconds: i64, masked: bool) -> bool {
    let (mut time, precise) = (
        libc::timeval {
            tv_sec: seconds,
            tv_usec: 0,
        },
        seconds_only(seconds),
    );
    // SAFETY: the set is initialised, and the descriptor below FD_SETSIZE.
    unsafe {
        let mut set: libc::fd_set = zeroed();
        libc::FD_SET(fd, &mut set);
        let none = null_mut();
        let ready = if masked {
            libc::pselect(fd + 1, &mut set, none, none, &precise, null())
        } else {
            libc::select(fd + 1, &mut set, none, none, &mut time)
        };
        ready == 1 && libc::FD_ISSET(fd, &set)
    }
}

fn seconds_only(seconds: i64) -> libc::timespec {
    libc::timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    }
}

/// ppoll(2) on one descriptor: whether it became readable.
pub fn ppoll_read(fd: i32, seconds: i64) -> bool {
    let (mut p, time) = (
        libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        },
        seconds_only(seconds),
    );
    // SAFETY: one descriptor; no mask.
    unsafe { libc::ppoll(&mut p, 1, &time, null()) == 1 && p.revents & libc::POLLIN != 0 }
}

/// epoll_pwait(2) or epoll_pwait2(2) for one event: its descriptor.
pub fn epoll_pwait(epoll: i32, seconds: i64, precise: bool) -> i32 {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event; no mask.
    let n = unsafe {
        if precise {
            epoll_pwait2(epoll, &mut event, 1, &seconds_only(seconds), null())
        } else {
            libc::epoll_pwait(epoll, &mut event, 1, seconds as i32 * 1000, null())
        }
    };
    if n == 1 { event.u64 as i32 } else { -1 }
}

unsafe extern "C" {
    // Since glibc 2.35; libc's crate doesn't have it.
    fn epoll_pwait2(
        epoll: i32,
        events: *mut libc::epoll_event,
        most: i32,
        time: *const libc::timespec,
        mask: *const libc::sigset_t,
    ) -> i32;
}
