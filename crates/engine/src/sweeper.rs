//! The sweeper: one thread that bounds how long bytes stay in custody while
//! a handler computes (contract 5), and drains residues (contract 3).
//!
//! It is started at the first deferral, again after a fork, and sleeps while
//! the process is idle. A deferral stamps its segment with the sweeper's tick
//! count, so ages cost no clock. What the thread does stands in sweep.rs.

use crate::engine::Engine;
use crate::lock::Lock;
use crate::numbers::borrow;
use crate::residue::WAKE;
use crate::sweep::spawn;
use crate::sync::{AtomicI32, AtomicU32, Futex};
use rustix::event::epoll;
use rustix::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::Ordering::*;

/// Ticks after which bytes in custody are overdue.
const AGE: u32 = 2;

const NONE: u32 = 0;
pub(crate) const AWAKE: u32 = 1;
pub(crate) const ASLEEP: u32 = 2;
pub(crate) const STOPPING: u32 = 3;

pub(crate) struct Sweeper {
    pub(crate) state: Futex,
    /// Advances while awake.
    pub tick: AtomicU32,
    /// Ticks after which bytes in custody are overdue: [`AGE`] but in tests.
    pub age: u32,
    start: Lock<()>,
    /// Wakes a sweeper that waits for writable sockets; -1 for none.
    pub(crate) eventfd: AtomicI32,
    pub(crate) thread: Futex,
}

impl Sweeper {
    pub fn new() -> Self {
        Sweeper {
            state: Futex::new(NONE),
            tick: AtomicU32::new(AGE),
            age: AGE,
            start: Lock::new(()),
            eventfd: AtomicI32::new(-1),
            thread: Futex::new(0),
        }
    }

    /// Called after something was put into custody: false if there can be no
    /// sweeper, so nothing may stay there.
    #[inline]
    pub fn ensure(&self, engine: &Engine) -> bool {
        self.state.load(SeqCst) == AWAKE || self.rouse(engine)
    }

    #[cold]
    fn rouse(&self, engine: &Engine) -> bool {
        match self.state.load(SeqCst) {
            NONE => self.launch(engine),
            ASLEEP => {
                self.kick(engine);
                true
            }
            _ => true,
        }
    }

    /// Wakes the sweeper to look again, starting it if need be.
    pub fn kick(&self, engine: &Engine) {
        if self.state.load(SeqCst) == NONE {
            self.launch(engine);
            return;
        }
        if self
            .state
            .compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst)
            .is_ok()
        {
            self.state.wake();
            self.ring();
        }
    }

    fn launch(&self, engine: &Engine) -> bool {
        let _g = self.start.lock();
        if self.state.load(SeqCst) != NONE {
            return true;
        }
        self.state.store(AWAKE, SeqCst);
        self.wire(engine);
        let ok = spawn(engine);
        if !ok {
            self.state.store(NONE, SeqCst);
        }
        ok
    }

    /// Makes the descriptors that residues will need, before there is the
    /// sweeper's thread: a descriptor appears at the lowest number before it
    /// is moved out of the way, and another thread could see the gap. (The
    /// kernel also makes room for high numbers faster while there is one
    /// thread.) Where it fails, the residues' own attempt decides.
    pub(crate) fn wire(&self, engine: &Engine) {
        let Ok(set) = engine.residues.epoll_or_new() else {
            return;
        };
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        if let Ok(e) = rustix::event::eventfd(0, flags) {
            let data = epoll::EventData::new_u64(WAKE);
            let e = crate::numbers::to_high(e);
            let _ = epoll::add(borrow(set), &e, data, epoll::EventFlags::IN);
            self.eventfd.store(e.into_raw_fd(), SeqCst);
        }
    }

    /// Ends the thread and waits for it (engines of tests; a process that
    /// exits just ends).
    pub fn stop(&self) {
        let was = self.state.swap(STOPPING, SeqCst);
        if was == NONE {
            return;
        }
        self.state.wake();
        self.ring();
        while self.thread.load(SeqCst) != 0 {
            self.thread.wait(1, None);
        }
        self.close_eventfd();
    }

    /// In a forked child there is no sweeper yet.
    pub fn forked(&self) {
        self.state.store(NONE, SeqCst);
        self.thread.store(0, SeqCst);
        // SAFETY: the child has one thread.
        unsafe { self.start.reset() };
        self.close_eventfd();
    }

    /// Where no sweeper uses it: the thread is gone, or is not in this process.
    fn close_eventfd(&self) {
        let e = self.eventfd.swap(-1, SeqCst);
        if e >= 0 {
            // SAFETY: ours, and the swap took the only reference to it.
            drop(unsafe { OwnedFd::from_raw_fd(e) });
        }
    }

    /// Wakes a sweeper that waits for writable sockets.
    fn ring(&self) {
        let e = self.eventfd.load(SeqCst);
        if e >= 0 {
            let _ = rustix::io::write(borrow(e), &1u64.to_ne_bytes());
        }
    }

    /// Keeps a launch from happening during a fork.
    pub fn hold(&self) {
        self.start.hold();
    }

    /// Ends [`Sweeper::hold`].
    ///
    /// # Safety
    /// The calling thread called `hold`.
    pub unsafe fn release(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.start.release() }
    }

    /// Whether `fd` is the wake-up descriptor.
    pub fn is_private(&self, fd: i32) -> bool {
        self.eventfd.load(Relaxed) == fd
    }
}
