//! The flush: custody becomes sends, one for each stream, in the order of
//! their first operations.

use crate::backend::{F_MORE, Op, OpCode};
use crate::custody::{Custody, Scratch};
use crate::engine::{Cause, Engine};
use crate::flusher::Flusher;
use crate::segment::Segment;
use crate::settings::Policy;
use crate::slot::{Slot, bits, owner_of};
use esca_abi::stats::{self, Counter};
use libc::iovec;
use std::sync::atomic::Ordering::*;

/// Streams that one flush hands to the backend at a time.
pub(crate) const TABLE: usize = 64;

impl Engine {
    /// Hands all custody of `seg` to the kernel. `stats` is the caller's.
    #[inline]
    pub fn flush(&self, seg: &Segment, stats: &stats::Slot, cause: Cause) {
        if seg.pending.load(Acquire) != 0 {
            let mut c = seg.custody.lock();
            self.flush_locked(seg, &mut c, stats, cause, None);
        }
    }

    /// Hands all of `c` over; what follows at once on stream `more` joins its
    /// last segment.
    #[inline]
    pub(crate) fn flush_locked(
        &self,
        seg: &Segment,
        c: &mut Custody,
        stats: &stats::Slot,
        cause: Cause,
        more: Option<i32>,
    ) {
        self.flush_by(seg, c, &Flusher::thread(stats), cause, more);
    }

    /// The same for the sweeper, too.
    pub(crate) fn flush_by(
        &self,
        seg: &Segment,
        c: &mut Custody,
        by: &Flusher,
        cause: Cause,
        more: Option<i32>,
    ) {
        if c.n == 0 {
            return;
        }
        by.stats.add(cause, 1);
        by.stats.max(Counter::PeakBytes, c.used as u64);
        if !c.mixed && (c.streams == 1 || !self.backend.gathers()) {
            self.flush_each(c, by, more);
        } else {
            self.flush_table(c, by, more, |_| true);
        }
        c.clear();
        seg.pending.store(0, Release);
    }

    /// Hands over all of `c`, of which nothing is mixed, stream by stream.
    fn flush_each(&self, c: &mut Custody, by: &Flusher, more: Option<i32>) {
        let mut start = 0;
        while start < c.n {
            let (last, bytes) = c.run(start);
            let all = [piece(bytes)];
            let end = c.ops()[last];
            let mut op = self.send_op(end.fd, &all, end.more, more);
            // SAFETY: the bytes stand in the arena, locked.
            unsafe { self.hand_over(std::slice::from_mut(&mut op), by) };
            self.settle_outcome(c, &op, &all, by);
            start = last + 1;
        }
    }

    /// Hands over the custody of the streams that `pick` names, as a table
    /// with one send for each, in the order of their first operations.
    fn flush_table(
        &self,
        c: &mut Custody,
        by: &Flusher,
        more: Option<i32>,
        pick: impl Fn(i32) -> bool,
    ) {
        // Its arrays are too large for a signal handler's stack.
        let Some(mut scratch) = c.take_scratch() else {
            return self.flush_singly(c, by, more, pick);
        };
        let Scratch {
            iov,
            table,
            ends,
            done,
        } = &mut *scratch;
        done[..c.n].fill(false);
        let mut start = 0;
        while start < c.n {
            let (mut v, mut t) = (0, 0);
            while start < c.n && t < TABLE {
                let fd = c.ops()[start].fd;
                if done[start] || !pick(fd) {
                    start += 1;
                    continue;
                }
                let first = v;
                let mut last = start;
                for (i, op) in c.ops().iter().enumerate().skip(start) {
                    if op.fd != fd {
                        if c.mixed {
                            continue;
                        }
                        break;
                    }
                    let next = piece(c.bytes(op));
                    match iov[first..v].last_mut() {
                        // Neighbours in the arena are one piece.
                        Some(p) if p.iov_base.addr() + p.iov_len == next.iov_base.addr() => {
                            p.iov_len += next.iov_len;
                        }
                        _ => {
                            iov[v] = next;
                            v += 1;
                        }
                    }
                    done[i] = true;
                    last = i;
                }
                table[t] = self.send_op(fd, &iov[first..v], c.ops()[last].more, more);
                ends[t] = v;
                t += 1;
                start += 1;
            }
            // SAFETY: the pieces are in the arena, which is locked, and the
            // iovecs in the scratch.
            unsafe { self.hand_over(&mut table[..t], by) };
            let mut from = 0;
            for (op, &end) in table[..t].iter().zip(&*ends) {
                self.settle_outcome(c, op, &iov[from..end], by);
                from = end;
            }
        }
        c.put_scratch(scratch);
    }

    /// As [`Engine::flush_table`], an operation at a time: where a fork took
    /// the scratch away and there is no memory for another.
    #[cold]
    fn flush_singly(
        &self,
        c: &mut Custody,
        by: &Flusher,
        more: Option<i32>,
        pick: impl Fn(i32) -> bool,
    ) {
        for i in 0..c.n {
            let held = c.ops()[i];
            if pick(held.fd) {
                let all = [piece(c.bytes(&held))];
                let mut op = self.send_op(held.fd, &all, held.more, more);
                // SAFETY: the bytes are in the arena, which is locked.
                unsafe { self.hand_over(std::slice::from_mut(&mut op), by) };
                self.settle_outcome(c, &op, &all, by);
            }
        }
    }

    /// The operation that sends `pieces` (valid while it runs): a plain send,
    /// which is cheaper, where there is only one. `last_more` says that the
    /// program passed `MSG_MORE` with the last of them.
    fn send_op(&self, fd: i32, pieces: &[iovec], last_more: bool, more: Option<i32>) -> Op {
        let corked = || {
            self.slots
                .get(fd)
                .is_some_and(|s| s.state() & bits::CORK_VIRTUAL != 0)
        };
        let (opcode, ptr, len) = match pieces {
            [one] => (OpCode::Send, one.iov_base.addr(), one.iov_len),
            many => (OpCode::SendMsg, many.as_ptr().addr(), many.len()),
        };
        Op {
            opcode: opcode as u32,
            flags: if last_more || more == Some(fd) || corked() {
                F_MORE
            } else {
                0
            },
            fd,
            ptr: ptr as u64,
            len: len as u64,
            ..Op::nop()
        }
    }

    /// Hands over the custody of one stream of `seg`: in policy batch alone,
    /// else together with what the program sent before on other streams. With
    /// `more`, what follows at once joins its last segment.
    pub(crate) fn flush_stream(
        &self,
        seg: &Segment,
        fd: i32,
        stats: &stats::Slot,
        cause: Cause,
        more: bool,
    ) {
        let mut c = seg.custody.lock();
        let mine = c.ops().iter().filter(|o| o.fd == fd).count();
        if mine == 0 {
            return;
        }
        let more = Some(fd).filter(|_| more);
        if mine == c.n || self.policy != Policy::Batch {
            self.flush_locked(seg, &mut c, stats, cause, more);
            return;
        }
        self.flush_some(seg, &mut c, stats, cause, more, |f| f == fd);
    }

    /// What is in custody of `fd` is not to be held back.
    #[inline]
    pub(crate) fn forget_more(&self, slot: &Slot, fd: i32) {
        if let Some(seg) = owner_of(slot.state()).and_then(|id| self.segment(id)) {
            seg.custody.lock().forget_more(fd);
        }
    }

    /// Hands over what is in custody of `fd` and has the kernel hold none of it
    /// back, whatever the program said with it or before it.
    #[cold]
    pub(crate) fn push_custody(&self, slot: &Slot, fd: i32, stats: &stats::Slot) {
        let state = slot.state();
        let Some(seg) = owner_of(state).and_then(|id| self.segment(id)) else {
            return;
        };
        let mut c = seg.custody.lock();
        c.forget_more(fd);
        slot.clear(bits::CORK_VIRTUAL);
        self.flush_locked(seg, &mut c, stats, Counter::FlushCall, None);
        slot.set(state & bits::CORK_VIRTUAL);
    }

    /// Hands over everything of `seg` but the custody of `fd`.
    pub(crate) fn flush_others(&self, seg: &Segment, c: &mut Custody, fd: i32) {
        self.flush_some(seg, c, seg.stats, Counter::FlushStream, None, |f| f != fd);
    }

    /// Hands over the custody of the streams that `pick` names; the others'
    /// stays.
    fn flush_some(
        &self,
        seg: &Segment,
        c: &mut Custody,
        stats: &stats::Slot,
        cause: Cause,
        more: Option<i32>,
        pick: impl Fn(i32) -> bool,
    ) {
        stats.add(cause, 1);
        self.flush_table(c, &Flusher::thread(stats), more, &pick);
        c.retain(|f| !pick(f));
        seg.pending.store(c.n as u32, Release);
    }

    /// Makes sure that nothing of `fd` is in custody anywhere.
    #[inline]
    pub(crate) fn settle(&self, slot: &Slot, fd: i32, stats: &stats::Slot, cause: Cause) {
        if let Some(id) = owner_of(slot.state()) {
            self.settle_owner(id, fd, stats, cause);
        }
    }

    #[cold]
    fn settle_owner(&self, id: u16, fd: i32, stats: &stats::Slot, cause: Cause) {
        if let Some(seg) = self.segment(id) {
            self.flush_stream(seg, fd, stats, cause, false);
        }
    }

    /// A thread without a segment is about to use `fd`: custody of other
    /// threads goes first.
    pub fn settle_for_stranger(&self, fd: i32) {
        if let Some(slot) = self.slots.get(fd) {
            self.settle(
                slot,
                fd,
                &self.table.slots[stats::SLOTS - 1],
                Counter::FlushCall,
            );
        }
    }

    /// The process ends inside a signal handler that interrupted the library:
    /// what can be handed over is.
    pub fn last_chance(&self) {
        self.retire();
        let stats = &self.table.slots[stats::SLOTS - 1];
        for seg in self.segments() {
            if let Some(mut c) = seg.custody.try_lock() {
                self.flush_locked(seg, &mut c, stats, Counter::FlushLife, None);
            }
        }
    }
}

/// An iovec for `bytes`; only read through, despite the type.
pub(crate) const fn piece(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}
