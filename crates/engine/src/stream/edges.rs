//! Which stream an edge-triggered event is of: the program's data for it, by
//! hash. What a hang-up costs does not grow with the number of streams.

use crate::sync::AtomicU32;
use crate::sys::memory::Zeroed;
use std::sync::atomic::Ordering::Relaxed;

/// Buckets; streams beyond three quarters of them may go unwatched.
const BUCKETS: usize = if cfg!(loom) { 8 } else { 1 << 17 };
/// Neighbouring buckets that an entry may be in.
const NEAR: usize = 8;

/// A descriptor plus 1 in each bucket, 0 in a free one.
pub(crate) struct Edges([AtomicU32; BUCKETS]);

// SAFETY: zeroes are free buckets; the rest is atomic.
unsafe impl Zeroed for Edges {}

/// The buckets that `data` may be in.
fn buckets(data: u64) -> impl Iterator<Item = usize> {
    // Fibonacci hashing: pointers and small numbers alike spread.
    let first = (data.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize;
    (0..NEAR).map(move |i| (first + i) % BUCKETS)
}

impl Edges {
    /// Notes that `data` is of `fd`; false where there is no room. `data_of`
    /// is the data by which a descriptor is watched now: an entry that does
    /// not fit its descriptor any more is free.
    pub fn note(&self, data: u64, fd: i32, data_of: impl Fn(i32) -> Option<u64>) -> bool {
        let mine = fd.cast_unsigned() + 1;
        let free = |at: usize| {
            let entry = self.0[at].load(Relaxed);
            let stale = || {
                let other = data_of((entry - 1).cast_signed());
                other.is_none_or(|d| !buckets(d).any(|b| b == at))
            };
            entry == 0 || entry == mine || stale()
        };
        let Some(at) = buckets(data).find(|at| free(*at)) else {
            return false;
        };
        self.0[at].store(mine, Relaxed);
        true
    }

    /// Descriptors that `data` may be of.
    pub fn candidates(&self, data: u64) -> impl Iterator<Item = i32> {
        buckets(data).filter_map(|at| match self.0[at].load(Relaxed) {
            0 => None,
            n => Some((n - 1).cast_signed()),
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::Mapping;

    #[test]
    fn each_of_many_is_found_again() {
        let edges: Mapping<Edges> = Mapping::private().unwrap();
        let data = |fd: i32| 0x7f00_0000_0000 + fd as u64 * 96 + (fd as u64 & 1);
        for fd in 0..20_000 {
            assert!(edges.note(data(fd), fd, |other| Some(data(other))));
        }
        for fd in 0..20_000 {
            assert!(edges.candidates(data(fd)).any(|c| c == fd), "{fd}");
        }
    }

    #[test]
    fn a_stale_entry_is_free() {
        let edges: Mapping<Edges> = Mapping::private().unwrap();
        for fd in 0..100_i32 {
            assert!(edges.note(1, fd, |_| None));
        }
    }
}
