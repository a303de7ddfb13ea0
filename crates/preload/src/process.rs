//! The process: reading the settings at start, making the engine at the first
//! wait, ending it.

use crate::{origin, stats, thread};
use esca_engine::Engine;
use esca_engine::settings::{BackendKind, Policy, Settings};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::*};

static ENGINE: AtomicPtr<Engine> = AtomicPtr::new(std::ptr::null_mut());

/// Descriptors the engine knows at most; those above go straight through.
const DESCRIPTORS: u64 = 1 << 20;

const OFF: u32 = 0;
const DORMANT: u32 = 1;
const STARTING: u32 = 2;
const ACTIVE: u32 = 3;
static STATE: AtomicU32 = AtomicU32::new(OFF);
/// Settings as read at start; a program may clear its environment.
static POLICY: AtomicU32 = AtomicU32::new(0);
static RULES: AtomicU32 = AtomicU32::new(0);
static BACKEND: AtomicU32 = AtomicU32::new(0);
static THREAD_KEY: AtomicU32 = AtomicU32::new(u32::MAX);
/// The program has started threads; or the one it was forked from has.
static THREADS: AtomicBool = AtomicBool::new(false);

/// The engine, once there is one.
#[inline]
pub(crate) fn engine() -> Option<&'static Engine> {
    // SAFETY: stored once, from a leaked box.
    unsafe { ENGINE.load(Acquire).as_ref() }
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;

/// The constructor: reads the environment, and makes no system call.
extern "C" fn start() {
    let var = |name| std::env::var(name).ok();
    let (p, r, b) = (var("ESCA_POLICY"), var("ESCA_RULES"), var("ESCA_BACKEND"));
    match Settings::from_values(p.as_deref(), r.as_deref(), b.as_deref()) {
        Ok(s) => {
            POLICY.store(s.policy as u32, Relaxed);
            RULES.store(s.rules.bits(), Relaxed);
            BACKEND.store(s.backend as u32, Relaxed);
            stats::open();
            // SAFETY: a function that lives as long as the process.
            unsafe { libc::pthread_atfork(None, None, Some(origin::forget_all)) };
            STATE.store(DORMANT, Release);
        }
        Err(e) => eprintln!("esca: {e}; running without ESCA"),
    }
}

extern "C" fn end() {
    finish();
}

/// Called by every wait: the first makes the engine.
#[inline]
pub(crate) fn wake() {
    if STATE.load(Relaxed) == DORMANT && POLICY.load(Relaxed) != Policy::Off as u32 {
        activate();
    }
}

/// Makes the engine, once; false if there is none.
#[cold]
pub(crate) fn activate() -> bool {
    if STATE
        .compare_exchange(DORMANT, STARTING, AcqRel, Acquire)
        .is_err()
    {
        return engine().is_some();
    }
    thread::uninterposed(|| {
        let settings = Settings {
            policy: Policy::from_number(POLICY.load(Relaxed)),
            rules: esca_engine::settings::RuleSet::from_bits(RULES.load(Relaxed)),
            backend: BackendKind::from_number(BACKEND.load(Relaxed)),
        };
        stats::ensure();
        match Engine::new(settings, descriptors(), stats::table()) {
            Ok(e) => {
                let e = e.with_own_thread(thread::own).with_origin(origin::is_given);
                let e = if crate::calls::are_passed_by() {
                    e.without_promises()
                } else {
                    e
                };
                hooks();
                stats::table().processes.fetch_add(1, Relaxed);
                if THREADS.load(Acquire) {
                    e.before_thread();
                }
                ENGINE.store(Box::into_raw(Box::new(e)), Release);
                STATE.store(ACTIVE, Release);
                true
            }
            Err(e) => {
                eprintln!("esca: no memory for the stream table ({e}); running without ESCA");
                STATE.store(OFF, Release);
                false
            }
        }
    })
}

fn descriptors() -> usize {
    let mut l = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a local struct.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut l) };
    l.rlim_max.clamp(1024, DESCRIPTORS) as usize
}

/// The calling thread is about to start another one: perhaps before there is
/// an engine, and never in the middle of a call that sends. The sweeper, which
/// the library starts, sends nothing for the program.
pub(crate) fn before_thread() {
    if thread::interrupted() {
        return;
    }
    THREADS.store(true, Release);
    if let Some(engine) = engine() {
        engine.before_thread();
    }
}

/// Before a thread or a process that the library cannot follow.
pub(crate) fn before_raw_clone() {
    before_thread();
    if let Some(engine) = engine() {
        engine.gives_streams_away();
    }
}

/// Hooks into fork and into the end of threads.
fn hooks() {
    let mut key = 0;
    // SAFETY: functions that live as long as the process.
    unsafe {
        libc::pthread_atfork(
            Some(before_fork),
            Some(after_fork_parent),
            Some(after_fork_child),
        );
        if libc::pthread_key_create(&raw mut key, Some(thread_end)) == 0 {
            THREAD_KEY.store(key, Release);
        }
    }
}

unsafe extern "C" fn before_fork() {
    thread::before_fork();
}
unsafe extern "C" fn after_fork_parent() {
    thread::after_fork_parent();
}
unsafe extern "C" fn after_fork_child() {
    thread::after_fork_child();
}
unsafe extern "C" fn thread_end(p: *mut libc::c_void) {
    thread::end(p);
}

/// Has [`thread::end`] called when the calling thread ends.
pub(crate) fn at_thread_end(value: *mut libc::c_void) {
    let key = THREAD_KEY.load(Acquire);
    if key != u32::MAX {
        // SAFETY: the key exists; any non-null value has the destructor run.
        unsafe { libc::pthread_setspecific(key, value) };
    }
}

/// The process is about to have its system calls filtered, perhaps by a filter
/// that kills. What the library does for itself (a thread, its descriptors, a
/// send where the program wrote) may not be among those that are left, so it
/// is gone from here on, in this process and in those it forks.
pub(crate) fn step_aside() {
    while STATE.load(Acquire) == STARTING {
        // Another thread's first wait.
        std::thread::yield_now();
    }
    if STATE.swap(OFF, AcqRel) == OFF {
        return;
    }
    if let Some(inside) = thread::enter() {
        inside.step_aside(inside.seg.stats());
    } else if let Some(engine) = engine() {
        // A signal handler that interrupted the library.
        engine.last_chance();
    }
    ENGINE.store(std::ptr::null_mut(), Release);
    thread::uninterposed(stats::close);
}

/// The process ends: all to the kernel, no promises any more, and the
/// statistics to their file.
pub(crate) fn finish() {
    if let Some(inside) = thread::enter() {
        inside.before_exit(inside.seg.stats());
        stats::write();
    } else if let Some(engine) = engine() {
        if thread::interrupted() {
            engine.last_chance();
        }
    } else {
        // A master that never waited writes what its workers counted.
        thread::uninterposed(stats::write);
    }
}
