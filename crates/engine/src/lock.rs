//! A small futex lock: no allocation, no poisoning, no library calls that
//! could be interposed, and the same after fork.

use crate::sync::Futex;
use rustix::time::Timespec;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED: u32 = 2;

/// Not thread-local: the sweeper's thread has no such memory.
#[cfg(debug_assertions)]
static TAKEN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Locks that the process's threads have taken so far: for the test of the hot
/// path, in builds with debug assertions only.
#[cfg(debug_assertions)]
#[must_use]
pub fn taken() -> u64 {
    TAKEN.load(Relaxed)
}

/// A value behind a futex.
pub struct Lock<T> {
    word: Futex,
    value: UnsafeCell<T>,
    /// Has loom look for two holders at a time, or one who does not see what
    /// the one before him did.
    #[cfg(loom)]
    holder: loom::cell::UnsafeCell<()>,
}

// SAFETY: the value is reached only while the word is held, by one thread.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: moving the lock moves the value.
unsafe impl<T: Send> Send for Lock<T> {}

/// Unlocks when dropped.
pub struct Guard<'a, T>(&'a Lock<T>);

impl<T> Lock<T> {
    /// An open lock.
    pub fn new(value: T) -> Self {
        Lock {
            word: Futex::new(FREE),
            value: UnsafeCell::new(value),
            #[cfg(loom)]
            holder: loom::cell::UnsafeCell::new(()),
        }
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        #[cfg(debug_assertions)]
        TAKEN.fetch_add(1, Relaxed);
        if self
            .word
            .compare_exchange(FREE, HELD, Acquire, Relaxed)
            .is_err()
        {
            self.wait();
        }
        self.held();
        Guard(self)
    }

    #[inline]
    fn held(&self) {
        #[cfg(loom)]
        self.holder.with_mut(|_| ());
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.word
            .compare_exchange(FREE, HELD, Acquire, Relaxed)
            .ok()
            .map(|_| {
                self.held();
                Guard(self)
            })
    }

    /// Waits for the lock until `limit` has passed in `clock`, which counts
    /// from its first use: several locks may share it.
    #[cold]
    pub fn lock_within(
        &self,
        clock: &mut Option<Instant>,
        limit: Duration,
    ) -> Option<Guard<'_, T>> {
        let step = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        loop {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            if clock.get_or_insert_with(Instant::now).elapsed() >= limit {
                return None;
            }
            if self.word.swap(WAITED, Acquire) == FREE {
                self.held();
                return Some(Guard(self));
            }
            self.word.wait(WAITED, Some(&step));
        }
    }

    #[cold]
    fn wait(&self) {
        while self.word.swap(WAITED, Acquire) != FREE {
            self.word.wait(WAITED, None);
        }
    }

    /// Opens the lock whoever held it.
    ///
    /// # Safety
    /// Only in a process of one thread (a forked child), where the holder
    /// does not exist any more or is the caller.
    pub unsafe fn reset(&self) {
        self.word.store(FREE, Release);
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.held();
        // SeqCst: a deferral publishes its bytes here and then looks whether
        // the sweeper sleeps (see sweep.rs).
        if self.0.word.swap(FREE, SeqCst) == WAITED {
            self.0.word.wake();
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a guard exists only while this thread holds the word.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in deref, and the guard is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn excludes() {
        let l = Arc::new(Lock::new(0u64));
        let hands: Vec<_> = (0..4)
            .map(|_| {
                let l = l.clone();
                std::thread::spawn(move || (0..20_000).for_each(|_| *l.lock() += 1))
            })
            .collect();
        hands.into_iter().for_each(|h| h.join().unwrap());
        assert_eq!(*l.lock(), 80_000);
        let held = l.lock();
        assert!(l.try_lock().is_none());
        drop(held);
        assert!(l.try_lock().is_some());
    }
}
