//! Which descriptors the program made before there was an engine to know it.
//! Whatever else was there then came by exec, or from the parent that forked
//! the process: others may have it too. In a forked child that is everything,
//! because a fork wipes what is noted here.

use crate::wiped::{MADE_WORDS, page};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const WORD: usize = u64::BITS as usize;
/// Numbers that are remembered; what is above counts as given.
const NUMBERS: usize = MADE_WORDS * WORD;

/// The word and the bit of a number.
#[inline]
fn place(fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((page().made.get(fd / WORD)?, 1 << (fd % WORD)))
}

/// The program made the socket `fd`.
#[inline]
pub(crate) fn made(fd: i32) {
    if let Some((word, bit)) = place(fd) {
        word.fetch_or(bit, Relaxed);
    }
}

/// `fd` is closed, gets another meaning, or has a duplicate.
#[inline]
pub(crate) fn forget(fd: i32) {
    if let Some((word, bit)) = place(fd)
        && word.load(Relaxed) & bit != 0
    {
        word.fetch_and(!bit, Relaxed);
    }
}

/// All numbers from `first` to `last` are closed.
pub(crate) fn forget_range(first: u32, last: u32) {
    (first..=last.min(NUMBERS as u32 - 1)).for_each(|fd| forget(fd as i32));
}

/// Whether others may have `fd`, which was there before the engine.
pub(crate) fn is_given(fd: i32) -> bool {
    place(fd).is_none_or(|(word, bit)| word.load(Relaxed) & bit == 0)
}
