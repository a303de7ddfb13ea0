//! What the actor and the test share: flags to agree on an order without any
//! system call, and the actor's transcript.

use crate::shared::Shareable;
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Room for the transcript.
const ROOM: usize = 4 << 20;

/// The flags; what they mean beyond their names is the scenario's business.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub enum Flag {
    /// The actor's port.
    Port,
    /// The test has got so far.
    Peer,
    /// The actor has got so far.
    Actor,
    /// Bytes that the actor's calls accepted.
    Accepted,
    /// A second such number.
    Other,
}

/// The shared memory.
#[repr(C)]
pub struct Board {
    flags: [AtomicU64; 8],
    len: AtomicU32,
    text: [AtomicU8; ROOM],
}

// SAFETY: atomics, for all of which zero is a value.
unsafe impl Shareable for Board {}

impl Board {
    /// Sets a flag.
    pub fn set(&self, flag: Flag, n: u64) {
        self.flags[flag as usize].store(n, Release);
    }

    /// Adds to a flag.
    pub fn add(&self, flag: Flag, n: u64) {
        self.flags[flag as usize].fetch_add(n, Release);
    }

    /// Reads a flag.
    #[must_use]
    pub fn get(&self, flag: Flag) -> u64 {
        self.flags[flag as usize].load(Acquire)
    }

    /// Adds a line to the transcript.
    pub fn log(&self, line: &str) {
        let len = u32::try_from(line.len()).unwrap_or(0) + 1;
        let at = self.len.fetch_add(len, Relaxed) as usize;
        for (to, byte) in self.text.iter().skip(at).zip(line.bytes().chain([b'\n'])) {
            to.store(byte, Relaxed);
        }
    }

    /// The transcript.
    #[must_use]
    pub fn text(&self) -> String {
        let len = (self.len.load(Acquire) as usize).min(ROOM);
        let bytes: Vec<u8> = self.text[..len].iter().map(|b| b.load(Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
