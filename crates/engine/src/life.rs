//! The life of the process and of explicit segments: fork, exec, exit.

use crate::engine::{Cause, Engine};
use crate::numbers::borrow;
use crate::operation::{OpKind, SegmentResult};
use crate::residue::await_other_process;
use crate::segment::Segment;
use crate::slot::{Slot, bits};
use esca_abi::stats::{self, Counter};
use std::sync::atomic::Ordering::*;
use std::time::Duration;

/// How long a reader that takes nothing may keep the program from running
/// another one, or from handing a descriptor on; and how long a thread that
/// holds its custody may.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nothing is promised any more, ever.
const RETIRED: u32 = 1 << 31;

impl Engine {
    /// Promises nothing from here on: the process is ending, or cannot have a
    /// sweeper.
    pub fn retire(&self) {
        self.unpromising.fetch_or(RETIRED, SeqCst);
    }

    /// Hands over the custody of every thread, and waits for threads that are
    /// about to put something there: with promises ended before, there is none
    /// afterwards.
    fn flush_for_good(&self, stats: &stats::Slot) {
        self.flush_threads(stats, Counter::FlushLife, |_| true);
    }

    /// Hands over the custody of every thread, but does not wait for one for
    /// ever: a signal handler may have interrupted it inside the library, and
    /// wait for what the caller does next (a collector that stops the world).
    /// Such a thread hands over its own as soon as it goes on.
    pub fn flush_everything(&self, stats: &stats::Slot, cause: Cause) {
        self.flush_threads(stats, cause, |seg| seg.pending.load(Acquire) != 0);
    }

    fn flush_threads(&self, stats: &stats::Slot, cause: Cause, which: impl Fn(&Segment) -> bool) {
        let mut clock = None;
        for seg in self.segments().filter(|seg| which(seg)) {
            if let Some(mut c) = seg.custody.lock_within(&mut clock, PATIENCE) {
                self.flush_locked(seg, &mut c, stats, cause, None);
            }
        }
    }

    /// Before fork: everything goes to the kernel, and nothing is promised
    /// until [`Engine::after_fork_parent`]. No lock is held meanwhile: the
    /// program's own handlers run, and may wait for its other threads.
    pub fn before_fork(&self, stats: &stats::Slot) {
        self.unpromising.fetch_add(1, SeqCst);
        self.forked.store(true, Relaxed);
        self.will_fork();
        self.flush_for_good(stats);
        self.streams_are_shared();
    }

    /// After fork, in the parent, also if it failed.
    pub fn after_fork_parent(&self) {
        self.has_forked();
        self.resume();
    }

    /// A child that has all streams may write to them.
    fn streams_are_shared(&self) {
        for fd in 0..=self.top.load(Acquire) {
            if let Some(slot) = self.slots.get(fd)
                && matches!(slot.state() & bits::KIND, bits::STREAM | bits::TCP)
            {
                slot.has_forked();
            }
        }
    }

    /// Whether a fork came between this engine's process and the caller's.
    #[must_use]
    pub fn is_parents(&self) -> bool {
        !self.fork_mark.is_parent()
    }

    /// In a forked child, however it was made: makes the engine the child's
    /// own. Only the calling thread is here, with segment `mine`. Other threads
    /// of the parent were anywhere, so nothing that they change in several
    /// steps is trusted: locks are opened, lists begin anew.
    ///
    /// # Safety
    /// This is the only thread of a process that a fork just made, and it is
    /// not inside the engine.
    pub unsafe fn adopt(&self, mine: Option<&Segment>) {
        // SAFETY: one thread (caller).
        unsafe { self.registry.reset() };
        for place in self.segments.iter() {
            let seg = place.load(Relaxed);
            if !seg.is_null() && !mine.is_some_and(|m| std::ptr::eq(m, seg)) {
                // Its memory is not worth a look.
                place.store(std::ptr::null_mut(), Relaxed);
            }
        }
        if let Some(seg) = mine {
            // SAFETY: as above.
            unsafe { seg.custody.reset() };
            seg.custody.lock().forked();
            seg.pending.store(0, Release);
            seg.flight.set(-1);
        }
        // A number that a thread of the parent was about to note is near.
        const NEAR: i32 = 64;
        for fd in 0..=self.top.load(Acquire).saturating_add(NEAR) {
            let Some(slot) = self.slots.get(fd) else {
                break;
            };
            if slot.state() & bits::RESIDUE != 0 {
                self.residues.watch(slot.residue.load(Relaxed));
            }
            slot.forked();
        }
        self.unpromising.fetch_and(RETIRED, SeqCst);
        self.kin.forked();
        self.sweeper.forked();
        self.residues.forked();
        self.backend.forked();
        self.table.processes.fetch_add(1, Relaxed);
        self.fork_mark.renew();
    }

    /// Before exec: everything to the kernel. What a full socket does not take
    /// is left to a process that stays behind.
    pub fn before_exec(&self, stats: &stats::Slot) {
        self.gives_streams_away();
        self.flush_everything(stats, Counter::FlushLife);
        self.hand_off();
    }

    /// Before the program ends in the C library itself, which forks first:
    /// `daemon(3)`. [`Engine::after_fork_parent`] where it failed.
    pub fn before_daemon(&self, stats: &stats::Slot) {
        self.before_fork(stats);
        self.hand_off();
    }

    /// Leaves what sockets do not take to a process that stays behind, as the
    /// kernel would deliver its own buffer.
    fn hand_off(&self) {
        let side = self.side();
        if self.residues.count() == 0 || !self.residues.enlarge_and_drain(side) {
            return;
        }
        // Another thread may stop it between the two.
        while self.sweeper.ensure(&self.fork_mark, || self.sweeping()) {
            if self.sweeper.request_hand_off(&self.fork_mark) {
                return;
            }
        }
        self.wait_for_residues(|_| true);
    }

    /// Waits for what was promised on the descriptors that `which` names, but
    /// not for long for a reader that takes nothing.
    pub(crate) fn wait_for_residues(&self, which: impl Fn(i32) -> bool) {
        self.residues.drain_for_others(
            self.side(),
            PATIENCE,
            |fd, id, end| self.residue_over(fd, id, end),
            which,
        );
    }

    /// Before a child that runs another program: everything to the kernel.
    /// What a full socket does not take is waited for where the child gets
    /// the socket, because it could write before it.
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
        for _ in 0..PATIENCE.as_millis() {
            if !self.slots.get(fd).is_some_and(waits) {
                return;
            }
            await_other_process();
        }
    }

    /// Before the process ends: everything to the kernel, and no promises
    /// any more.
    pub fn before_exit(&self, stats: &stats::Slot) {
        self.retire();
        self.flush_everything(stats, Counter::FlushLife);
        self.hand_off();
    }

    /// Before the process may no longer make every call, or its threads no
    /// longer mean the same by a number: everything to the kernel, no promises
    /// any more, and no thread of ours.
    pub fn step_aside(&self, stats: &stats::Slot) {
        self.retire();
        self.flush_for_good(stats);
        self.hand_off();
        self.sweeper.stop(&self.fork_mark);
    }

    /// Before a call for which the process must have one thread, or that
    /// changes what a new thread would inherit: everything to the kernel, and
    /// no thread of ours until the next promise.
    pub fn stop_sweeper(&self, stats: &stats::Slot) {
        self.unpromising.fetch_add(1, SeqCst);
        self.flush_for_good(stats);
        self.sweeper.stop(&self.fork_mark);
    }

    /// After the call of [`Engine::stop_sweeper`]. Nothing to take back in a
    /// child that a signal handler forked during the call ([`Engine::adopt`]).
    pub fn resume(&self) {
        let less = |n: u32| (n & !RETIRED != 0).then(|| n - 1);
        let _ = self.unpromising.fetch_update(SeqCst, SeqCst, less);
    }

    /// The first thread ends and others go on: the kernel then finds the
    /// process's descriptor table no more, so the sweeper must be in it.
    pub fn leader_ends(&self, stats: &stats::Slot) {
        self.stop_sweeper(stats);
        self.sweeper.share_table();
        self.resume();
    }

    /// No sweeper in a descriptor table of its own: a filter may forbid the
    /// calls for it, or kill for them.
    pub fn share_table(&self) {
        self.sweeper.share_table();
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
