//! Whether a small write is worth keeping: does something usually follow on
//! the same stream before the segment ends?
//!
//! A server that answers with one write has nothing to merge, and copying its
//! bytes would be a pure loss (contract 8). The last operation of a train
//! (nginx's `sendfile` after its `writev`) is found the same way, so that the
//! train leaves with it and not at the end of the segment.
//!
//! The predictor learns from what
//! the program does, whether or not the write was kept, so it needs no
//! probing; the forerunner dBatch stopped batching by a similar automaton.

use crate::operation::OpKind;
use std::cell::Cell;

/// At least this to keep a write: about one merge in thirty writes.
const KEEP: u8 = 32;
/// What one merge adds.
const GAIN: u8 = 32;

/// Per-thread memory of what followed each kind of call.
pub(crate) struct Predictor {
    /// By kind; [`OpKind`] has fewer than eight.
    score: [Cell<u8>; 8],
    last: Cell<i32>,
    kind: Cell<u8>,
}

impl Predictor {
    pub const fn new() -> Self {
        Predictor {
            score: [const { Cell::new(0) }; 8],
            last: Cell::new(-1),
            kind: Cell::new(0),
        }
    }

    /// Notes that the program sent on `fd` by a call of `kind`.
    #[inline]
    pub fn sent(&self, fd: i32, kind: OpKind) {
        let last = self.last.replace(fd);
        let k = self.kind.replace(kind as u8);
        self.learn(last, k, last == fd);
    }

    /// Notes that what was sent last cannot be merged with anything more.
    #[inline]
    pub fn ended(&self) {
        let last = self.last.replace(-1);
        self.learn(last, self.kind.get(), false);
    }

    /// Whether a send on `fd` would directly follow another on it.
    #[inline]
    pub fn continues(&self, fd: i32) -> bool {
        self.last.get() == fd
    }

    #[inline]
    fn learn(&self, last: i32, kind: u8, merged: bool) {
        if last < 0 {
            return;
        }
        let cell = &self.score[usize::from(kind & 7)];
        let s = cell.get();
        cell.set(if merged {
            s.saturating_add(GAIN)
        } else {
            s.saturating_sub(1)
        });
    }

    /// Whether a call of `kind` is worth keeping.
    #[inline]
    pub fn keep(&self, kind: OpKind) -> bool {
        self.score[kind as usize & 7].get() >= KEEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_both_ways() {
        let p = Predictor::new();
        assert!(!p.keep(OpKind::Writev));
        p.sent(5, OpKind::Writev);
        p.sent(5, OpKind::Sendfile);
        assert!(p.keep(OpKind::Writev) && !p.keep(OpKind::Write));
        p.ended();
        for _ in 0..64 {
            p.sent(5, OpKind::Writev);
            p.sent(6, OpKind::Writev);
            p.ended();
        }
        assert!(!p.keep(OpKind::Writev));
    }
}
