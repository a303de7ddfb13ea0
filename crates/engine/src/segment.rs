//! A segment: what one thread does from one wait's return to the next, and
//! the custody it builds up meanwhile.

use crate::custody::Custody;
use crate::lock::Lock;
use crate::predict::Predictor;
use crate::sync::{AtomicBool, AtomicI32, AtomicU32};
use crate::watch::Watcher;
use esca_abi::stats;
use std::cell::Cell;

/// What the wait before this segment was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// No wait yet.
    None,
    /// epoll_wait and its variants.
    Epoll,
    /// poll, select and their variants: always level-triggered.
    Level,
}

/// One thread's segment. Other threads reach only the parts behind the lock
/// and the atomics; the cells belong to the thread.
pub struct Segment {
    pub(crate) id: u16,
    /// In use by a live thread.
    pub(crate) taken: AtomicBool,
    pub(crate) custody: Lock<Custody>,
    /// Operations in custody; written under the lock.
    pub(crate) pending: AtomicU32,
    /// The sweeper's tick when the first of them came.
    pub(crate) since: AtomicU32,
    /// The stream whose bytes went with `MSG_MORE` before a sendfile that is
    /// under way; -1 for none.
    pub(crate) held: AtomicI32,
    pub(crate) stats: &'static stats::Slot,
    /// Counts waits: the segment's number.
    pub(crate) serial: Cell<u32>,
    /// Names the segment where a short read is worth remembering; else 0.
    pub(crate) mark: Cell<u64>,
    /// A write by which nothing is known to be followed goes straight through.
    pub(crate) passes: Cell<bool>,
    pub(crate) wait: Cell<WaitKind>,
    /// Streams that may be pending at once in policy batch.
    pub(crate) round: Cell<u32>,
    /// The last wait reported at most one descriptor.
    pub(crate) lone: Cell<bool>,
    /// The stream of the operations in custody in policy coalesce.
    pub(crate) current: Cell<i32>,
    /// The stream on which the thread makes a plain call that sends
    /// (`Slot::take_off`); -1 for none.
    pub(crate) flight: Cell<i32>,
    pub(crate) predictor: Predictor,
    /// What would be in custody (policy watch).
    pub(crate) watcher: Watcher,
    /// Inside batch_start/batch_flush.
    pub(crate) explicit: Cell<bool>,
}

// SAFETY: the cells are touched by the owning thread only; the rest is atomic
// or behind the lock.
unsafe impl Sync for Segment {}
// SAFETY: a segment is handed to another thread only after its first thread
// gave it back (taken, release/acquire).
unsafe impl Send for Segment {}

impl Segment {
    pub(crate) fn new(id: u16, stats: &'static stats::Slot) -> rustix::io::Result<Self> {
        Ok(Segment {
            id,
            taken: AtomicBool::new(true),
            custody: Lock::new(Custody::new()?),
            pending: AtomicU32::new(0),
            since: AtomicU32::new(0),
            held: AtomicI32::new(-1),
            stats,
            serial: Cell::new(1),
            mark: Cell::new(0),
            passes: Cell::new(false),
            wait: Cell::new(WaitKind::None),
            round: Cell::new(4),
            lone: Cell::new(true),
            current: Cell::new(-1),
            flight: Cell::new(-1),
            predictor: Predictor::new(),
            watcher: Watcher::new(),
            explicit: Cell::new(false),
        })
    }

    /// The thread's counters.
    #[inline]
    #[must_use]
    pub fn stats(&self) -> &stats::Slot {
        self.stats
    }
}
