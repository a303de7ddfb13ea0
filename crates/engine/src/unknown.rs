//! Calls that the library does not know, and what of it stays valid.

use crate::engine::Engine;
use crate::segment::Segment;
use crate::slot::bits;
use esca_abi::stats::{self, Counter};
use std::sync::atomic::Ordering::*;

/// What a look at a descriptor does not find out again, and that must outlast
/// an unknown call: bytes that are left over, an error that is to be told, the
/// end that waits behind them, and custody that another thread began since.
const LASTING: u64 = bits::OWNER
    | bits::RESIDUE
    | bits::ERROR
    | bits::SHUT
    | bits::CLOSING
    | bits::CORK_REAL
    | bits::SHARED
    | bits::INHERITED
    | bits::EPOLL_SET;

impl Engine {
    /// Whether this thread has anything in custody.
    #[inline]
    #[must_use]
    pub fn has_custody(&self, seg: &Segment) -> bool {
        seg.pending.load(Acquire) != 0
    }

    /// Before a call that nothing is known of: every thread's custody goes to
    /// the kernel, and so does what it did not take. Tell
    /// [`Engine::after_unknown`].
    #[cold]
    pub fn before_unknown(&self, seg: &Segment) {
        self.before_unknown_call(seg);
        self.flush_everything(seg.stats, Counter::FlushEffect);
        self.wait_for_residues(|_| true);
    }

    /// After such a call: any number may mean anything, and others may have
    /// any stream. Nothing that was learned holds until it is learned again:
    /// descriptors are looked at anew, and no stream promises that another
    /// may have.
    #[cold]
    pub fn after_unknown(&self, seg: &Segment) {
        self.gives_streams_away();
        for fd in 0..=self.top.load(Acquire) {
            let Some(slot) = self.slots.get(fd) else {
                break;
            };
            slot.drained.store(0, Relaxed);
            slot.hint(0);
            match slot.state() & bits::KIND {
                // Straight through for good: it stays so.
                bits::PASS => {}
                // What it promises depends on who else has it: nothing, now.
                bits::STREAM | bits::TCP => {
                    self.escape(slot, fd);
                    slot.change(!LASTING, bits::INHERITED);
                    slot.made.store(0, Relaxed);
                }
                _ => slot.change(!LASTING, 0),
            }
        }
        self.renew(seg);
        self.renew_passes(seg);
    }

    /// No promises any more in this process: what could reach descriptors past
    /// the library has been loaded, and cannot be led back.
    #[cold]
    pub fn retire_whole(&self, stats: &stats::Slot) {
        self.retire();
        self.flush_everything(stats, Counter::FlushLife);
        self.wait_for_residues(|_| true);
    }
}
