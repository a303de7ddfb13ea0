//! Calls on a stream that is not as the program thinks: bytes of it are left
//! over, it has an error to report, or it is shut behind those bytes.

use crate::bytes::Asks;
use crate::engine::{Engine, Verdict};
use crate::residue::Standing;
use crate::segment::Segment;
use crate::slot::{Slot, bits};
use esca_abi::stats::Counter;
use libc::{EAGAIN, EPIPE, MSG_DONTWAIT, MSG_NOSIGNAL};
use std::sync::atomic::Ordering::*;

impl Engine {
    /// A write or sendfile on a stream with a residue, an error to report, or
    /// a shutdown behind it.
    #[cold]
    pub(crate) fn troubled(
        &self,
        seg: &Segment,
        slot: &Slot,
        fd: i32,
        state: u64,
        flags: i32,
        asks: Asks,
    ) -> Verdict {
        if self.is_shut(slot, state) {
            if asks == Asks::Elsewhere {
                seg.stats.add(Counter::Made, 1);
                return Verdict::Shut;
            }
            if flags & MSG_NOSIGNAL == 0 {
                // As the kernel: to the thread that writes.
                // SAFETY: raise takes a number.
                unsafe { libc::raise(libc::SIGPIPE) };
            }
            return Verdict::Err(EPIPE);
        }
        if state & bits::RESIDUE != 0 {
            let id = slot.residue.load(Relaxed);
            // Asked of the kernel: a duplicate may have been made blocking.
            let blocking = flags & MSG_DONTWAIT == 0 && blocks(fd);
            // For this number, which may be a duplicate of the residue's.
            let over = |_, end: &Standing| self.residue_over(fd, id, end);
            let side = self.side();
            let standing = if blocking {
                self.residues.drain_blocking(side, id, over)
            } else {
                Ok(self.residues.drain(side, id, over))
            };
            match standing {
                Ok(Standing::Left) => return Verdict::Err(EAGAIN),
                Err(e) => return Verdict::Err(e),
                // The sweeper shall let the socket go.
                Ok(_) => self.sweeper.kick(),
            }
        }
        match self.take_error(slot) {
            // The kernel says EPIPE again, with its signal.
            0 | EPIPE => {}
            e => return Verdict::Err(e),
        }
        self.settled(seg, slot, fd, flags)
    }

    /// Whether the stream is shut behind bytes that are left over, through
    /// this descriptor, a duplicate, or in a forked process.
    #[cold]
    fn is_shut(&self, slot: &Slot, state: u64) -> bool {
        let behind = || {
            let shut = self.residues.is_shut(slot.residue.load(Relaxed));
            if shut {
                // It is for good, whatever becomes of the residue.
                slot.set(bits::SHUT);
            }
            shut
        };
        state & bits::SHUT != 0 || state & bits::RESIDUE != 0 && behind()
    }

    /// Whether a call on a stream of `state`, with a residue or shut behind
    /// one, waits for nothing there: the kernel answers it now as it would
    /// behind those bytes.
    #[cold]
    pub(crate) fn waits_for_nothing(&self, asks: Asks, slot: &Slot, state: u64) -> bool {
        match asks {
            Asks::Bytes | Asks::Elsewhere => false,
            Asks::Empty => !self.is_shut(slot, state),
            Asks::Nothing => true,
        }
    }

    /// Takes a stream's error, if it has one to report.
    pub(crate) fn take_error(&self, slot: &Slot) -> i32 {
        if slot.state() & bits::ERROR == 0 {
            return 0;
        }
        slot.clear(bits::ERROR);
        slot.error.swap(0, Relaxed)
    }
}

/// Whether calls on `fd` wait.
fn blocks(fd: i32) -> bool {
    rustix::fs::fcntl_getfl(crate::numbers::borrow(fd))
        .is_ok_and(|flags| !flags.contains(rustix::fs::OFlags::NONBLOCK))
}
