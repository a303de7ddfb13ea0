//! The calls that send from memory: write, writev, send, sendto, sendmsg.

use crate::bytes::{Asks, Look, Pieces, WriteCall};
use crate::connecting::is_connected;
use crate::engine::{Engine, Verdict};
use crate::operation::OpKind;
use crate::rules::merge;
use crate::segment::Segment;
use crate::settings::Policy;
use crate::slot::{Slot, bits, owner_bits};
use esca_abi::stats::Counter;
use libc::{MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL};
use std::sync::atomic::Ordering::*;

/// What is looked at of a stream of which nothing is held or owed.
const PLAIN: u64 = bits::KIND
    | bits::NONBLOCK
    | bits::OWNER
    | bits::CORK_VIRTUAL
    | bits::RESIDUE
    | bits::ERROR
    | bits::SHUT;

impl Engine {
    /// What is to be done with a call that sends bytes. After `Pass`, make
    /// the call and tell [`Engine::after_write`].
    ///
    /// # Safety
    /// The call is the program's. Where its bytes are to be copied, they must
    /// be readable: the one place where a bad address is not the kernel's.
    // Always: what is known of the call at its place makes half of it vanish.
    #[inline(always)]
    pub unsafe fn write(&self, seg: &Segment, call: &WriteCall) -> Verdict {
        let counter = match call.kind {
            OpKind::Write => Counter::CallWrite,
            OpKind::Writev => Counter::CallWritev,
            OpKind::Send => Counter::CallSend,
            _ => Counter::CallSendmsg,
        };
        seg.stats.add(counter, 1);
        // What is sent may come back at once.
        let Some(slot) = self.slots.get(call.fd) else {
            return self.through(seg);
        };
        let state = slot.state();
        if state & PLAIN == bits::STREAM | bits::NONBLOCK
            && call.flags & !(MSG_DONTWAIT | MSG_NOSIGNAL) == 0
            && seg.passes.get()
            && !seg.predictor.keep(call.kind)
            && call.bytes.may_be_some()
            && self.stays_plain(seg, slot, call.fd)
        {
            self.alone(seg, slot, call);
            return Verdict::Pass;
        }
        // SAFETY: the caller's promise.
        unsafe { self.consider(seg, slot, state, call) }
    }

    /// A write that may be kept, or must wait, or goes through with care.
    ///
    /// # Safety
    /// As for [`Engine::write`].
    #[inline(never)]
    unsafe fn consider(&self, seg: &Segment, slot: &Slot, state: u64, call: &WriteCall) -> Verdict {
        if state & (bits::RESIDUE | bits::SHUT) != 0 {
            return self.impaired(seg, slot, state, call);
        }
        if state & bits::KIND != bits::STREAM {
            return self.through(seg);
        }
        if state & bits::ERROR != 0 {
            return self.impaired(seg, slot, state, call);
        }
        if !call.bytes.may_be_some() {
            return self.empty(seg, slot, call.fd);
        }
        if call.flags & !(MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL) != 0 {
            return self.ordered(seg, slot, call.fd, call.flags);
        }
        if slot.answers() {
            seg.stats.add(Counter::Answered, 1);
        }
        if state & bits::NONBLOCK != 0 && self.watching(seg) {
            return self.watch_write(seg, call);
        }
        if state & bits::NONBLOCK == 0 || !self.promises(seg) {
            return self.ordered(seg, slot, call.fd, call.flags);
        }
        let mine = state & bits::OWNER == owner_bits(seg.id);
        let keep = mine
            || call.flags & MSG_MORE != 0
            || state & bits::CORK_VIRTUAL != 0
            || self.wants_all(seg)
            || seg.predictor.keep(call.kind);
        seg.predictor.sent(call.fd, call.kind);
        // `keep` where `mine`. Now, and not before, the vector is looked at.
        let mut pieces = Pieces::new();
        if keep {
            // SAFETY: the caller's promise.
            match unsafe { pieces.take(&call.bytes) } {
                None => return self.ordered(seg, slot, call.fd, call.flags),
                Some(0) => return self.empty(seg, slot, call.fd),
                Some(len) => {
                    if len <= merge::WRITE_LIMIT
                        // SAFETY: the caller's promise.
                        && unsafe { self.defer(seg, slot, call, &pieces, len) }
                    {
                        return Verdict::Ret(len as isize);
                    }
                }
            }
        }
        let turned = seg.current.replace(call.fd) != call.fd;
        if mine && !turned && slot.state() & bits::OWNER == owner_bits(seg.id) {
            return self.gather(seg, slot, call, &mut pieces);
        }
        self.in_turn(seg);
        self.settled(seg, slot, call.fd, call.flags)
    }

    /// A write on a stream of which bytes are left over, that is shut behind
    /// some, or that has an error to report.
    #[cold]
    fn impaired(&self, seg: &Segment, slot: &Slot, state: u64, call: &WriteCall) -> Verdict {
        if state & (bits::RESIDUE | bits::SHUT) != 0 {
            let asks = match (call.bytes.look(), call.kind) {
                (Look::Refused, _) | (Look::Bytes(0), OpKind::Writev) => Asks::Nothing,
                (Look::Bytes(0), _) => Asks::Empty,
                _ => Asks::Bytes,
            };
            if self.waits_for_nothing(asks, slot, state) {
                return self.through(seg);
            }
        }
        self.troubled(seg, slot, call.fd, state, call.flags, Asks::Bytes)
    }

    /// A write of no bytes on a stream.
    #[cold]
    fn empty(&self, seg: &Segment, slot: &Slot, fd: i32) -> Verdict {
        self.settle(slot, fd, seg.stats, Counter::FlushCall);
        self.through(seg)
    }

    /// Whether `fd` is known to be a TCP stream, which carries no descriptors.
    #[inline]
    #[must_use]
    pub fn is_stream(&self, fd: i32) -> bool {
        self.slots
            .get(fd)
            .is_some_and(|s| s.state() & bits::KIND == bits::STREAM)
    }

    /// Whether bytes are left over on any stream.
    #[inline]
    #[must_use]
    pub fn owes_bytes(&self) -> bool {
        self.residues.count() != 0
    }

    /// A write by which nothing is known to be followed, on a stream of which
    /// nothing is held: straight through, behind what was sent before.
    #[inline(always)]
    fn alone(&self, seg: &Segment, slot: &Slot, call: &WriteCall) {
        if slot.answers() {
            seg.stats.add(Counter::Answered, 1);
        }
        seg.predictor.sent(call.fd, call.kind);
        seg.current.set(call.fd);
        self.in_turn(seg);
        seg.stats.add(Counter::Direct, 1);
        seg.stats.add(Counter::Made, 1);
    }

    /// Whether there is nothing for [`Engine::after_write`] to do after a
    /// plain call that sends gave `result`. Takes no lock and leaves errno
    /// alone.
    #[inline]
    #[must_use]
    pub fn wrote_plainly(&self, seg: &Segment, fd: i32, flags: i32, result: isize) -> bool {
        const LOOK: u64 = bits::KIND | bits::FULL | bits::HELD_BACK;
        let Some(slot) = self.slots.get(fd) else {
            return false;
        };
        let plainly = flags & MSG_MORE == 0
            && !seg.explicit.get()
            && seg.flight.get() < 0
            && slot.state() & LOOK == bits::STREAM;
        if plainly && result > 0 {
            slot.credit.spend(result as usize);
        }
        plainly
    }

    /// What is to be done with a call that sends on `fd` and is never
    /// deferred: it goes behind all there is. After `Pass`, make the call and
    /// tell [`Engine::landed`]. What it `asks` is only asked where it matters.
    pub fn send_behind(&self, seg: &Segment, fd: i32, asks: impl FnOnce() -> Asks) -> Verdict {
        seg.stats.add(Counter::CallOther, 1);
        self.effect(seg);
        let Some(slot) = self.slots.get(fd) else {
            seg.stats.add(Counter::Made, 1);
            return Verdict::Pass;
        };
        // How much it sends is not followed, nor whether it asks for MORE: the
        // kernel may hold its bytes back.
        slot.credit.forget();
        if slot.state() & bits::KIND == bits::STREAM {
            slot.set(bits::HELD_BACK);
        }
        self.settle(slot, fd, seg.stats, Counter::FlushCall);
        let state = slot.state();
        if state & (bits::RESIDUE | bits::ERROR | bits::SHUT) == 0 {
            return self.settled(seg, slot, fd, 0);
        }
        let asks = asks();
        if state & (bits::RESIDUE | bits::SHUT) != 0 && self.waits_for_nothing(asks, slot, state) {
            seg.stats.add(Counter::Made, 1);
            return Verdict::Pass;
        }
        self.troubled(seg, slot, fd, state, 0, asks)
    }

    /// Straight through, after what an observer could order it by.
    #[inline]
    pub(crate) fn through(&self, seg: &Segment) -> Verdict {
        self.effect(seg);
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
    }

    /// Straight through on a stream, by a call that may block or that is not
    /// understood: after everything in custody.
    #[cold]
    pub(crate) fn ordered(&self, seg: &Segment, slot: &Slot, fd: i32, flags: i32) -> Verdict {
        self.effect(seg);
        self.settled(seg, slot, fd, flags)
    }

    /// Straight through, after what is in custody for the same stream.
    #[inline]
    pub(crate) fn settled(&self, seg: &Segment, slot: &Slot, fd: i32, flags: i32) -> Verdict {
        self.take_off(seg, slot, fd);
        self.settle(slot, fd, seg.stats, Counter::FlushCall);
        let state = slot.state();
        if state & (bits::RESIDUE | bits::ERROR | bits::SHUT) != 0 {
            self.landed(seg);
            return self.troubled(seg, slot, fd, state, flags, Asks::Bytes);
        }
        seg.stats.add(Counter::Direct, 1);
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
    }

    /// A plain call that sends on `fd` begins: no other thread promises
    /// anything on the stream until it [`Engine::landed`].
    #[inline]
    pub(crate) fn take_off(&self, seg: &Segment, slot: &Slot, fd: i32) {
        if self.threaded.load(Relaxed) {
            self.landed(seg);
            slot.take_off();
            seg.flight.set(fd);
        }
    }

    /// Begins a plain call on a stream of which nothing is held or owed,
    /// unless another thread has promised something on it by now.
    #[inline]
    fn stays_plain(&self, seg: &Segment, slot: &Slot, fd: i32) -> bool {
        if !self.threaded.load(Relaxed) {
            return true;
        }
        self.take_off(seg, slot, fd);
        let plain = slot.state() & PLAIN == bits::STREAM | bits::NONBLOCK;
        if !plain {
            self.landed(seg);
        }
        plain
    }

    /// The plain call that sends is over.
    #[inline]
    pub fn landed(&self, seg: &Segment) {
        if seg.flight.get() >= 0
            && let Some(slot) = self.slots.get(seg.flight.replace(-1))
        {
            slot.land();
        }
    }

    /// Whether everything is kept until the segment ends.
    #[inline]
    pub(crate) fn wants_all(&self, seg: &Segment) -> bool {
        seg.explicit.get() || self.policy == Policy::Batch && !seg.lone.get()
    }

    /// In policy coalesce, what was sent before on other streams goes first.
    #[inline]
    pub(crate) fn in_turn(&self, seg: &Segment) {
        if seg.pending.load(Relaxed) != 0 && !self.batching(seg) {
            self.flush(seg, seg.stats, Counter::FlushStream);
        }
    }

    /// After a plain call that sends gave `result` for `asked` bytes
    /// (`asked` 0 if not known).
    #[inline]
    pub fn after_write(&self, seg: &Segment, fd: i32, kind: OpKind, flags: i32, result: isize) {
        self.landed(seg);
        let Some(slot) = self.slots.get(fd) else {
            return;
        };
        if result > 0 {
            slot.credit.spend(result as usize);
        }
        let state = slot.state();
        match state & bits::KIND {
            bits::UNKNOWN if result >= 0 => self.classify(fd),
            bits::TCP if result > 0 && is_connected(fd) => slot.set_kind(bits::STREAM),
            bits::STREAM => {
                let held = if flags & MSG_MORE != 0 {
                    bits::HELD_BACK
                } else {
                    0
                };
                if result > 0 && state & (bits::FULL | bits::HELD_BACK) != held {
                    slot.change(bits::FULL | bits::HELD_BACK, held);
                }
            }
            _ => {}
        }
        if seg.explicit.get() {
            self.record_plain(seg, fd, kind, result);
        }
    }
}
