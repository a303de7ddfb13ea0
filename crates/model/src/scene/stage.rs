//! The memory that a scene's actor shares with its judge: what each item came
//! to, when, and the cues of the clients.

use esca_suite::shared::Shareable;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// Clients of a scene.
pub const CLIENTS: usize = 4;
const NOTES: usize = 4096;

/// What a note tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// A result, or minus an errno.
    Result,
    /// So many bytes are written for a client by now.
    Wrote,
    /// The item took so many nanoseconds.
    Took,
    /// Bytes that were promised and that the kernel does not have, at an effect.
    Kept,
    /// Descriptors or bytes that are not as they should be.
    Wrong,
}

/// A note.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// The item.
    pub item: usize,
    /// What it tells.
    pub what: What,
    /// The client.
    pub client: usize,
    /// The value.
    pub value: i64,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
}

/// The shared memory.
#[repr(C)]
pub struct Stage {
    /// The listener's port, once it stands.
    pub port: AtomicU32,
    /// The clients are connected.
    pub connected: AtomicU32,
    /// Bytes that each client was promised.
    pub promised: [AtomicU64; CLIENTS],
    /// Bytes that each client is to send, and those that have arrived.
    pub cue: [AtomicU32; CLIENTS],
    /// As said above.
    pub sent: [AtomicU32; CLIENTS],
    /// A process that goes on when the first has ended; `u32::MAX`: one will.
    pub heir: AtomicU32,
    /// All processes are gone.
    pub gone: AtomicU32,
    len: AtomicU32,
    notes: [[AtomicU64; 3]; NOTES],
}

// SAFETY: atomics, for all of which zero is a value.
unsafe impl Shareable for Stage {}

impl Stage {
    /// Forgets the last run.
    pub fn clear(&self) {
        let small = [&self.port, &self.connected, &self.heir, &self.gone];
        let small = small.into_iter().chain([&self.len]).chain(&self.cue);
        small.chain(&self.sent).for_each(|a| a.store(0, SeqCst));
        self.promised.iter().for_each(|a| a.store(0, SeqCst));
    }

    /// Adds a note.
    pub fn note(&self, n: Note) {
        let place = self.len.fetch_add(1, SeqCst) as usize;
        if let Some(to) = self.notes.get(place) {
            let head = (n.item as u64) << 16 | (n.what as u64) << 8 | n.client as u64;
            to[0].store(head, SeqCst);
            to[1].store(n.value.cast_unsigned(), SeqCst);
            to[2].store(n.at, SeqCst);
        }
    }

    /// All notes.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let len = (self.len.load(SeqCst) as usize).min(NOTES);
        let read = |w: &[AtomicU64; 3]| {
            let [head, value, at] = [0, 1, 2].map(|k| w[k].load(SeqCst));
            Note {
                item: (head >> 16) as usize,
                what: match head >> 8 & 0xff {
                    0 => What::Result,
                    1 => What::Wrote,
                    2 => What::Took,
                    3 => What::Kept,
                    _ => What::Wrong,
                },
                client: (head & 0xff) as usize,
                value: value.cast_signed(),
                at,
            }
        };
        self.notes[..len].iter().map(read).collect()
    }
}

/// Now, on the clock that all processes share.
#[must_use]
pub fn now() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
