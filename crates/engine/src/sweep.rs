//! What the sweeper's thread does. Its looks are rare while handlers are
//! quick, and frequent once one was found to compute for long. It has no
//! signals and touches nothing of the program.

use crate::engine::Engine;
use crate::numbers::borrow;
use crate::residue::{Standing, WAKE};
use crate::slot::bits;
use crate::sweeper::{ASLEEP, AWAKE, STOPPING};
use esca_abi::stats::Counter;
use rustix::event::epoll;
use rustix::time::Timespec;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::*;

/// From one look to the next while handlers are known to compute for long,
/// and from a look that saw something in custody to the one that checks
/// whether it is there still.
const TICK_NS: i64 = 700_000;
/// From one look to the next otherwise. A wake-up of this thread was measured
/// at up to 32 us of processor time (a virtual machine, server and sweeper on
/// one processor): at one every 0.7 ms it cost 4 %, more than the library may
/// cost (contract 8).
const LONG_NS: i64 = 10_000_000;
/// Short ticks after bytes were found that waited too long.
const ALERT_TICKS: u32 = if cfg!(loom) { 1 } else { 4000 };
/// Looks without a deferral after which the sweeper sleeps.
const IDLE_TICKS: u32 = if cfg!(loom) { 0 } else { 20 };

/// Starts the thread with every signal blocked, so that none of the
/// program's handlers runs on it.
pub(crate) fn spawn(engine: &Engine) -> bool {
    if cfg!(loom) {
        // The model runs it: Engine::sweep.
        return true;
    }
    extern "C" fn main(engine: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the engine outlives its sweeper: it is never freed, or
        // waits for the thread (stop).
        let engine = unsafe { &*engine.cast_const().cast::<Engine>() };
        (engine.own_thread)();
        run(engine);
        engine.sweeper.thread.store(0, SeqCst);
        engine.sweeper.thread.wake();
        std::ptr::null_mut()
    }
    engine.sweeper.thread.store(1, SeqCst);
    // SAFETY: plain pthread calls on local values that outlive them.
    let err = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut old);
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attr);
        libc::pthread_attr_setdetachstate(&raw mut attr, libc::PTHREAD_CREATE_DETACHED);
        libc::pthread_attr_setstacksize(&raw mut attr, 256 * 1024);
        let mut id: libc::pthread_t = std::mem::zeroed();
        let arg = std::ptr::from_ref(engine).cast_mut().cast();
        let err = libc::pthread_create(&raw mut id, &raw const attr, main, arg);
        libc::pthread_attr_destroy(&raw mut attr);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, std::ptr::null_mut());
        err
    };
    if err != 0 {
        engine.sweeper.thread.store(0, SeqCst);
    }
    err == 0
}

fn run(engine: &Engine) {
    let _ = rustix::thread::set_name(c"esca-sweeper");
    let me = &engine.sweeper;
    let stats = engine.table.claim();
    let mut idle = 0;
    let mut alert = 0u32;
    // Something was in custody at the last look.
    let mut seen = false;
    while me.state.load(SeqCst) != STOPPING {
        let asleep = idle > IDLE_TICKS;
        if asleep {
            if me
                .state
                .compare_exchange(AWAKE, ASLEEP, SeqCst, SeqCst)
                .is_err()
            {
                continue;
            }
            // A deferral before this point is seen here; one after it sees
            // ASLEEP (both SeqCst, and a deferral ends with a locked swap).
            if engine.segments().any(|s| s.custody.lock().n != 0) {
                let _ = me.state.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst);
                idle = 0;
                continue;
            }
        }
        let tick = if seen || alert > 0 { TICK_NS } else { LONG_NS };
        pause(engine, asleep, tick);
        if asleep {
            let _ = me.state.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst);
            idle = 0;
        }
        let now = me.tick.fetch_add(1, SeqCst) + 1;
        let (mut busy, mut fresh, mut overdue) = (false, false, false);
        for seg in engine.segments() {
            // A stamp of the last two ticks means work is going on.
            busy |= now.wrapping_sub(seg.since.load(Relaxed)) < 3;
            if seg.pending.load(Acquire) == 0 {
                continue;
            }
            if now.wrapping_sub(seg.since.load(Relaxed)) < me.age {
                fresh = true;
                continue;
            }
            if let Some(mut c) = seg.custody.try_lock() {
                engine.flush_locked(seg, &mut c, stats, Counter::FlushAge, None);
            }
            overdue = true;
        }
        alert = if overdue {
            ALERT_TICKS
        } else {
            alert.saturating_sub(1)
        };
        // One check after a look that saw something; then a long tick again,
        // or a busy server would have the short ones all the time.
        seen = fresh && !seen;
        idle = if busy || overdue || alert > 0 {
            0
        } else {
            idle + 1
        };
    }
}

#[cfg(loom)]
impl Engine {
    /// Is the sweeper until [`Engine::stop_sweeping`].
    pub fn sweep(&self) {
        run(self);
    }

    /// Ends [`Engine::sweep`].
    pub fn stop_sweeping(&self) {
        self.sweeper.stop();
    }
}

/// Waits a tick, or until kicked; drains what became writable meanwhile.
fn pause(engine: &Engine, asleep: bool, tick_ns: i64) {
    let me = &engine.sweeper;
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: tick_ns,
    };
    let Some(set) = engine
        .residues
        .epoll()
        .filter(|_| engine.residues.count() > 0)
    else {
        let (word, limit) = if asleep {
            (ASLEEP, None)
        } else {
            (AWAKE, Some(&tick))
        };
        me.state.wait(word, limit);
        return;
    };
    if cfg!(loom) {
        // Every socket may be writable at any time.
        engine
            .residues
            .retry(|fd, id, end| engine.residue_over(fd, id, end));
        return me.state.wait(u32::MAX, Some(&tick));
    }
    if me.eventfd.load(SeqCst) < 0 {
        me.wire(engine);
    }
    let mut buf = [const { MaybeUninit::<epoll::Event>::uninit() }; 64];
    // While anything is left, look again at times, and soon where the kernel
    // lacked memory: the end of that gives no event.
    let starving = engine.residues.take_starving();
    let limit = if asleep && !starving {
        Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        }
    } else {
        tick
    };
    let Ok((ready, _)) = epoll::wait(borrow(set), &mut buf, Some(&limit)) else {
        return;
    };
    if ready.is_empty() && asleep || starving {
        engine
            .residues
            .retry(|fd, id, end| engine.residue_over(fd, id, end));
    }
    for ev in ready.iter() {
        let id = ev.data.u64();
        if id == WAKE {
            let mut n = [0; 8];
            let _ = rustix::io::read(borrow(me.eventfd.load(SeqCst)), &mut n);
            continue;
        }
        let id = id as u32;
        engine
            .residues
            .drain(id, |fd, end| engine.residue_over(fd, id, end));
    }
}

impl Engine {
    /// A stream's residue is over: the stream may go on, or has an error to
    /// report. Called under the residues' lock, or the number could have got
    /// a new residue between the look and the change.
    pub(crate) fn residue_over(&self, fd: i32, id: u32, end: &Standing) {
        let Some(slot) = self.slots.get(fd) else {
            return;
        };
        if slot.state() & bits::RESIDUE == 0 || slot.residue.load(Relaxed) != id {
            return;
        }
        match end {
            Standing::Failed(e) => {
                slot.error.store(*e, Relaxed);
                slot.change(bits::RESIDUE, bits::ERROR);
            }
            _ => slot.clear(bits::RESIDUE),
        }
    }
}
