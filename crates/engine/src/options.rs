//! The calls that change a descriptor's mode: setsockopt, getsockopt, fcntl
//! flags, ioctl(FIONBIO).

use crate::engine::{Engine, Verdict};
use crate::rules::{Rule, cork, nodelay};
use crate::segment::Segment;
use crate::settings::Policy;
use crate::slot::{Slot, bits};
use esca_abi::stats::Counter;
use libc::{IPPROTO_TCP, SO_ERROR, SO_LINGER, SOL_SOCKET, TCP_CORK, TCP_NODELAY, TCP_ULP};
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// What is to be done with `setsockopt(fd, level, name, value)`. After
    /// `Pass`, tell [`Engine::after_setsockopt`]. `value` looks at the option's
    /// first int, if the kernel would; it is called where an answer without
    /// the kernel depends on it, on a stream.
    #[inline]
    pub fn setsockopt(
        &self,
        seg: &Segment,
        fd: i32,
        level: i32,
        name: i32,
        value: impl FnOnce() -> Option<i32>,
    ) -> Verdict {
        seg.stats.add(Counter::CallSockopt, 1);
        let verdict = match self.slots.get(fd) {
            Some(slot) if level == IPPROTO_TCP && name == TCP_CORK => {
                self.cork(seg, slot, fd, value)
            }
            Some(slot) if level == IPPROTO_TCP && name == TCP_NODELAY => {
                let on = value().is_some_and(|v| v != 0);
                if on && self.rule(Rule::Nodelay) && nodelay::is_repeated(slot.state()) {
                    self.unless_watching(seg, elided(seg, nodelay::ABOUT.counter))
                } else {
                    // What was sent before goes out under the old mode, and
                    // on pushes it, under a cork too (tcp(7)).
                    if on {
                        self.push_custody(slot, fd, seg.stats);
                    } else {
                        self.settle(slot, fd, seg.stats, Counter::FlushCall);
                    }
                    Verdict::Pass
                }
            }
            Some(slot) => {
                self.settle(slot, fd, seg.stats, Counter::FlushCall);
                // It may change what the send buffer holds (SO_SNDBUF).
                slot.credit.forget();
                if (level, name) == (IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT) {
                    slot.set(bits::LOWAT);
                }
                if counts_writes(level, name) {
                    self.escape(slot, fd);
                }
                Verdict::Pass
            }
            None => Verdict::Pass,
        };
        if verdict == Verdict::Pass {
            seg.stats.add(Counter::Made, 1);
        }
        verdict
    }

    #[inline]
    fn cork(
        &self,
        seg: &Segment,
        slot: &Slot,
        fd: i32,
        value: impl FnOnce() -> Option<i32>,
    ) -> Verdict {
        let state = slot.state();
        let may_mark = self.rule(Rule::Cork) && cork::may_mark(state);
        let watched = self.watching(seg);
        let asks = match state & bits::CORK_VIRTUAL {
            0 if watched => state & bits::KIND == bits::STREAM,
            0 => may_mark && self.promises(seg),
            _ => true,
        };
        if !asks {
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
            return Verdict::Pass;
        }
        let Some(on) = value().map(|v| v != 0) else {
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
            return Verdict::Pass;
        };
        if watched {
            if self.watch_cork(seg, fd, on, may_mark) {
                elided(seg, cork::ABOUT.counter);
            }
            return Verdict::Pass;
        }
        if on && may_mark {
            if state & bits::CORK_VIRTUAL == 0 {
                // What was sent before the cork is not under it.
                self.settle(slot, fd, seg.stats, Counter::FlushCall);
            }
            slot.set(bits::CORK_VIRTUAL);
            return elided(seg, cork::ABOUT.counter);
        }
        if state & bits::CORK_VIRTUAL != 0 {
            if on {
                return elided(seg, cork::ABOUT.counter);
            }
            slot.clear(bits::CORK_VIRTUAL);
            // It pushes what was asked to be held back, too.
            self.forget_more(slot, fd);
            if cork::uncork(slot.state()) == cork::Uncork::Nothing {
                return elided(seg, cork::ABOUT.counter);
            }
        }
        self.settle(slot, fd, seg.stats, Counter::FlushCall);
        Verdict::Pass
    }

    fn unless_watching(&self, seg: &Segment, verdict: Verdict) -> Verdict {
        if self.watching(seg) {
            Verdict::Pass
        } else {
            verdict
        }
    }

    /// After the plain setsockopt succeeded; `value` is its first int.
    #[inline]
    pub fn after_setsockopt(
        &self,
        fd: i32,
        level: i32,
        name: i32,
        value: impl FnOnce() -> Option<i32>,
    ) {
        let known = matches!(
            (level, name),
            (IPPROTO_TCP, TCP_NODELAY | TCP_CORK) | (SOL_SOCKET, SO_LINGER)
        );
        let Some(slot) = self.slots.get(fd).filter(|_| known) else {
            return;
        };
        let Some(v) = value() else { return };
        self.used(fd);
        match (level, name, v != 0) {
            (IPPROTO_TCP, TCP_NODELAY, true) => slot.change(bits::HELD_BACK, bits::NODELAY),
            (IPPROTO_TCP, TCP_NODELAY, false) => slot.clear(bits::NODELAY),
            (IPPROTO_TCP, TCP_CORK, true) => slot.set(bits::CORK_REAL),
            (IPPROTO_TCP, TCP_CORK, false) => slot.clear(bits::CORK_REAL | bits::HELD_BACK),
            (SOL_SOCKET, SO_LINGER, true) => slot.set(bits::LINGER),
            (SOL_SOCKET, SO_LINGER, false) => slot.clear(bits::LINGER),
            _ => {}
        }
    }

    /// Before `getsockopt(fd, ...)`: the kernel knows all. After it succeeded,
    /// ask [`Engine::after_getsockopt`].
    pub fn before_getsockopt(&self, seg: &Segment, fd: i32) {
        seg.stats.add(Counter::CallSockopt, 1);
        seg.stats.add(Counter::Made, 1);
        if let Some(slot) = self.slots.get(fd) {
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
        }
    }

    /// What the program is told in place of the int `told` that the kernel
    /// gave for an option: that a cork is on which is only a mark, or what a
    /// deferred operation ran into.
    #[must_use]
    pub fn after_getsockopt(&self, fd: i32, level: i32, name: i32, told: i32) -> Option<i32> {
        let slot = self.slots.get(fd)?;
        match (level, name) {
            (IPPROTO_TCP, TCP_CORK) if slot.state() & bits::CORK_VIRTUAL != 0 => Some(1),
            // The kernel's own goes first: it has forgotten it now.
            (SOL_SOCKET, SO_ERROR) if told == 0 => Some(self.take_error(slot)).filter(|e| *e != 0),
            _ => None,
        }
    }

    /// `O_NONBLOCK` is about to change on `fd`.
    pub fn nonblocking(&self, seg: &Segment, fd: i32, on: bool) {
        if let Some(slot) = self.slots.get(fd) {
            self.used(fd);
            if on {
                slot.set(bits::NONBLOCK);
            } else {
                slot.clear(bits::NONBLOCK);
                self.settle(slot, fd, seg.stats, Counter::FlushCall);
            }
        }
    }

    /// Before a call on `fd` that is not understood: its custody goes first.
    #[inline]
    pub fn before_call_on(&self, seg: &Segment, fd: i32) {
        self.news(seg);
        seg.stats.add(Counter::CallOther, 1);
        seg.stats.add(Counter::Made, 1);
        if let Some(slot) = self.slots.get(fd) {
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
        }
    }

    /// The kernel shall know all, and nothing is kept for `fd` any more.
    pub(crate) fn escape(&self, slot: &Slot, fd: i32) {
        slot.drained.store(0, Relaxed);
        if slot.state() & bits::CORK_VIRTUAL != 0 {
            let _ = rustix::net::sockopt::set_tcp_cork(crate::numbers::borrow(fd), true);
            slot.change(bits::CORK_VIRTUAL, bits::CORK_REAL);
        }
        slot.set_kind(bits::PASS);
        self.used(fd);
    }

    /// Whether this thread may promise anything.
    pub(crate) fn promises(&self, seg: &Segment) -> bool {
        seg.explicit.get() || matches!(self.policy, Policy::Coalesce | Policy::Batch)
    }
}

/// Whether the option makes the number or the bounds of writes visible, or
/// lets them succeed before there is a connection: such streams pass.
fn counts_writes(level: i32, name: i32) -> bool {
    const TCP_TX_DELAY: i32 = 37;
    const SO_TIMESTAMPING_NEW: i32 = 65;
    match level {
        IPPROTO_TCP => matches!(
            name,
            TCP_ULP | libc::TCP_REPAIR | libc::TCP_FASTOPEN_CONNECT | TCP_TX_DELAY
        ),
        SOL_SOCKET => matches!(
            name,
            libc::SO_TIMESTAMPING | SO_TIMESTAMPING_NEW | libc::SO_ZEROCOPY | libc::SO_TXTIME
        ),
        _ => false,
    }
}

fn elided(seg: &Segment, rule: Counter) -> Verdict {
    seg.stats.add(Counter::Elided, 1);
    seg.stats.add(Counter::Saved, 1);
    seg.stats.add(rule, 1);
    Verdict::Ret(0)
}
