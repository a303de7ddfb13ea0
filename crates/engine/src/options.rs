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
    /// What is to be done with `setsockopt(fd, level, name, value)`, `value`
    /// being the option's first int. After `Pass`, tell
    /// [`Engine::after_setsockopt`].
    #[inline]
    pub fn setsockopt(
        &self,
        seg: &Segment,
        fd: i32,
        level: i32,
        name: i32,
        value: Option<i32>,
    ) -> Verdict {
        seg.stats.add(Counter::CallSockopt, 1);
        let verdict = match (self.slots.get(fd), value) {
            (Some(slot), Some(v)) if level == IPPROTO_TCP && name == TCP_CORK => {
                self.cork(seg, slot, fd, v != 0)
            }
            (Some(slot), Some(v)) if level == IPPROTO_TCP && name == TCP_NODELAY => {
                if slot.state() & bits::OWNER != 0 {
                    // On pushes (tcp(7)); off: what was sent before goes out
                    // under the old mode.
                    self.settle(slot, fd, seg.stats, Counter::FlushCall);
                }
                if v != 0 && self.rule(Rule::Nodelay) && nodelay::is_repeated(slot.state()) {
                    self.unless_watching(seg, elided(seg, nodelay::ABOUT.counter))
                } else {
                    if v == 0 {
                        // What was sent before goes out under the old mode.
                        self.settle(slot, fd, seg.stats, Counter::FlushCall);
                    }
                    Verdict::Pass
                }
            }
            (Some(slot), _) => {
                self.settle(slot, fd, seg.stats, Counter::FlushCall);
                if counts_writes(level, name) {
                    self.escape(slot, fd);
                }
                Verdict::Pass
            }
            (None, _) => Verdict::Pass,
        };
        if verdict == Verdict::Pass {
            seg.stats.add(Counter::Made, 1);
        }
        verdict
    }

    fn cork(&self, seg: &Segment, slot: &Slot, fd: i32, on: bool) -> Verdict {
        let state = slot.state();
        if self.watching(seg) {
            let may_mark = self.rule(Rule::Cork) && cork::may_mark(state);
            if self.watch_cork(seg, fd, on, may_mark) {
                elided(seg, cork::ABOUT.counter);
            }
            return Verdict::Pass;
        }
        if on && self.rule(Rule::Cork) && self.promises(seg) && cork::may_mark(state) {
            slot.set(bits::CORK_VIRTUAL);
            return elided(seg, cork::ABOUT.counter);
        }
        if state & bits::CORK_VIRTUAL != 0 {
            if on {
                return elided(seg, cork::ABOUT.counter);
            }
            slot.clear(bits::CORK_VIRTUAL);
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

    /// After the plain setsockopt succeeded.
    #[inline]
    pub fn after_setsockopt(&self, fd: i32, level: i32, name: i32, value: Option<i32>) {
        let (Some(slot), Some(v)) = (self.slots.get(fd), value) else {
            return;
        };
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

    /// What is to be done with `getsockopt`: `Ret` carries the int to store.
    pub fn getsockopt(&self, seg: &Segment, fd: i32, level: i32, name: i32) -> Verdict {
        seg.stats.add(Counter::CallSockopt, 1);
        if let Some(slot) = self.slots.get(fd) {
            if level == IPPROTO_TCP && name == TCP_CORK && slot.state() & bits::CORK_VIRTUAL != 0 {
                return elided(seg, cork::ABOUT.counter).with(1);
            }
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
            if level == SOL_SOCKET && name == SO_ERROR {
                let e = self.take_error(slot);
                if e != 0 {
                    return Verdict::Ret(e as isize);
                }
            }
        }
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
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

impl Verdict {
    fn with(self, value: isize) -> Self {
        match self {
            Verdict::Ret(_) => Verdict::Ret(value),
            v => v,
        }
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
