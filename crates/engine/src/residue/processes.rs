//! Residues and other processes: forks share the bytes, one process drains.

use super::reserve::Home;
use super::{BOUND, Residues};
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
        // The reserve is the parent's: a new one is made when it is needed.
        let mut list = self.list.lock();
        list.each(|r| {
            if r.home == Home::Reserve {
                r.home = Home::Inherited;
            }
        });
        if list.reserve.is_mapped() && !list.reserve.is_used() {
            self.memory.fetch_add(BOUND, Relaxed);
        }
        list.reserve.leave();
        self.refused.store(0, Relaxed);
        drop(list);
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
