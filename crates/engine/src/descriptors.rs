//! The calls that make, share and close descriptors.

use crate::engine::{Engine, Verdict};
use crate::operation::OpKind;
use crate::segment::Segment;
use crate::settings::Policy;
use crate::slot::bits;
use esca_abi::stats::Counter;
use libc::{AF_INET, AF_INET6, IPPROTO_TCP, O_ACCMODE, O_CREAT, O_NONBLOCK, O_RDONLY, O_TRUNC};
use std::sync::atomic::Ordering::*;

/// Mask of the socket type without its flags (socket(2)).
const SOCK_TYPE: i32 = 0xf;

impl Engine {
    /// `socket(domain, type, protocol)` gave `fd`.
    pub fn made_socket(&self, fd: i32, domain: i32, kind: i32, protocol: i32) {
        let tcp = matches!(domain, AF_INET | AF_INET6)
            && kind & SOCK_TYPE == libc::SOCK_STREAM
            && matches!(protocol, 0 | IPPROTO_TCP);
        let mut b = if tcp { bits::TCP } else { bits::PASS };
        if kind & libc::SOCK_NONBLOCK != 0 {
            b |= bits::NONBLOCK;
        }
        self.made(fd, b);
    }

    /// Before an accept: one that may block is a wait.
    #[inline]
    pub fn before_accept(&self, seg: &Segment, listener: i32) {
        seg.stats.add(Counter::CallAccept, 1);
        seg.stats.add(Counter::Made, 1);
        self.news(seg);
        let state = self.slots.get(listener).map_or(0, |s| s.state());
        if state & bits::NONBLOCK == 0 {
            self.effect(seg);
        }
    }

    /// `accept4(listener, flags)` gave `fd`.
    pub fn accepted(&self, listener: i32, fd: i32, flags: i32) {
        let Some(from) = self.slots.get(listener) else {
            return self.made(fd, bits::UNKNOWN);
        };
        if from.state() & bits::KIND == bits::UNKNOWN {
            self.classify(listener);
        }
        let state = from.state();
        if state & (bits::KIND | bits::PORT_KNOWN) == bits::TCP {
            self.note_port(from, listener);
        }
        let mut b = match state & bits::KIND {
            bits::TCP if state & bits::CORK_REAL == 0 => {
                bits::STREAM | state & (bits::NODELAY | bits::LINGER)
            }
            bits::UNKNOWN => bits::UNKNOWN,
            _ => bits::PASS,
        };
        if flags & libc::SOCK_NONBLOCK != 0 {
            b |= bits::NONBLOCK;
        }
        self.made(fd, b);
    }

    /// Before `open` with `flags`: what creates, truncates or may block shows
    /// to others.
    #[inline]
    pub fn before_open(&self, seg: &Segment, flags: i32) {
        let quiet = flags & (O_ACCMODE | O_CREAT | O_TRUNC) == O_RDONLY && flags & O_NONBLOCK != 0;
        if !quiet {
            self.effect(seg);
        }
        seg.stats.add(Counter::CallOther, 1);
        seg.stats.add(Counter::Made, 1);
    }

    /// `open` with `flags` gave `fd`.
    #[inline]
    pub fn opened(&self, fd: i32, flags: i32) {
        let quiet = flags & (O_ACCMODE | O_CREAT | O_TRUNC) == O_RDONLY;
        let mut b = if quiet && flags & O_NONBLOCK != 0 {
            bits::FILE
        } else {
            bits::PASS
        };
        if flags & O_NONBLOCK != 0 {
            b |= bits::NONBLOCK;
        }
        self.made(fd, b);
    }

    /// Some other call gave `fd`, something that is never deferred.
    pub fn made_other(&self, fd: i32) {
        self.made(fd, bits::PASS);
    }

    #[inline]
    fn made(&self, fd: i32, b: u64) {
        if let Some(slot) = self.slots.get(fd) {
            if slot.state() & (bits::OWNER | bits::RESIDUE) != 0 {
                self.lost(slot, fd);
            }
            slot.reset(b);
            slot.made.store(self.kin.now(), Relaxed);
            self.used(fd);
        }
    }

    /// `fd` gets a meaning that the engine cannot follow (fdopen, passing to
    /// another process, a lock): straight through from now on.
    pub fn leave_alone(&self, seg: &Segment, fd: i32) {
        self.effect(seg);
        if let Some(slot) = self.slots.get(fd) {
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
            self.escape(slot, fd);
            if slot.state() & bits::RESIDUE != 0 {
                // Others may write to it without a look here: behind these
                // bytes.
                self.wait_for_residues(|own| own == fd);
            }
        }
    }

    /// Before `shutdown(fd, how)`.
    pub fn shutdown(&self, seg: &Segment, fd: i32, how: i32) -> Verdict {
        seg.stats.add(Counter::CallShutdown, 1);
        let known = matches!(how, libc::SHUT_RD | libc::SHUT_WR | libc::SHUT_RDWR);
        // A wrong `how` changes nothing: the kernel says EINVAL.
        if let Some(slot) = self.slots.get(fd).filter(|_| known) {
            // A read after this is at the end, whatever the last one said.
            slot.drained.store(0, Relaxed);
            self.order_end(seg, fd);
            if how != libc::SHUT_RD {
                // A write after this is refused: nothing may be promised.
                slot.set(bits::CLOSING);
            }
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
            if how != libc::SHUT_RD && slot.state() & bits::RESIDUE != 0 {
                if how == libc::SHUT_RDWR {
                    let _ = rustix::net::shutdown(
                        crate::numbers::borrow(fd),
                        rustix::net::Shutdown::Read,
                    );
                }
                // The end of the stream goes out behind the residue.
                let id = slot.residue.load(Relaxed);
                slot.set(bits::SHUT);
                if self.residues.shutdown_later(self.side(), id, libc::SHUT_WR) {
                    return Verdict::Ret(0);
                }
                slot.clear(bits::SHUT);
            }
        }
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
    }

    /// In policy coalesce an end of stream keeps its place among the sends.
    #[inline]
    fn order_end(&self, seg: &Segment, fd: i32) {
        if seg.pending.load(Relaxed) != 0 && seg.current.get() != fd && !self.batching(seg) {
            self.flush(seg, seg.stats, Counter::FlushStream);
        }
    }

    /// Before the plain `close(fd)`: from here on the number means nothing.
    #[inline]
    pub fn close(&self, seg: &Segment, fd: i32) {
        seg.stats.add(Counter::CallClose, 1);
        seg.stats.add(Counter::Made, 1);
        self.forget(seg, fd);
    }

    /// Before the number `fd` is given up or given a new meaning (dup2).
    pub fn forget(&self, seg: &Segment, fd: i32) {
        let Some(slot) = self.slots.get(fd) else {
            return self.effect(seg);
        };
        let state = slot.state();
        match state & bits::KIND {
            bits::FILE => {}
            bits::STREAM | bits::TCP => {
                self.order_end(seg, fd);
                if seg.current.get() == fd {
                    // The last bytes and the end of the stream belong
                    // together; nothing else follows.
                    seg.predictor.ended();
                }
                slot.set(bits::CLOSING);
                self.settle(slot, fd, seg.stats, Counter::FlushCall);
            }
            _ => self.effect(seg),
        }
        let state = slot.state();
        if state & bits::LINGER != 0 {
            // It may wait for the peer.
            self.effect(seg);
        }
        if state & bits::RESIDUE != 0 {
            let id = slot.residue.load(Relaxed);
            // A duplicate of the program's keeps the socket in the sets, as
            // without us.
            if state & bits::KIND == bits::STREAM || !self.is_duplicated(fd, id) {
                self.leave_sets(fd);
            }
            self.close_residue(fd, id);
        }
        if state & (bits::HELD_BACK | bits::CORK_VIRTUAL) != 0 {
            slot.clear(bits::CORK_VIRTUAL);
        }
        if seg.explicit.get() {
            self.record(seg, &mut seg.custody.lock(), fd, OpKind::Close, 0);
        }
        slot.reset(bits::UNKNOWN);
    }

    /// Before a range of descriptors is closed.
    pub fn forget_range(&self, seg: &Segment, first: u32, last: u32) {
        self.flush_everything(seg.stats, Counter::FlushEffect);
        let top = self.top.load(Acquire).max(-1);
        if top < 0 {
            return;
        }
        for fd in first..=last.min(top as u32) {
            self.forget(seg, fd as i32);
        }
    }

    /// Whether bytes that the kernel did not take are kept for any stream.
    #[must_use]
    pub fn has_residues(&self) -> bool {
        self.residues.count() > 0
    }

    /// Whether the library has descriptors of its own now.
    #[must_use]
    pub fn has_private(&self) -> bool {
        self.has_residues() && self.sweeper.shares_table() || self.backend.gathers()
    }

    /// Whether `fd` belongs to the library, not to the program.
    #[must_use]
    pub fn is_private(&self, fd: i32) -> bool {
        self.has_private()
            && (self.residues.is_private(self.side(), fd) || self.backend.is_private(fd))
    }

    /// Before `fd` is duplicated: two numbers for one stream have no custody.
    pub fn before_dup(&self, seg: &Segment, fd: i32) {
        seg.stats.add(Counter::CallOther, 1);
        seg.stats.add(Counter::Made, 1);
        if let Some(slot) = self.slots.get(fd) {
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
            if matches!(slot.state() & bits::KIND, bits::STREAM | bits::TCP) {
                self.escape(slot, fd);
            }
        }
    }

    /// `fd` was duplicated as `new`.
    pub fn duplicated(&self, fd: i32, new: i32) {
        let (Some(from), Some(to)) = (self.slots.get(fd), self.slots.get(new)) else {
            return;
        };
        const SAME: u64 = bits::KIND | bits::NONBLOCK | bits::RESIDUE | bits::SHUT;
        if to.state() & (bits::OWNER | bits::RESIDUE) != 0 {
            self.lost(to, new);
        }
        to.residue.store(from.residue.load(Relaxed), Relaxed);
        to.reset(from.state() & SAME);
        self.used(new);
    }

    /// Whether the library does anything but pass calls through.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.policy == Policy::Off
    }
}
