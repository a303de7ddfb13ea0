//! What processes tell each other of residues: a table that a forked child
//! shares. The bytes are private to the process that sends them; a child asks
//! here whether its parent is done.
//!
//! Everything is an atomic in a slot of its own, so a fork at any moment finds
//! it whole.

use crate::sys::Mapping;
use crate::sys::memory::Zeroed;
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};

/// Residues of a process and its children at a time; beyond, flushes wait.
const ENTRIES: usize = 4096;
const INDEX: u32 = ENTRIES as u32 - 1;
/// `shutdown` where none waits.
const NONE: i32 = 0;

/// One residue, as other processes see it. Zeroes are a free one.
#[repr(C)]
pub(super) struct Entry {
    /// The residue's number; 0 while the entry is free.
    id: AtomicU32,
    /// The process that sends.
    owner: AtomicI32,
    /// One more than the `how` of a shutdown that waits for the bytes.
    shutdown: AtomicI32,
    /// A child may wait for the end.
    watched: AtomicBool,
}

/// All entries, and what numbers were given out.
#[repr(C)]
struct Table {
    given: AtomicU32,
    entries: [Entry; ENTRIES],
}

// SAFETY: zeroes are free entries; all of it is atomic.
unsafe impl Zeroed for Table {}

pub(super) struct Progress(Mapping<Table>);

impl Progress {
    /// # Errors
    /// Those of mmap(2).
    pub fn new() -> rustix::io::Result<Self> {
        Mapping::shared().map(Progress)
    }

    fn at(&self, id: u32) -> &Entry {
        &self.0.entries[(id & INDEX) as usize]
    }

    fn find(&self, id: u32) -> Option<&Entry> {
        Some(self.at(id)).filter(|e| id != 0 && e.id.load(SeqCst) == id)
    }

    /// A number for a residue that this process sends.
    pub fn claim(&self) -> Option<u32> {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        (0..ENTRIES).find_map(|_| {
            let n = self.0.given.fetch_add(1, Relaxed).wrapping_add(1);
            let entry = self.at(n);
            let was = entry.id.load(SeqCst);
            // One whose process is gone is free, too.
            let free = n != 0 && (was == 0 || !is_alive(entry.owner.load(SeqCst)));
            if !free || entry.id.compare_exchange(was, n, SeqCst, SeqCst).is_err() {
                return None;
            }
            entry.owner.store(me, SeqCst);
            entry.shutdown.store(NONE, SeqCst);
            entry.watched.store(false, SeqCst);
            Some(n)
        })
    }

    /// The residue is over.
    pub fn free(&self, id: u32) {
        let _ = self.at(id).id.compare_exchange(id, 0, SeqCst, SeqCst);
    }

    /// Whether another process still has bytes of `id` to send.
    pub fn is_left(&self, id: u32) -> bool {
        self.find(id)
            .is_some_and(|e| is_alive(e.owner.load(SeqCst)) && e.id.load(SeqCst) == id)
    }

    /// Another process sends it from here on.
    pub fn pass_to(&self, id: u32, pid: i32) {
        self.at(id).owner.store(pid, SeqCst);
    }

    /// A forked child waits for the end of `id`.
    pub fn watch(&self, id: u32) {
        if let Some(entry) = self.find(id) {
            entry.watched.store(true, SeqCst);
        }
    }

    /// Whether a child waits for the end of `id`; asks once.
    pub fn take_watched(&self, id: u32) -> bool {
        self.find(id).is_some_and(|e| e.watched.swap(false, SeqCst))
    }

    /// A shutdown of kind `how` is due once the bytes of `id` are out.
    pub fn set_shutdown(&self, id: u32, how: i32) {
        if let Some(entry) = self.find(id) {
            entry.shutdown.store(how + 1, SeqCst);
        }
    }

    /// The shutdown that waits for `id`.
    pub fn shutdown(&self, id: u32) -> Option<i32> {
        let how = self.find(id)?.shutdown.load(SeqCst);
        (how != NONE).then_some(how - 1)
    }
}

/// Whether a process exists (or may: EPERM).
fn is_alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid)
        .is_some_and(|p| rustix::process::test_kill_process(p) != Err(Errno::SRCH))
}
