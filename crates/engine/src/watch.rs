//! Policy `watch`: counts what policy coalesce would do and changes nothing.
//! Every call goes straight through; the counters of operations and rules
//! mean "would be", those of calls and kernel entries made "were", and saved
//! "would be saved". A flush for a wait stands for a round of events with
//! something sent in it: what a backend that batches would enter the kernel
//! for.
//!
//! It asks the same predictor and the same rules as the real policies; only
//! custody is a mark here instead of bytes.

use crate::bytes::{Bytes, Look, WriteCall};
use crate::engine::{Engine, Verdict};
use crate::operation::OpKind;
use crate::rules::{Rule, file_head, merge, small_file};
use crate::segment::Segment;
use crate::settings::Policy;
use esca_abi::stats::Counter;
use std::cell::Cell;

/// What a thread would have in custody.
pub(crate) struct Watcher {
    /// What was sent last would still be held.
    held: Cell<bool>,
    /// The stream whose cork would be a mark.
    corked: Cell<i32>,
    /// Something was sent since the last wait.
    sent: Cell<bool>,
}

impl Watcher {
    pub const fn new() -> Self {
        Watcher {
            held: Cell::new(false),
            corked: Cell::new(-1),
            sent: Cell::new(false),
        }
    }
}

impl Engine {
    /// Whether calls are counted instead of rewritten.
    #[inline]
    pub(crate) fn watching(&self, seg: &Segment) -> bool {
        self.policy == Policy::Watch && !seg.explicit.get()
    }

    /// A wait begins.
    #[cold]
    pub(crate) fn watch_wait(&self, seg: &Segment) {
        if seg.watcher.sent.replace(false) {
            seg.stats.add(Counter::FlushWait, 1);
        }
    }

    /// A write to a stream that could be deferred.
    #[cold]
    pub(crate) fn watch_write(&self, seg: &Segment, call: &WriteCall) -> Verdict {
        let corked = seg.watcher.corked.get() == call.fd;
        let more = call.flags & libc::MSG_MORE != 0 || corked;
        let mine = self.would_follow(seg, call.fd) && self.rule(Rule::Merge);
        let keep = mine || more || seg.predictor.keep(call.kind);
        // Bytes are looked at as the kernel would: nothing may change.
        let len = match call.bytes {
            Bytes::One(_, n) => n,
            bytes if keep => match bytes.look() {
                Look::Bytes(n) => n,
                Look::Refused => return made(seg),
            },
            _ => 0,
        };
        let small = len <= merge::WRITE_LIMIT;
        seg.predictor.sent(call.fd, call.kind);
        if mine {
            seg.stats.add(Counter::Merged, 1);
            seg.stats.add(Counter::RuleMerge, 1);
            seg.stats.add(Counter::Saved, 1);
        }
        if keep && small {
            seg.stats.add(Counter::Deferred, 1);
            seg.stats.add(Counter::DeferredBytes, len as u64);
            // The last of a train leaves with it.
            let waits = more || seg.predictor.keep(call.kind);
            seg.watcher.held.set(!mine || waits);
        } else {
            seg.stats.add(Counter::Direct, 1);
            seg.watcher.held.set(false);
        }
        made(seg)
    }

    /// A sendfile of `count` bytes to a stream that could be deferred.
    #[cold]
    pub(crate) fn watch_sendfile(&self, seg: &Segment, fd: i32, count: usize) -> Verdict {
        let mine = self.would_follow(seg, fd);
        seg.predictor.sent(fd, OpKind::Sendfile);
        let small = count <= small_file::LIMIT && count > 0;
        if mine && small && self.rule(Rule::SmallFile) {
            seg.stats.add(Counter::Deferred, 1);
            seg.stats.add(Counter::Merged, 1);
            seg.stats.add(Counter::RuleSmallFile, 1);
            let corked = seg.watcher.corked.get() == fd;
            let waits = corked || seg.predictor.keep(OpKind::Sendfile);
            seg.watcher.held.set(waits);
        } else {
            if mine && self.rule(Rule::FileHead) {
                seg.stats.add(file_head::ABOUT.counter, 1);
            }
            seg.stats.add(Counter::Direct, 1);
            seg.watcher.held.set(false);
        }
        made(seg)
    }

    /// A cork (`on`) or uncork that would be a mark; whether it would.
    #[cold]
    pub(crate) fn watch_cork(&self, seg: &Segment, fd: i32, on: bool, may_mark: bool) -> bool {
        let corked = &seg.watcher.corked;
        if on && may_mark {
            corked.set(fd);
            return true;
        }
        if !on && corked.get() == fd {
            corked.set(-1);
            return true;
        }
        false
    }

    /// Whether a send on `fd` would find bytes of the same stream held.
    fn would_follow(&self, seg: &Segment, fd: i32) -> bool {
        seg.watcher.sent.set(true);
        seg.watcher.held.get() && seg.predictor.continues(fd)
    }
}

fn made(seg: &Segment) -> Verdict {
    seg.stats.add(Counter::Made, 1);
    Verdict::Pass
}
