//! What the actor and its judge share: the protocol of the peers and the log
//! of the calls. All in shared memory, so that no system call of the actor's
//! disturbs what is tested, and nothing is lost when it ends.

use crate::program::{CONNECTIONS, STREAMS};
use esca_suite::shared::Shareable;
use std::sync::atomic::{
    AtomicU16, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Entries of the log; a program that makes more calls is cut off there.
pub const ENTRIES: usize = 1 << 15;

/// What an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A call that writes, and its result.
    Wrote,
    /// A call that reads.
    Read,
    /// A step of the program, and what came of it.
    Step,
    /// A fault that the actor saw itself; the result is a [`Fault`].
    Fault,
    /// The process is about to end; the result is the sum of its SIGPIPEs.
    End,
}

/// What the actor checks itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// An event that had to come did not.
    Lost = 1,
    /// Input that is not what the peer sent.
    Input,
    /// An event of a connection that is closed.
    Stale,
    /// EPIPE without SIGPIPE, or one that should not be.
    Sigpipe,
    /// A descriptor that is not the program's, or one that is gone.
    Descriptors,
    /// sendfile moved the offset by something else than its result.
    Offset,
    /// The accepted connection is not the one that was due.
    Accept,
    /// A result larger than what was asked.
    TooMuch,
    /// The thread panicked.
    Panic,
    /// Events say again and again that there is room, and the write that there
    /// is none.
    Spins,
}

/// All faults, to show them.
pub const FAULTS: [Fault; 10] = [
    Fault::Lost,
    Fault::Input,
    Fault::Stale,
    Fault::Sigpipe,
    Fault::Descriptors,
    Fault::Offset,
    Fault::Accept,
    Fault::TooMuch,
    Fault::Panic,
    Fault::Spins,
];

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it tells.
    pub kind: Kind,
    /// Which step of the program: round, thread and place.
    pub step: u32,
    /// Who: a thread or a child.
    pub writer: u8,
    /// The connection, or [`NOBODY`].
    pub connection: u8,
    /// Counts what is ordered between writers.
    pub epoch: u16,
    /// What was asked.
    pub asked: u32,
    /// The result, or minus an errno.
    pub result: i64,
}

/// An entry of no connection.
pub const NOBODY: u8 = 0xff;

/// The shared memory.
#[repr(C)]
pub struct Board {
    /// The actor's listeners.
    pub listening: [AtomicU32; STREAMS],
    /// Ports of the peers.
    pub peers: [AtomicU32; CONNECTIONS],
    /// 1: the listeners stand; 2: the peers are connected.
    pub ready: AtomicU32,
    /// Steps that were done.
    pub steps: AtomicU32,
    /// The actor needs this peer to go on.
    pub hurry: [AtomicU32; CONNECTIONS],
    /// The actor's process is gone (or is about to become another program).
    pub gone: AtomicU32,
    /// Epochs: see [`Entry::epoch`].
    pub epoch: AtomicU16,
    len: AtomicU32,
    log: [[AtomicU64; 3]; ENTRIES],
}

// SAFETY: atomics, for all of which zero is a value.
unsafe impl Shareable for Board {}

impl Board {
    /// Forgets the last run.
    pub fn clear(&self) {
        let small = [&self.ready, &self.steps, &self.gone, &self.len];
        let all = small.into_iter().chain(&self.listening).chain(&self.peers);
        all.chain(&self.hurry).for_each(|a| a.store(0, Relaxed));
        self.epoch.store(0, Release);
    }

    /// Adds an entry; false if the log is full.
    pub fn log(&self, e: Entry) -> bool {
        let place = self.len.fetch_add(1, Relaxed) as usize;
        let Some(to) = self.log.get(place) else {
            return false;
        };
        let small = [e.kind as u8, e.writer, e.connection, 0];
        let first = u64::from(u32::from_ne_bytes(small)) << 32 | u64::from(e.step);
        let second = u64::from(e.epoch) << 32 | u64::from(e.asked);
        to[0].store(first, Relaxed);
        to[1].store(second, Relaxed);
        to[2].store(e.result.cast_unsigned(), Release);
        true
    }

    /// The log.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let len = (self.len.load(Acquire) as usize).min(ENTRIES);
        let words = self.log[..len].iter();
        words
            .map(|w| {
                let [first, second, result] = [0, 1, 2].map(|k| w[k].load(Acquire));
                let [kind, writer, connection, _] = ((first >> 32) as u32).to_ne_bytes();
                Entry {
                    kind: match kind {
                        0 => Kind::Wrote,
                        1 => Kind::Read,
                        2 => Kind::Step,
                        3 => Kind::Fault,
                        _ => Kind::End,
                    },
                    step: first as u32,
                    writer,
                    connection,
                    epoch: (second >> 32) as u16,
                    asked: second as u32,
                    result: result.cast_signed(),
                }
            })
            .collect()
    }

    /// Lets a peer know that the actor waits for it.
    pub fn hurry(&self, connection: usize) {
        self.hurry[connection].store(1, Release);
    }

    /// Whether it does.
    #[must_use]
    pub fn hurries(&self, connection: usize) -> bool {
        self.hurry[connection].load(Acquire) != 0 || self.is_gone()
    }

    /// Whether the actor is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Acquire) != 0
    }
}
