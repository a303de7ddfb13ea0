//! Residues and other processes: forks share the bytes, one process drains.

use super::Residues;
use rustix::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::Ordering::*;

impl Residues {
    /// In a forked child: the parent drains, the child only watches.
    pub fn forked(&self) {
        // SAFETY: the child has one thread, and the parent's fork handler
        // held the lock.
        unsafe { self.list.reset() };
        self.any(|r| {
            r.shared().inherited.store(true, SeqCst);
            r.watch_only();
            false
        });
        let e = self.epoll.swap(-1, SeqCst);
        if e >= 0 {
            // SAFETY: the child's copy is ours.
            drop(unsafe { OwnedFd::from_raw_fd(e) });
        }
    }

    /// Makes, by `clone`, a process that drains from now on in place of this
    /// one; what `clone` gave. The list is held meanwhile: two processes would
    /// send the same bytes.
    pub fn split_off(&self, clone: impl FnOnce() -> i32) -> i32 {
        let list = self.list.lock();
        let pid = clone();
        if pid > 0 {
            list.each(|r| {
                if r.private >= 0 {
                    r.shared().owner.store(pid, SeqCst);
                    r.watch_only();
                }
            });
        }
        pid
    }

    /// Keeps the list still over a fork.
    pub fn hold(&self) {
        self.list.hold();
    }

    /// Ends [`Residues::hold`].
    ///
    /// # Safety
    /// The calling thread called `hold`.
    pub unsafe fn release(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.list.release() }
    }
}
