//! The life of the process and of explicit segments: fork, exec, exit.

use crate::engine::Engine;
use crate::numbers::borrow;
use crate::operation::{OpKind, SegmentResult};
use crate::residue::await_other_process;
use crate::segment::Segment;
use crate::slot::{Slot, bits};
use esca_abi::stats::{self, Counter};
use std::sync::atomic::Ordering::*;

impl Engine {
    /// Before fork: everything goes to the kernel, and all locks are held so
    /// that the child gets them in a known state.
    pub fn before_fork(&self, stats: &stats::Slot) {
        self.registry.hold();
        self.forked.store(true, Relaxed);
        self.will_fork();
        for seg in self.segments() {
            let mut c = seg.custody.lock();
            self.flush_locked(seg, &mut c, stats, Counter::FlushLife, None);
            std::mem::forget(c);
        }
        self.residues.hold();
        // Last: a flush may start the sweeper while it holds custody.
        self.sweeper.hold();
    }

    /// After fork, in the parent.
    ///
    /// # Safety
    /// This thread called [`Engine::before_fork`].
    pub unsafe fn after_fork_parent(&self) {
        self.has_forked();
        // SAFETY: held by before_fork in this thread.
        unsafe {
            self.sweeper.release();
            self.residues.release();
            for seg in self.segments() {
                seg.custody.release();
            }
            self.registry.release();
        }
    }

    /// After fork, in the child: only this thread, `mine`, exists.
    ///
    /// # Safety
    /// This is the only thread, and its process called
    /// [`Engine::before_fork`] (or nothing was in custody).
    pub unsafe fn after_fork_child(&self, mine: Option<&Segment>) {
        // SAFETY: one thread (caller).
        unsafe { self.registry.reset() };
        for seg in self.segments() {
            // SAFETY: as above.
            unsafe { seg.custody.reset() };
            self.disown(seg);
            seg.flight.set(-1);
            let own = mine.is_some_and(|m| std::ptr::eq(m, seg));
            if !own {
                seg.taken.store(false, Release);
                seg.explicit.set(false);
            }
        }
        for fd in 0..=self.top.load(Acquire) {
            self.slots.get(fd).into_iter().for_each(Slot::forked);
        }
        self.kin.forked();
        self.sweeper.forked();
        self.residues.forked();
        self.backend.forked();
        self.table.processes.fetch_add(1, Relaxed);
    }

    /// In a forked child: what is still in custody (a fork inside a signal
    /// handler that interrupted the library) is the parent's to send.
    fn disown(&self, seg: &Segment) {
        let mut c = seg.custody.lock();
        for op in c.ops() {
            if let Some(slot) = self.slots.get(op.fd) {
                slot.clear(bits::OWNER);
            }
        }
        c.clear();
        seg.pending.store(0, Release);
    }

    /// Before exec: everything to the kernel. What a full socket does not
    /// take is waited for, because nobody would send it any more, and the new
    /// program could write on what it inherits.
    pub fn before_exec(&self, stats: &stats::Slot) {
        self.before_spawn(stats);
        self.drain_residues();
    }

    /// Waits until all that this process has to deliver is out, or for as long
    /// as there is progress.
    fn drain_residues(&self) {
        if self.residues.count() > 0 {
            self.residues
                .drain_to_end(|fd, id, end| self.residue_over(fd, id, end));
        }
    }

    /// Waits for what was promised on the descriptors that `which` names: for
    /// as long as there is progress.
    pub(crate) fn wait_for_residues(&self, which: impl Fn(i32) -> bool) {
        self.residues
            .drain_for_others(|fd, id, end| self.residue_over(fd, id, end), which);
    }

    /// Before a child that runs another program: everything to the kernel.
    /// What a full socket does not take is waited for where the child gets
    /// the socket, because it could write behind it.
    pub fn before_spawn(&self, stats: &stats::Slot) {
        self.gives_streams_away();
        self.flush_everything(stats, Counter::FlushLife);
        self.wait_for_residues(is_inherited);
    }

    /// In a vfork child, before it gives `fd` a number that the program it
    /// will run inherits: waits for what was promised on it. The parent's
    /// sweeper sends that; nothing is changed here.
    pub fn wait_in_vfork_child(&self, fd: i32) {
        let waits = |slot: &Slot| slot.state() & bits::RESIDUE != 0 && self.has_residues();
        while self.slots.get(fd).is_some_and(waits) {
            await_other_process();
        }
    }

    /// Before the process ends: everything to the kernel, and no promises
    /// any more. What a full socket does not take is delivered by a small
    /// process that stays behind, as the kernel would deliver its own buffer.
    pub fn before_exit(&self, stats: &stats::Slot) {
        self.retired.store(true, SeqCst);
        self.flush_everything(stats, Counter::FlushLife);
        if self.residues.count() > 0 && self.residues.enlarge_and_drain() {
            self.stay_behind();
        }
    }

    /// Before the process may no longer make every call: everything to the
    /// kernel, no promises any more, and no thread of ours.
    pub fn step_aside(&self, stats: &stats::Slot) {
        self.retired.store(true, SeqCst);
        for seg in self.segments() {
            // Locked even where nothing seems to be pending: who holds the
            // lock may be about to put something there; who gets it next sees
            // that there are no promises any more.
            let mut c = seg.custody.lock();
            self.flush_locked(seg, &mut c, stats, Counter::FlushLife, None);
        }
        self.drain_residues();
        self.sweeper.stop();
    }

    #[cold]
    fn stay_behind(&self) {
        let pid = self.residues.split_off(|| {
            // SAFETY: a bare fork by system call: no handlers of the program
            // run. The child makes system calls only.
            unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32 }
        });
        if pid != 0 {
            if pid < 0 {
                self.residues.drain_to_end(|_, _, _| ());
            }
            return;
        }
        // Only the sockets stay open: the peers of everything else must see
        // it end now.
        let mut from = 0;
        while let Some(fd) = self.residues.next_private(from) {
            close_between(from, fd - 1);
            from = fd + 1;
        }
        close_between(from, i32::MAX);
        self.residues.drain_to_end(|_, _, _| ());
        // SAFETY: ends this process, nothing else.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    }

    /// Begins an explicit segment; false if one is open.
    pub fn begin(&self, seg: &Segment, hint: usize) -> bool {
        if seg.explicit.get() {
            return false;
        }
        self.flush(seg, seg.stats, Counter::FlushExplicit);
        let mut c = seg.custody.lock();
        c.results.clear();
        // Without the room the results end early; the operations do not.
        let _ = c.results.try_reserve(hint.min(MOST_HINTED));
        drop(c);
        seg.explicit.set(true);
        self.renew(seg);
        self.renew_passes(seg);
        true
    }

    /// Ends the explicit segment; gives how many operations it had, or `None`
    /// if none is open.
    pub fn end(&self, seg: &Segment) -> Option<usize> {
        if !seg.explicit.get() {
            return None;
        }
        self.flush(seg, seg.stats, Counter::FlushExplicit);
        seg.explicit.set(false);
        self.renew(seg);
        self.renew_passes(seg);
        Some(seg.custody.lock().results.len())
    }

    /// Copies the results of the last explicit segment; gives how many there
    /// are.
    pub fn results(&self, seg: &Segment, mut each: impl FnMut(usize, &SegmentResult)) -> usize {
        let c = seg.custody.lock();
        for (i, r) in c.results.iter().enumerate() {
            each(i, r);
        }
        c.results.len()
    }

    /// Notes a shutdown of an explicit segment.
    pub fn after_shutdown(&self, seg: &Segment, fd: i32, result: i64) {
        if seg.explicit.get() {
            self.record(seg, &mut seg.custody.lock(), fd, OpKind::Shutdown, result);
        }
    }
}

/// Results that room is made for at the start of a segment, at most: the hint
/// may be any number.
const MOST_HINTED: usize = 256;

/// Whether a program that is run gets `fd`.
fn is_inherited(fd: i32) -> bool {
    rustix::io::fcntl_getfd(borrow(fd)).is_ok_and(|f| !f.contains(rustix::io::FdFlags::CLOEXEC))
}

fn close_between(first: i32, last: i32) {
    if first <= last {
        // SAFETY: closes descriptors of a process that uses none of them.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}
