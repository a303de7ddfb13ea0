//! The calls that receive: read, readv, recv, recvfrom, recvmsg.

use crate::bytes;
use crate::engine::{Engine, Verdict};
use crate::rules::drained;
use crate::segment::Segment;
use crate::slot::{Slot, bits};
use esca_abi::stats::Counter;
use libc::EAGAIN;
use std::sync::atomic::Ordering::*;

impl Engine {
    /// What is to be done with a read of up to `want` bytes (0 where a short
    /// count means nothing). After `Pass`, make the call and tell
    /// [`Engine::after_read`].
    #[inline]
    pub fn before_read(&self, seg: &Segment, fd: i32, want: usize, flags: i32) -> Verdict {
        seg.stats.add(Counter::CallRead, 1);
        let state = match self.slots.get(fd) {
            Some(slot) => {
                let last = slot.drained.load(Relaxed);
                if last != 0 {
                    slot.drained.store(0, Relaxed);
                    if last == seg.mark.get() && self.is_drained(seg, slot, want, flags) {
                        return Verdict::Err(EAGAIN);
                    }
                }
                slot.state()
            }
            None => 0,
        };
        // A read that may block waits for somebody who may wait for us.
        if state & bits::NONBLOCK == 0 && state & bits::KIND != bits::FILE {
            self.effect(seg);
        }
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
    }

    /// The program asks how much there is to read on `fd`: what it is told
    /// must be what the next read finds.
    #[inline]
    pub fn looks_at_input(&self, fd: i32) {
        if let Some(slot) = self.slots.get(fd) {
            slot.drained.store(0, Relaxed);
        }
    }

    /// A read after one that came back short in this segment; whether it is
    /// answered without the kernel.
    fn is_drained(&self, seg: &Segment, slot: &Slot, want: usize, flags: i32) -> bool {
        if flags & !drained::PLAIN_FLAGS != 0
            || !self.nothing_new(seg)
            || self.ports.has_both_ends()
            || !bytes::is_some(want)
            || slot.state() & (bits::ERROR | bits::NONBLOCK) != bits::NONBLOCK
        {
            return false;
        }
        seg.stats.add(Counter::Elided, 1);
        seg.stats.add(Counter::RuleDrained, 1);
        seg.stats.add(Counter::Saved, 1);
        !self.watching(seg)
    }

    /// After a plain read of up to `want` bytes (0 where a short count means
    /// nothing) gave `result`, more than none. Takes no lock and leaves errno
    /// alone.
    #[inline]
    pub fn after_good_read(&self, seg: &Segment, fd: i32, want: usize, flags: i32, result: usize) {
        self.news(seg);
        let Some(slot) = self.slots.get(fd) else {
            return;
        };
        let state = slot.state();
        if state & bits::KIND == bits::TCP {
            slot.set_kind(bits::STREAM);
        } else if state & bits::KIND != bits::STREAM {
            return;
        }
        slot.asked();
        if result < want && flags & !drained::PLAIN_FLAGS == 0 {
            if drained::is_level(state) {
                slot.drained.store(seg.mark.get(), Relaxed);
            } else {
                self.short_read(seg, slot, state);
            }
        }
    }

    /// A short read of a stream that is not simply level-triggered.
    fn short_read(&self, seg: &Segment, slot: &Slot, state: u64) {
        if drained::reported_later(state, seg.wait.get()) {
            slot.drained.store(seg.mark.get(), Relaxed);
        } else if state & bits::EPOLL_EDGE != 0 && !self.watch_hangups.load(Relaxed) {
            slot.hint(seg.mark.get());
        }
    }

    /// After a plain read of up to `want` bytes (0 where a short count means
    /// nothing) gave `result` and `errno`. `Some` replaces the answer.
    #[inline]
    pub fn after_read(
        &self,
        seg: &Segment,
        fd: i32,
        want: usize,
        flags: i32,
        result: isize,
        errno: i32,
    ) -> Option<i32> {
        if result > 0 {
            self.after_good_read(seg, fd, want, flags, result as usize);
            return None;
        }
        if result == 0 || errno != EAGAIN {
            self.news(seg);
        }
        let slot = self.slots.get(fd)?;
        let state = slot.state();
        if state & bits::KIND != bits::STREAM {
            return None;
        }
        if state & bits::ERROR != 0 {
            let e = self.take_error(slot);
            return Some(e).filter(|e| *e != 0);
        } else if errno == EAGAIN
            && state & bits::EPOLL_EDGE != 0
            && seg.mark.get() != 0
            && slot.hinted(seg.mark.get())
        {
            // This program reads edge-triggered streams until EAGAIN: watch
            // their hang-ups from now on, so that the read can be saved.
            self.watch_hangups.store(true, Release);
        }
        None
    }
}
