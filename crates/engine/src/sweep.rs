//! What the sweeper's thread does. It looks rarely while handlers are quick,
//! and often after one that computed for long. It has no signals, calls
//! nothing of the C library (`sys/thread.rs`), and touches nothing of the
//! program.

use crate::engine::Engine;
use crate::flusher::Flusher;
use crate::numbers::borrow;
use crate::residue::{Side, Standing};
use crate::segment::Segment;
use crate::slot::{Slot, bits};
use crate::sweeper::{ASLEEP, AWAKE, Job, STOPPING};
use crate::sys::socket;
use crate::sys::table::Program;
use esca_abi::stats::{self, Counter};
use rustix::time::Timespec;
use std::ffi::c_void;
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

impl Engine {
    /// The sweeper's work for this engine, which is never freed or waits for
    /// the thread (`Sweeper::stop`).
    pub(crate) fn sweeping(&self) -> Job {
        Job {
            main,
            arg: std::ptr::from_ref(self).cast_mut().cast(),
        }
    }
}

extern "C" fn main(engine: *mut c_void) {
    // SAFETY: see Engine::sweeping.
    let engine = unsafe { &*engine.cast_const().cast::<Engine>() };
    let _ = rustix::thread::set_name(c"esca-sweeper");
    let prepare = || {
        if let Some(lowat) = socket::default_lowat() {
            engine.notsent_lowat.store(lowat, Relaxed);
        }
    };
    if let Some(program) = engine.sweeper.settle_in(prepare) {
        let sweep = Sweep {
            engine,
            stats: engine.table.claim(),
            program,
        };
        sweep.run();
    }
}

/// The thread's own view.
struct Sweep<'a> {
    engine: &'a Engine,
    stats: &'a stats::Slot,
    /// The program's descriptor table, where the thread has one of its own.
    program: Option<Program>,
}

impl Sweep<'_> {
    fn side(&self) -> Side<'_> {
        Side::Sweeper(self.program.as_ref())
    }

    fn run(&self) {
        let me = &self.engine.sweeper;
        let mut idle = 0;
        let mut alert = 0u32;
        // Something was in custody at the last look.
        let mut seen = false;
        let mut residues = Backoff::new();
        while me.state.load(SeqCst) != STOPPING {
            // What rings after this ends the next sleep at once.
            let bell = me.bell.load(SeqCst);
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
                if self.has_custody() {
                    let _ = me.state.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst);
                    idle = 0;
                    continue;
                }
            }
            let short = seen || alert > 0 || self.engine.residues.take_starving();
            let limit = match self.engine.residues.count() {
                0 if asleep => None,
                0 if short => Some(TICK_NS),
                0 => Some(LONG_NS),
                _ if short => Some(TICK_NS),
                _ => Some(residues.limit()),
            };
            let limit = limit.map(|tv_nsec| Timespec { tv_sec: 0, tv_nsec });
            me.bell.wait(bell, limit.as_ref());
            if asleep {
                let _ = me.state.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst);
                idle = 0;
            }
            me.answer(|| self.engine.residues.hand_off(self.side()));
            if self.engine.residues.count() > 0 {
                residues.step(|| self.serve());
            }
            let (busy, fresh, overdue) = self.look();
            alert = if overdue {
                ALERT_TICKS
            } else {
                alert.saturating_sub(1)
            };
            // One check after a look that saw something; then a long tick
            // again, or a busy server would have the short ones all the time.
            seen = fresh && !seen;
            idle = if busy || overdue || alert > 0 {
                0
            } else {
                idle + 1
            };
        }
        self.serve();
        me.answer(|| self.engine.residues.hand_off(self.side()));
    }

    /// The file after a head takes long: the head goes without it.
    fn push(&self, seg: &Segment, fd: i32) {
        if seg.held.compare_exchange(fd, -1, SeqCst, SeqCst).is_ok() {
            let by = Flusher {
                stats: self.stats,
                program: self.program.as_ref(),
            };
            let corked = |slot: &Slot| slot.state() & bits::CORK_REAL != 0;
            if !self.engine.slots.get(fd).is_some_and(corked) {
                by.reach(fd, |fd| {
                    let _ = rustix::net::sockopt::set_tcp_cork(borrow(fd), false);
                });
            }
        }
    }

    /// Whether something is in custody. Where a thread is inside at the
    /// moment, something may be; nobody waits for it here.
    fn has_custody(&self) -> bool {
        self.engine
            .segments()
            .any(|s| s.custody.try_lock().is_none_or(|c| c.n != 0))
    }

    /// A round over the residues; whether one of them came to an end.
    fn serve(&self) -> bool {
        let before = self.engine.residues.count();
        self.engine.residues.serve(self.side(), |fd, id, end| {
            self.engine.residue_over(fd, id, end);
        });
        self.engine.residues.count() < before
    }

    /// A look at every thread's custody: whether work is going on, something
    /// is there, and something was overdue, which is flushed.
    fn look(&self) -> (bool, bool, bool) {
        let me = &self.engine.sweeper;
        let now = me.tick.fetch_add(1, SeqCst) + 1;
        let (mut busy, mut fresh, mut overdue) = (false, false, false);
        for seg in self.engine.segments() {
            // A stamp of the last two ticks means work is going on.
            busy |= now.wrapping_sub(seg.since.load(Relaxed)) < 3;
            let late = now.wrapping_sub(seg.since.load(Relaxed)) >= me.age;
            let held = seg.held.load(Acquire);
            if held >= 0 {
                fresh = true;
                overdue |= late;
                if late {
                    self.push(seg, held);
                }
            }
            if seg.pending.load(Acquire) == 0 {
                continue;
            }
            if !late {
                fresh = true;
                continue;
            }
            if let Some(mut c) = seg.custody.try_lock() {
                let by = Flusher {
                    stats: self.stats,
                    program: self.program.as_ref(),
                };
                self.engine
                    .flush_by(seg, &mut c, &by, Counter::FlushAge, None);
            }
            overdue = true;
        }
        (busy, fresh, overdue)
    }
}

/// How long the sweeper waits between two tries to send residues: longer and
/// longer while nothing comes of them.
struct Backoff(i64);

impl Backoff {
    const fn new() -> Self {
        Backoff(TICK_NS)
    }

    fn limit(&self) -> i64 {
        self.0
    }

    fn step(&mut self, serve: impl FnOnce() -> bool) {
        self.0 = if serve() {
            TICK_NS
        } else {
            (self.0 * 2).min(LONG_NS)
        };
    }
}

#[cfg(loom)]
impl Engine {
    /// Is the sweeper until [`Engine::stop_sweeping`].
    pub fn sweep(&self) {
        let sweep = Sweep {
            engine: self,
            stats: self.table.claim(),
            program: None,
        };
        sweep.run();
    }

    /// Ends [`Engine::sweep`].
    pub fn stop_sweeping(&self) {
        self.sweeper.stop(&self.fork_mark);
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

    /// The descriptor table of the calling thread of the program.
    pub(crate) fn side(&self) -> Side<'static> {
        Side::Program {
            shared: self.sweeper.shares_table(),
        }
    }
}
