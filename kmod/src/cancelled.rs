//! The streams of which a linked operation failed in this run.

use core::mem::MaybeUninit;
use esca_abi::device::MAX_CANCELLED;

/// A small set of descriptors, empty at no cost.
pub(crate) struct Cancelled {
    /// A bit for each descriptor modulo 64: most are told apart by it.
    bits: u64,
    n: u64,
    fds: [MaybeUninit<i32>; MAX_CANCELLED],
}

impl Cancelled {
    #[inline]
    pub const fn new() -> Self {
        Cancelled {
            bits: 0,
            n: 0,
            fds: [const { MaybeUninit::uninit() }; MAX_CANCELLED],
        }
    }

    #[inline]
    pub const fn count(&self) -> u64 {
        self.n
    }

    const fn bit(fd: i32) -> u64 {
        1 << (fd & 63)
    }

    pub fn has(&self, fd: i32) -> bool {
        self.bits & Self::bit(fd) != 0
            && self.fds.iter().take(self.n as usize).any(|f| {
                // SAFETY: the first n were written by add.
                unsafe { f.assume_init() == fd }
            })
    }

    /// Adds one; false if there is no room.
    #[cold]
    pub fn add(&mut self, fd: i32) -> bool {
        let Some(place) = self.fds.get_mut(self.n as usize) else {
            return false;
        };
        place.write(fd);
        self.n += 1;
        self.bits |= Self::bit(fd);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_added_and_says_when_it_is_full() {
        let mut c = Cancelled::new();
        assert!(c.count() == 0 && !c.has(5));
        for fd in 0..MAX_CANCELLED as i32 {
            assert!(c.add(fd * 64 + 1));
        }
        assert!(!c.add(2) && !c.has(2));
        assert!(c.has(1) && c.has(63 * 64 + 1));
        assert!(!c.has(64 * 64 + 1) && !c.has(-1));
        let mut c = Cancelled::new();
        assert!(c.add(-1) && c.has(-1) && !c.has(63));
    }
}
