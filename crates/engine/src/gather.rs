//! A write too large to copy, behind bytes in custody: one sendmsg for both.

use crate::backend::{F_MORE, Op, OpCode};
use crate::bytes::{Asks, Pieces, WriteCall};
use crate::engine::{Engine, Verdict};
use crate::errno::speaks_not_of_the_socket;
use crate::flush::piece;
use crate::flusher::Flusher;
use crate::rules::Rule;
use crate::segment::Segment;
use crate::slot::{Slot, bits};
use esca_abi::stats::Counter;
use libc::{EAGAIN, MSG_MORE};
use std::sync::atomic::Ordering::*;

impl Engine {
    /// A write too large to copy, behind bytes in custody: one sendmsg with
    /// both, and the kernel's own answer for the program's part. The program's
    /// bytes are read by the kernel alone.
    #[cold]
    pub(crate) fn gather(
        &self,
        seg: &Segment,
        slot: &Slot,
        call: &WriteCall,
        pieces: &mut Pieces,
    ) -> Verdict {
        let mut c = seg.custody.lock();
        if c.streams > 1 && !self.batching(seg) {
            self.flush_others(seg, &mut c, call.fd);
        }
        let ours = if c.streams == 1 { c.one_piece() } else { None };
        let (Some(ours), true) = (
            ours.map(piece),
            self.rule(Rule::Merge) && !seg.explicit.get(),
        ) else {
            drop(c);
            return self.settled(seg, slot, call.fd, call.flags);
        };
        let held = ours.iov_len;
        let by = Flusher::thread(seg.stats);
        let all = pieces.behind(ours);
        let mut op = Op {
            opcode: OpCode::SendMsg as u32,
            flags: if call.flags & MSG_MORE != 0 {
                F_MORE
            } else {
                0
            },
            fd: call.fd,
            ptr: all.as_ptr() as u64,
            len: all.len() as u64,
            ..Op::nop()
        };
        // SAFETY: the first piece stands in locked custody, the others are
        // the program's (promised by the caller of write).
        unsafe { self.hand_over(std::slice::from_mut(&mut op), &by) };
        // The entry is that of the program's own call.
        seg.stats.add(Counter::Saved, 1);
        if op.result < 0 && speaks_not_of_the_socket(-op.result as i32) {
            // The program's buffers (EFAULT): custody goes without them.
            self.flush_locked(seg, &mut c, seg.stats, Counter::FlushCall, None);
            drop(c);
            return self.settled(seg, slot, call.fd, call.flags);
        }
        let sent = usize::try_from(op.result).unwrap_or(0);
        slot.credit.spend(sent.saturating_sub(held));
        seg.stats.add(Counter::Direct, 1);
        if sent >= held {
            seg.stats.add(Counter::Merged, 1);
            seg.stats.add(Counter::RuleMerge, 1);
        }
        seg.stats.add(Counter::FlushCall, 1);
        self.settle_outcome(&mut c, &op, &[ours], &by);
        c.clear();
        seg.pending.store(0, Release);
        drop(c);
        match slot.state() {
            s if s & bits::ERROR != 0 => {
                self.troubled(seg, slot, call.fd, s, call.flags, Asks::Bytes)
            }
            _ if sent > held => Verdict::Ret((sent - held) as isize),
            s if sent == held || s & bits::RESIDUE != 0 => Verdict::Err(EAGAIN),
            _ => self.settled(seg, slot, call.fd, call.flags),
        }
    }
}
