//! The statistics in shared memory: counters that the preload library adds to
//! and that tools read while the server runs.
//!
//! One writer a slot (its thread), many readers, so a counter is a relaxed
//! load and store, never a locked instruction. Threads beyond the last slot
//! share it and may lose a count; nothing depends on the counters.

use crate::status::{Noted, Status};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// First eight bytes of the mapping: `"escastat"`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"escastat");
/// Version of this layout; readers refuse another.
pub const VERSION: u32 = 3;
/// Slots in the mapping: one a thread.
pub const SLOTS: usize = 256;

macro_rules! counters {
    ($($group:literal { $($(#[$doc:meta])* $id:ident = $name:literal,)+ })+) => {
        /// What is counted; the discriminant is the index into a slot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(
            #[doc = $name]
            $(#[$doc])* $id,
        )+)+ }

        /// Group and name of every counter, in index order.
        pub const NAMES: &[(&str, &str)] = &[$($(($group, $name),)+)+];
        /// Every counter, in index order.
        pub const ALL: &[Counter] = &[$($(Counter::$id,)+)+];
    };
}

counters! {
    // Interposed calls that the program made, by kind, while ESCA was active.
    "calls" {
        CallWait = "wait",
        CallRead = "read",
        CallWrite = "write",
        CallWritev = "writev",
        CallSend = "send",
        CallSendmsg = "sendmsg",
        CallSendfile = "sendfile",
        CallShutdown = "shutdown",
        CallClose = "close",
        CallAccept = "accept",
        CallSockopt = "sockopt",
        CallOther = "other",
    }
    "operations" {
        /// Answered from custody.
        Deferred = "deferred",
        /// Bytes of those.
        DeferredBytes = "deferred_bytes",
        /// Left in one kernel entry together with an earlier one.
        Merged = "merged",
        /// Not made at all.
        Elided = "elided",
        /// Made at once although the stream could have been deferred.
        Direct = "direct",
    }
    // How often each rule rewrote something: the names of ESCA_RULES.
    "rules" {
        RuleMerge = "merge",
        RuleFileHead = "file-head",
        RuleSmallFile = "small-file",
        RuleCork = "cork",
        RuleNodelay = "nodelay",
        RuleDrained = "drained",
        RuleSocketCalls = "socket-calls",
    }
    // What made bytes in custody go to the kernel.
    "flushes" {
        FlushWait = "wait",
        FlushStream = "other_stream",
        FlushCall = "call_on_stream",
        FlushEffect = "effect",
        /// Nothing is expected to follow on the stream.
        FlushDone = "complete",
        FlushFull = "full",
        FlushAge = "age",
        FlushLife = "process_life",
        FlushExplicit = "explicit",
    }
    "custody" {
        /// Most bytes in custody at one time in one thread (a maximum).
        PeakBytes = "peak_bytes",
        /// Flushes of which the kernel took less than all.
        Short = "short_flushes",
        /// Bytes that waited for the socket to become writable.
        ResidueBytes = "residue_bytes",
        /// Errors that a deferred operation ran into.
        AsyncErrors = "async_errors",
    }
    "kernel_entries" {
        /// Made by the library for the program (passed through or flushed).
        Made = "made",
        /// That the plain program would have made and ESCA did not.
        Saved = "saved",
    }
    "requests" {
        /// Bytes came in on a stream and something was sent on it next: a
        /// request and its answer, or several that came in one piece.
        Answered = "answered",
    }
}

/// Counters in a slot: those above, and room to grow.
pub const WIDTH: usize = 64;
const _: () = assert!(NAMES.len() <= WIDTH);

/// The counters of one thread.
#[repr(C, align(64))]
pub struct Slot {
    counters: [AtomicU64; WIDTH],
}

impl Slot {
    /// A slot of zeroes.
    #[must_use]
    pub const fn new() -> Self {
        Slot {
            counters: [const { AtomicU64::new(0) }; WIDTH],
        }
    }

    /// Adds `n`. One thread writes a slot, so no locked instruction is needed.
    #[inline]
    pub fn add(&self, c: Counter, n: u64) {
        let a = &self.counters[c as usize];
        a.store(a.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Raises a maximum.
    #[inline]
    pub fn max(&self, c: Counter, n: u64) {
        let a = &self.counters[c as usize];
        if n > a.load(Relaxed) {
            a.store(n, Relaxed);
        }
    }

    /// Reads one counter.
    #[inline]
    #[must_use]
    pub fn get(&self, c: Counter) -> u64 {
        self.counters[c as usize].load(Relaxed)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

/// The whole mapping: a header and [`SLOTS`] slots.
#[repr(C)]
pub struct Table {
    /// [`MAGIC`], stored last by whoever sets the table up.
    pub magic: AtomicU64,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// Processes that mapped the table so far.
    pub processes: AtomicU32,
    /// Next slot to hand out.
    pub next_slot: AtomicU32,
    /// Policy in force (its number in the engine), for the reader.
    pub policy: AtomicU32,
    /// Rules in force (bits in the order of the `rules` counters).
    pub rules: AtomicU32,
    /// Backend in force (its number in the engine).
    pub backend: AtomicU32,
    /// Why the library does less than it was asked for.
    pub noted: Noted,
    /// One a thread.
    pub slots: [Slot; SLOTS],
}

impl Table {
    /// A table of zeroes, to be set up with [`Table::init`].
    #[must_use]
    pub const fn new() -> Self {
        Table {
            magic: AtomicU64::new(0),
            version: AtomicU32::new(0),
            processes: AtomicU32::new(0),
            next_slot: AtomicU32::new(0),
            policy: AtomicU32::new(0),
            rules: AtomicU32::new(0),
            backend: AtomicU32::new(0),
            noted: Noted::new(),
            slots: [const { Slot::new() }; SLOTS],
        }
    }

    /// Marks a zeroed mapping as a table of this version.
    pub fn init(&self) {
        self.version.store(VERSION, Relaxed);
        self.magic
            .store(MAGIC, core::sync::atomic::Ordering::Release);
    }

    /// Whether the mapping is a table of this version.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.magic.load(core::sync::atomic::Ordering::Acquire) == MAGIC
            && self.version.load(Relaxed) == VERSION
    }

    /// Notes why the library does less than it was asked for.
    pub fn note(&self, status: Status) {
        self.noted.note(status, 0);
    }

    /// Hands out a slot; the last one is shared when all are taken.
    pub fn claim(&self) -> &Slot {
        let n = self.next_slot.fetch_add(1, Relaxed) as usize;
        &self.slots[n.min(SLOTS - 1)]
    }

    /// Whether a process that shares the table did anything but wait.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let work = |c: &Counter| *c != Counter::CallWait && self.total(*c) != 0;
        self.noted.all().next().is_some() || ALL.iter().any(work)
    }

    /// Sum over all threads (the maximum for [`Counter::PeakBytes`]).
    #[must_use]
    pub fn total(&self, c: Counter) -> u64 {
        let all = self.slots.iter().map(|s| s.get(c));
        match c {
            Counter::PeakBytes => all.max().unwrap_or(0),
            _ => all.fold(0, u64::wrapping_add),
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}
