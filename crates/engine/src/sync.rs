//! What threads share is made of these: atomics and futexes, or loom's
//! stand-ins for them where the models run (`tests/loom.rs`, `--cfg loom`).

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};

use rustix::time::Timespec;
use std::ops::Deref;

/// A word that threads can wait on (futex(2)).
pub(crate) struct Futex {
    word: AtomicU32,
    #[cfg(loom)]
    sleepers: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

impl Deref for Futex {
    type Target = AtomicU32;
    #[inline]
    fn deref(&self) -> &AtomicU32 {
        &self.word
    }
}

#[cfg(not(loom))]
impl Futex {
    pub const fn new(value: u32) -> Self {
        Futex {
            word: AtomicU32::new(value),
        }
    }

    /// Waits while the word is `value`, no longer than `limit`; may return
    /// early.
    pub fn wait(&self, value: u32, limit: Option<&Timespec>) {
        use rustix::thread::futex;
        // An error (EAGAIN, EINTR, ETIMEDOUT) means: look again.
        let _ = futex::wait(&self.word, futex::Flags::PRIVATE, value, limit);
    }

    /// Wakes a thread that waits.
    pub fn wake(&self) {
        use rustix::thread::futex;
        let _ = futex::wake(&self.word, futex::Flags::PRIVATE, 1);
    }
}

/// The kernel compares and goes to sleep under the lock that a wake takes.
/// Nobody wakes without being told to, so that a lost wake-up is a deadlock,
/// which loom reports; a wait with a limit ends at once.
#[cfg(loom)]
impl Futex {
    pub fn new(value: u32) -> Self {
        Futex {
            word: AtomicU32::new(value),
            sleepers: (loom::sync::Mutex::new(()), loom::sync::Condvar::new()),
        }
    }

    pub fn wait(&self, value: u32, limit: Option<&Timespec>) {
        if limit.is_some() {
            return loom::thread::yield_now();
        }
        let lock = self.sleepers.0.lock().unwrap();
        if self.word.load(std::sync::atomic::Ordering::SeqCst) == value {
            drop(self.sleepers.1.wait(lock).unwrap());
        }
    }

    pub fn wake(&self) {
        let _lock = self.sleepers.0.lock().unwrap();
        self.sleepers.1.notify_one();
    }
}
