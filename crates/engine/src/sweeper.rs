//! The sweeper: a thread of the library's own that bounds how long bytes stay
//! in custody while a handler computes (contract 5), and sends what the kernel
//! did not take (contract 3). What it does is in sweep.rs; here is its life.
//!
//! It is started before the first deferral, again after a fork, and sleeps
//! while the process is idle. The C library does not know of it, and it has a
//! descriptor table of its own (`sys/thread.rs`, `sys/table.rs`). Where the
//! kernel or a filter does not allow that, it stays in the program's table.
//!
//! A deferral stamps its segment with the sweeper's tick count, so ages cost
//! no clock.

use crate::lock::Lock;
use crate::sync::{AtomicBool, AtomicU32, Futex};
use crate::sys::fork_mark::ForkMark;
use crate::sys::sched::is_real_time;
use crate::sys::table::Program;
use crate::sys::thread::{Block, Quiet};
use rustix::time::Timespec;
use std::ffi::c_void;
use std::sync::atomic::Ordering::*;

/// Ticks after which bytes in custody are overdue.
const AGE: u32 = 2;

const NONE: u32 = 0;
pub(crate) const AWAKE: u32 = 1;
pub(crate) const ASLEEP: u32 = 2;
pub(crate) const STOPPING: u32 = 3;

/// The sweeper's descriptor table: not known yet.
const STARTING: u32 = 0;
/// One of its own.
const OWN: u32 = 1;
/// The program's.
const SHARED: u32 = 2;
/// It left the program's and could not reach back: another one is due, that
/// stays.
const REFUSED: u32 = 3;

/// No request.
const NOTHING: u32 = 0;
/// To hand all that is left over to a process that stays behind.
const HAND_OFF: u32 = 1;

/// What the thread runs.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    pub main: extern "C" fn(*mut c_void),
    pub arg: *mut c_void,
}

pub(crate) struct Sweeper {
    pub(crate) state: Futex,
    /// Advances while awake.
    pub tick: AtomicU32,
    /// Ticks after which bytes in custody are overdue: [`AGE`] but in tests.
    pub age: u32,
    /// Counts calls for the thread's attention; it sleeps on this.
    pub bell: Futex,
    table: Futex,
    /// A table of its own is not to be tried (again).
    share: AtomicBool,
    request: Futex,
    thread: Lock<Block>,
}

impl Sweeper {
    pub fn new() -> Self {
        Sweeper {
            state: Futex::new(NONE),
            tick: AtomicU32::new(AGE),
            age: AGE,
            bell: Futex::new(0),
            table: Futex::new(STARTING),
            share: AtomicBool::new(false),
            request: Futex::new(NOTHING),
            thread: Lock::new(Block::new()),
        }
    }

    /// Whether there is a sweeper, started if need be: without one nothing may
    /// be deferred. `job` outlives it.
    #[inline]
    pub fn ensure(&self, mark: &ForkMark, job: impl FnOnce() -> Job) -> bool {
        matches!(self.state.load(Relaxed), AWAKE | ASLEEP) || self.launch(mark, job())
    }

    /// Called after something was put into custody.
    #[inline]
    pub fn rouse(&self) {
        if self.state.load(SeqCst) == ASLEEP {
            self.kick();
        }
    }

    /// Has the thread look again at once.
    #[cold]
    pub fn kick(&self) {
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst);
        self.bell.fetch_add(1, SeqCst);
        self.bell.wake();
    }

    #[cold]
    fn launch(&self, mark: &ForkMark, job: Job) -> bool {
        let _quiet = Quiet::new();
        // A child that a signal handler forked in the middle of the library
        // gets its own once it has left that.
        if !mark.is_parent() {
            return false;
        }
        let mut thread = self.thread.lock();
        if self.state.load(SeqCst) != NONE {
            return true;
        }
        if cfg!(loom) {
            // The model runs it: Engine::sweep.
            self.table.store(SHARED, SeqCst);
            self.state.store(AWAKE, SeqCst);
            return true;
        }
        // It would inherit the policy, and then wait for the program's threads.
        if is_real_time() {
            return false;
        }
        self.state.store(AWAKE, SeqCst);
        loop {
            self.table.store(STARTING, SeqCst);
            // SAFETY: no thread of this block runs: the state was NONE, or it
            // was joined below. The job obeys sys/thread.rs.
            if unsafe { thread.start(job.main, job.arg) }.is_err() {
                self.state.store(NONE, SeqCst);
                return false;
            }
            while self.table.load(SeqCst) == STARTING {
                self.table.wait(STARTING, None);
            }
            if self.table.load(SeqCst) != REFUSED {
                return true;
            }
            thread.join();
            self.share.store(true, SeqCst);
        }
    }

    /// The first thing that the thread does: the program's table, if it has
    /// left that, and then `prepare`. `None`: it must end.
    pub fn settle_in(&self, prepare: impl FnOnce()) -> Option<Option<Program>> {
        let (table, program) = if self.share.load(SeqCst) {
            (SHARED, Some(None))
        } else {
            match Program::leave() {
                Ok(program) => {
                    prepare();
                    (OWN, Some(Some(program)))
                }
                Err(_) => (REFUSED, None),
            }
        };
        self.table.store(table, SeqCst);
        self.table.wake();
        program
    }

    /// Whether the thread has the program's descriptor table.
    pub fn shares_table(&self) -> bool {
        self.table.load(Relaxed) == SHARED
    }

    /// From the next start on the thread stays in the program's table.
    pub fn share_table(&self) {
        self.share.store(true, SeqCst);
    }

    /// Whether there is a thread.
    pub fn is_there(&self) -> bool {
        self.state.load(SeqCst) != NONE
    }

    /// Ends the thread and waits until it is gone; [`Sweeper::ensure`] starts
    /// another one.
    pub fn stop(&self, mark: &ForkMark) {
        let _quiet = Quiet::new();
        // Nor is the parent's thread in such a child.
        if !mark.is_parent() {
            return;
        }
        let thread = self.thread.lock();
        if self.state.swap(STOPPING, SeqCst) != NONE {
            self.bell.fetch_add(1, SeqCst);
            self.bell.wake();
            if !cfg!(loom) {
                thread.join();
                self.state.store(NONE, SeqCst);
            }
        } else {
            self.state.store(NONE, SeqCst);
        }
    }

    /// Has the thread hand over what is left of all streams to a process that
    /// stays behind, and waits until it has; false if it was stopped before.
    /// No wait for a thread that is another process's: a signal handler forked
    /// here.
    pub fn request_hand_off(&self, mark: &ForkMark) -> bool {
        let step = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        self.request.store(HAND_OFF, SeqCst);
        self.kick();
        while self.request.load(SeqCst) == HAND_OFF && mark.is_parent() {
            if !self.is_there() {
                return false;
            }
            self.request.wait(HAND_OFF, Some(&step));
        }
        true
    }

    /// Runs `hand_off` if it was asked for (on the thread).
    pub fn answer(&self, hand_off: impl FnOnce()) {
        if self.request.load(SeqCst) == HAND_OFF {
            hand_off();
            self.request.store(NOTHING, SeqCst);
            self.request.wake();
        }
    }

    /// In a forked child there is no sweeper yet.
    pub fn forked(&self) {
        self.state.store(NONE, SeqCst);
        self.request.store(NOTHING, SeqCst);
        // SAFETY: the child has one thread; whoever held the lock is not in it.
        unsafe { self.thread.reset() };
        self.thread.lock().forked();
    }
}
