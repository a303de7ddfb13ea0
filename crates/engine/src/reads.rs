//! The calls that receive: read, readv, recv, recvfrom, recvmsg.

use crate::engine::{Engine, Verdict};
use crate::rules::{Rule, drained};
use crate::segment::Segment;
use crate::slot::bits;
use esca_abi::stats::Counter;
use libc::EAGAIN;
use std::sync::atomic::Ordering::*;

impl Engine {
    /// What is to be done with a read. After `Pass`, make the call and tell
    /// [`Engine::after_read`].
    #[inline]
    pub fn before_read(&self, seg: &Segment, fd: i32, flags: i32) -> Verdict {
        seg.stats.add(Counter::CallRead, 1);
        let state = match self.slots.get(fd) {
            Some(slot) => {
                let last = slot.drained.load(Relaxed);
                if last != 0 {
                    slot.drained.store(0, Relaxed);
                    if last == drained::mark(seg)
                        && flags & !drained::PLAIN_FLAGS == 0
                        && slot.state() & (bits::ERROR | bits::NONBLOCK) == bits::NONBLOCK
                    {
                        seg.stats.add(Counter::Elided, 1);
                        seg.stats.add(Counter::RuleDrained, 1);
                        seg.stats.add(Counter::Saved, 1);
                        if !self.watching(seg) {
                            return Verdict::Err(EAGAIN);
                        }
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
        let slot = self.slots.get(fd)?;
        let state = slot.state();
        match state & bits::KIND {
            bits::TCP if result > 0 => slot.set_kind(bits::STREAM),
            bits::STREAM => {}
            _ => return None,
        }
        if result > 0 {
            slot.asked();
            if (result as usize) < want
                && flags & !drained::PLAIN_FLAGS == 0
                && self.rule(Rule::Drained)
                && (self.promises(seg) || self.watching(seg))
            {
                if drained::reported_later(state, seg.wait.get()) {
                    slot.drained.store(drained::mark(seg), Relaxed);
                } else if state & bits::EPOLL_EDGE != 0 && !self.watch_hangups.load(Relaxed) {
                    slot.hint(drained::mark(seg));
                }
            }
        } else if state & bits::ERROR != 0 {
            let e = self.take_error(slot);
            return Some(e).filter(|e| *e != 0);
        } else if errno == EAGAIN
            && state & bits::EPOLL_EDGE != 0
            && slot.hinted(drained::mark(seg))
        {
            // This program reads edge-triggered streams until EAGAIN: watch
            // their hang-ups from now on, so that the read can be saved.
            self.watch_hangups.store(true, Release);
        }
        None
    }
}
