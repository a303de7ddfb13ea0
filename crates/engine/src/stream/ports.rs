//! Whether the process may have both ends of a connection: it connected to a
//! port that it accepts on. What it sends on one end is there at the other at
//! once, so a read there asks the kernel.

use crate::sync::{AtomicBool, AtomicU32};
use std::sync::atomic::Ordering::SeqCst;

/// Ports of a kind that are remembered; with more, the answer is yes.
const MOST: usize = 16;

/// Numbers that only grow in number; 0 is none.
struct Set([AtomicU32; MOST]);

impl Set {
    fn new() -> Self {
        Set(std::array::from_fn(|_| AtomicU32::new(0)))
    }

    fn has(&self, port: u32) -> bool {
        self.0.iter().any(|p| p.load(SeqCst) == port)
    }

    /// Adds `port`; false where there is no room.
    fn add(&self, port: u32) -> bool {
        let place = |p: &AtomicU32| match p.compare_exchange(0, port, SeqCst, SeqCst) {
            Ok(_) => true,
            Err(other) => other == port,
        };
        self.0.iter().any(place)
    }
}

pub(crate) struct Ports {
    accepted_on: Set,
    connected_to: Set,
    both: AtomicBool,
}

impl Ports {
    pub fn new() -> Self {
        Ports {
            accepted_on: Set::new(),
            connected_to: Set::new(),
            both: AtomicBool::new(false),
        }
    }

    pub fn has_both_ends(&self) -> bool {
        self.both.load(SeqCst)
    }

    /// The process takes connections on `port`.
    pub fn accepts_on(&self, port: u16) {
        self.note(&self.accepted_on, &self.connected_to, port);
    }

    /// The process connects to `port`, of whatever host.
    pub fn connects_to(&self, port: u16) {
        self.note(&self.connected_to, &self.accepted_on, port);
    }

    fn note(&self, own: &Set, other: &Set, port: u16) {
        let port = u32::from(port);
        // Added first: of two threads, one sees the other's.
        if port != 0 && (!own.add(port) || other.has(port)) {
            self.both.store(true, SeqCst);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_port_counts() {
        let p = Ports::new();
        p.accepts_on(80);
        p.connects_to(8080);
        p.connects_to(8080);
        p.accepts_on(0);
        p.connects_to(0);
        assert!(!p.has_both_ends());
        p.accepts_on(8080);
        assert!(p.has_both_ends());
    }

    #[test]
    fn too_many_count() {
        let p = Ports::new();
        (1..=16).for_each(|port| p.connects_to(port));
        assert!(!p.has_both_ends());
        p.connects_to(17);
        assert!(p.has_both_ends());
    }
}
