//! Whether the process is the one that it was: a word that a fork wipes, by
//! whatever way the fork was made.

use super::Mapping;
use super::memory::Zeroed;
use std::sync::atomic::{AtomicU64, Ordering::*};

/// Takes a whole page.
#[repr(C, align(4096))]
struct Page(AtomicU64);

// SAFETY: zero is a value of the atomic.
unsafe impl Zeroed for Page {}

pub(crate) struct ForkMark(Mapping<Page>);

impl ForkMark {
    /// The calling process's.
    ///
    /// # Errors
    /// Those of mmap(2) and madvise(2).
    pub fn new() -> rustix::io::Result<Self> {
        let me = ForkMark(Mapping::wiped_on_fork()?);
        me.renew();
        Ok(me)
    }

    /// Whether no fork came between this process and the mark.
    #[inline]
    pub fn is_parent(&self) -> bool {
        self.0.0.load(Relaxed) != 0
    }

    /// The child has the engine to itself from here on.
    pub fn renew(&self) {
        self.0.0.store(1, Relaxed);
    }
}
