//! What a fork wipes: the page that says which process this is.
//!
//! A forked child finds zeroes here (`MADV_WIPEONFORK`), however the fork was
//! made: by `fork(3)`, by the C library itself (`daemon`, `forkpty`), by
//! `syscall(2)` or by an instruction. So no hook has to run in the child, and
//! none of the program's has to come before or after it.

use esca_engine::Engine;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

/// Nothing was looked at in this process yet: its parent's state is in the
/// other statics.
pub(crate) const FRESH: u32 = 0;
/// No engine before the first wait.
pub(crate) const DORMANT: u32 = 1;
/// A thread makes the engine.
pub(crate) const STARTING: u32 = 2;
/// There is an engine.
pub(crate) const ACTIVE: u32 = 3;
/// There is none, and there will be none.
pub(crate) const OFF: u32 = 4;

/// Descriptors that [`crate::origin`] remembers, as words of bits.
pub(crate) const MADE_WORDS: usize = 510;

/// One page.
#[repr(C, align(4096))]
pub(crate) struct Page {
    /// The process's engine; null in a fresh process.
    pub engine: AtomicPtr<Engine>,
    pub phase: AtomicU32,
    /// A bit for each socket that the process made before it had an engine.
    pub made: [AtomicU64; MADE_WORDS],
}

/// In force until [`set_up`]: a fresh process without an engine.
static NONE: Page = Page {
    engine: AtomicPtr::new(std::ptr::null_mut()),
    phase: AtomicU32::new(FRESH),
    made: [const { AtomicU64::new(0) }; MADE_WORDS],
};

static PAGE: AtomicPtr<Page> = AtomicPtr::new((&raw const NONE).cast_mut());

/// The page of this process.
#[inline]
pub(crate) fn page() -> &'static Page {
    // SAFETY: NONE, or a mapping that is never given back; zeroes are a page,
    // and all of it is atomic.
    unsafe { &*PAGE.load(Relaxed) }
}

/// Called in the constructor; false where the kernel cannot wipe on fork
/// (before 4.14).
pub(crate) fn set_up() -> bool {
    let len = size_of::<Page>();
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping at an address of the kernel's choice, and advice
    // about it alone.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0);
        if at == libc::MAP_FAILED || libc::madvise(at, len, libc::MADV_WIPEONFORK) != 0 {
            return false;
        }
        PAGE.store(at.cast(), Release);
    }
    true
}
