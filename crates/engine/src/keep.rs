//! How bytes enter custody: what must go before them, and whether they may
//! stay.

use crate::bytes::{Pieces, WriteCall};
use crate::custody::{Custody, Held};
use crate::engine::Engine;
use crate::operation::{OpKind, SegmentResult};
use crate::rules::{Rule, merge};
use crate::segment::Segment;
use crate::slot::{Slot, bits, owner_bits};
use esca_abi::stats::Counter;
use esca_abi::status::Status;
use libc::MSG_MORE;
use std::sync::atomic::Ordering::*;

impl Engine {
    /// Takes the bytes of `call`, the `pieces` of `len` bytes, into custody; false if they cannot be kept.
    ///
    /// # Safety
    /// As for [`Engine::write`].
    #[inline]
    pub(crate) unsafe fn defer(
        &self,
        seg: &Segment,
        slot: &Slot,
        call: &WriteCall,
        pieces: &Pieces,
        len: usize,
    ) -> bool {
        self.keep(
            seg,
            slot,
            call.fd,
            call.kind,
            call.flags & MSG_MORE != 0,
            |room| {
                // SAFETY: the caller's promise; keep gives at least len bytes.
                Some(unsafe { pieces.copy(room) })
            },
            len,
        )
        .is_some()
    }

    /// Takes up to `len` bytes into custody for `fd`, produced by `fill`.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn keep(
        &self,
        seg: &Segment,
        slot: &Slot,
        fd: i32,
        kind: OpKind,
        more: bool,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
        len: usize,
    ) -> Option<usize> {
        let me = owner_bits(seg.id);
        let mut c = seg.custody.lock();
        // Under the lock: who ends promises and then takes it relies on that.
        if !self.may_promise() {
            return None;
        }
        let now = self.sweeper.tick.load(Relaxed);
        let state = slot.state();
        if state & bits::INHERITED != 0 {
            self.inherit(slot, fd);
        }
        let mut mine = state & bits::OWNER == me;
        // Policy coalesce keeps the order of sends between streams. Answers to
        // a round of several events may stay and leave back to back, in the
        // order in which they were made; a stream whose bytes stand before
        // another's cannot take more.
        let turned = seg.current.replace(fd) != fd;
        if turned && c.n != 0 && (mine || seg.lone.get()) && !self.batching(seg) {
            self.flush_locked(seg, &mut c, seg.stats, Counter::FlushStream, None);
            mine = false;
        }
        // Bytes of a stream that was waited for long, that are many, or that
        // may not be merged go first.
        // So do those of which nothing was to be held back, before some of
        // which the kernel is asked for that.
        let split = mine
            && (kind != OpKind::Sendfile && !self.rule(Rule::Merge)
                || more && !c.ends_held_back(fd));
        let late = c.n != 0 && now.wrapping_sub(seg.since.load(Relaxed)) > self.sweeper.age;
        let crowded = !mine && c.streams as u32 >= seg.round.get() && !seg.explicit.get();
        let no_room =
            |c: &Custody| !c.fits(len) || c.used + len > merge::STREAM_LIMIT && !self.batching(seg);
        if no_room(&c) && mine && c.streams > 1 && !split && !late {
            // Others take the room. What is kept for this stream stays before
            // what follows it: alone it would be a segment of its own.
            self.flush_others(seg, &mut c, fd);
            c.compact();
        }
        if no_room(&c) || split || late || crowded {
            self.flush_locked(seg, &mut c, seg.stats, Counter::FlushFull, None);
            mine = false;
        }
        if !mine && state & bits::SHARED != 0 {
            slot.credit.forget();
        }
        if !slot.credit.take(len) && !self.find_credit(seg, &mut c, slot, fd, len, &mut mine) {
            return None;
        }
        if !slot.own(me, bits::NO_PROMISE) {
            return None;
        }
        if !mine && slot.flies() {
            slot.clear(bits::OWNER);
            return None;
        }
        let Some(n) = fill(&mut c.room()[..len]) else {
            if !mine {
                slot.clear(bits::OWNER);
            }
            return None;
        };
        if n == 0 {
            if !mine {
                slot.clear(bits::OWNER);
            }
            return Some(0);
        }
        let result = self.record(seg, &mut c, fd, kind, n as i64);
        if c.n == 0 {
            seg.since.store(now, Relaxed);
        }
        let op = Held {
            fd,
            off: 0,
            len: n as u32,
            more,
            result,
        };
        c.push(op, !mine);
        seg.pending.store(c.n as u32, Release);
        let stats = seg.stats;
        stats.add(Counter::Deferred, 1);
        stats.add(Counter::DeferredBytes, n as u64);
        if kind != OpKind::Sendfile {
            stats.add(Counter::Saved, 1);
        }
        if mine {
            stats.add(Counter::Merged, 1);
            if kind != OpKind::Sendfile {
                stats.add(Counter::RuleMerge, 1);
            }
        }
        // The last of a train: waiting longer gains nothing, unless other
        // answers of the round can follow at once.
        let waits = more
            || !seg.lone.get()
            || self.wants_all(seg)
            || slot.state() & bits::CORK_VIRTUAL != 0
            || seg.predictor.keep(kind);
        if mine && !waits {
            self.flush_locked(seg, &mut c, stats, Counter::FlushDone, None);
            return Some(n);
        }
        // Open before the look at the sweeper: that order is what it relies on.
        drop(c);
        self.sweeper.rouse();
        Some(n)
    }

    /// The credit does not cover `len` bytes: asks the kernel, which must have
    /// what is in custody of the stream for that.
    #[cold]
    fn find_credit(
        &self,
        seg: &Segment,
        c: &mut Custody,
        slot: &Slot,
        fd: i32,
        len: usize,
        mine: &mut bool,
    ) -> bool {
        if slot.state() & (bits::NO_PROMISE & !bits::OWNER) != 0 {
            return false;
        }
        if *mine && !self.boundless {
            self.flush_locked(seg, c, seg.stats, Counter::FlushFull, None);
            *mine = false;
        }
        self.boundless || slot.credit.ask(len, fd, self.notsent_lowat.load(Relaxed))
    }

    /// Whether new custody is allowed at all.
    #[inline]
    fn may_promise(&self) -> bool {
        self.unpromising.load(Relaxed) == 0
            && self.residues.has_room()
            && (self.sweeper.ensure(&self.fork_mark, || self.sweeping()) || self.no_sweeper())
    }

    /// Nobody would bound the time: nothing is kept from now on.
    #[cold]
    fn no_sweeper(&self) -> bool {
        if !self.fork_mark.is_parent() {
            return false;
        }
        self.table.note(if crate::sys::sched::is_real_time() {
            Status::RealTime
        } else {
            Status::NoHelper
        });
        self.retire();
        false
    }

    /// Notes an operation of an explicit segment; gives its place.
    #[inline]
    pub(crate) fn record(
        &self,
        seg: &Segment,
        c: &mut crate::custody::Custody,
        fd: i32,
        kind: OpKind,
        result: i64,
    ) -> u32 {
        if !seg.explicit.get() || c.results.try_reserve(1).is_err() {
            return u32::MAX;
        }
        c.results.push(SegmentResult { fd, kind, result });
        c.results.len() as u32 - 1
    }

    #[cold]
    pub(crate) fn record_plain(&self, seg: &Segment, fd: i32, kind: OpKind, result: isize) {
        let r = if result < 0 {
            -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
        } else {
            result as i64
        };
        self.record(seg, &mut seg.custody.lock(), fd, kind, r);
    }
}
