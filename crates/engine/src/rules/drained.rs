//! Rule `drained`: the read that must say EAGAIN is not made.
//!
//! Matches: a read on a non-blocking TCP stream of an event loop, right after
//! a read in the same segment of the same thread that came back shorter than
//! asked. Makes of it: EAGAIN, once.
//!
//! Invariant: no information that postdates the short read can have reached
//! the thread. A wait, an effect, any other read that had an answer, and an
//! accept end it (`Engine::news`); where there are threads, so does a wait or
//! such a call of any of them. A process that may have both ends of a
//! connection (`stream/ports.rs`) is not served: what it sends arrives at once.
//! Sends end nothing: their answers tell of room in a buffer, not of input.
//!
//! Why no observer can tell: a short read means that the receive queue was
//! empty (epoll(7), questions and answers). Whatever arrives later is
//! reported by the next wait: always to a level-triggered waiter, and to an
//! edge-triggered one because the arrival is a new edge. The one thing that
//! may have arrived *before* without a new edge is the peer's hang-up, so an
//! edge-triggered stream counts only if it asked for `EPOLLRDHUP` and none
//! was reported since it was registered. Not after EOF or an error, not with
//! flags such as `MSG_PEEK`, not for no bytes, not twice.

use super::{About, Rule};
use crate::segment::{Segment, WaitKind};
use crate::slot::bits;
use esca_abi::stats::Counter;

/// Name and counter.
pub const ABOUT: About = About {
    rule: Rule::Drained,
    name: "drained",
    counter: Counter::RuleDrained,
};

/// Flags of a recv that change nothing about what a short count means.
pub(crate) const PLAIN_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Names the segment of a thread: a short read is remembered with it.
#[inline]
pub(crate) fn mark(seg: &Segment) -> u64 {
    (u64::from(seg.id) + 1) << 32 | u64::from(seg.serial.get())
}

/// Whether every wait of this thread will report what arrives after a short
/// read: [`reported_later`] in the common case.
#[inline]
pub(crate) fn is_level(state: u64) -> bool {
    const LOOK: u64 = bits::KIND | bits::NONBLOCK | bits::EPOLL_LEVEL | bits::EPOLL_EDGE;
    state & LOOK == bits::STREAM | bits::NONBLOCK | bits::EPOLL_LEVEL
}

/// Whether a wait will report what arrives after a short read.
#[inline]
pub(crate) fn reported_later(state: u64, wait: WaitKind) -> bool {
    // A thread that does not wait itself (a worker that is handed streams)
    // has no segments: another's wait may report the stream at any time.
    if wait == WaitKind::None
        || state & (bits::KIND | bits::NONBLOCK) != bits::STREAM | bits::NONBLOCK
    {
        return false;
    }
    if state & bits::EPOLL_EDGE != 0 {
        return state & (bits::HANGUP_WATCHED | bits::HANGUP) == bits::HANGUP_WATCHED;
    }
    // That the thread polls does not say that it polls this stream.
    state & bits::EPOLL_LEVEL != 0 || wait == WaitKind::Level && state & bits::POLLED != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_need_the_hangup_watched() {
        let s = bits::STREAM | bits::NONBLOCK;
        let e = WaitKind::Epoll;
        assert!(!reported_later(s, e));
        assert!(!reported_later(s | bits::EPOLL_LEVEL, WaitKind::None));
        assert!(!reported_later(s, WaitKind::Level));
        assert!(reported_later(s | bits::POLLED, WaitKind::Level));
        assert!(!reported_later(s | bits::POLLED, e));
        assert!(reported_later(s | bits::EPOLL_LEVEL, e));
        let edge = s | bits::EPOLL_EDGE;
        assert!(!reported_later(edge, e));
        assert!(!reported_later(edge | bits::EPOLL_LEVEL, e));
        assert!(reported_later(edge | bits::HANGUP_WATCHED, e));
        let gone = edge | bits::HANGUP_WATCHED | bits::HANGUP;
        assert!(!reported_later(gone, e));
        assert!(!reported_later(bits::STREAM | bits::EPOLL_LEVEL, e));
    }
}
