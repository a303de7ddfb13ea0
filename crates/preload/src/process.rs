//! The process: reading the settings at start, making the engine at the first
//! wait, ending it.

use crate::wiped::{self, ACTIVE, DORMANT, FRESH, OFF, STARTING, page};
use crate::{origin, other_stack, real, say, secure, stats, thread};
use esca_abi::status::Status;
use esca_engine::Engine;
use esca_engine::settings::{BackendKind, Policy, Settings};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::*};

/// The engine for forked children, which find none in their page.
static ENGINE: AtomicPtr<Engine> = AtomicPtr::new(std::ptr::null_mut());

/// Descriptors the engine knows at most; those above go straight through.
const DESCRIPTORS: u64 = 1 << 20;

/// The settings were good, and nothing has ended the library's work since.
static ON: AtomicBool = AtomicBool::new(false);
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
    // SAFETY: stored once, an engine that is never freed.
    unsafe { page().engine.load(Acquire).as_ref() }
}

/// The engine where [`engine`] finds none: a forked child's, that of its
/// parent, made its own now.
#[inline(never)]
pub(crate) fn engine_of_child() -> Option<&'static Engine> {
    if page().phase.load(Relaxed) == FRESH {
        adopt()
    } else {
        None
    }
}

#[cold]
fn adopt() -> Option<&'static Engine> {
    let phase = &page().phase;
    if !ON.load(Acquire) || thread::interrupted() {
        // Without the library; or a signal handler forked that interrupted the
        // library, which is to be left first.
        return None;
    }
    if phase
        .compare_exchange(FRESH, STARTING, AcqRel, Acquire)
        .is_err()
    {
        return engine();
    }
    thread::is_no_vfork_child();
    // SAFETY: as in engine.
    let Some(engine) = (unsafe { ENGINE.load(Acquire).as_ref() }) else {
        phase.store(DORMANT, Release);
        return None;
    };
    thread::uninterposed(|| {
        stats::forked();
        // SAFETY: this process's page was wiped, so a fork made it and nothing
        // was looked at since; one thread looks now, and is not inside.
        unsafe { engine.adopt(thread::segment()) };
    });
    page()
        .engine
        .store(std::ptr::from_ref(engine).cast_mut(), Release);
    phase.store(ACTIVE, Release);
    Some(engine)
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;

/// The constructor: reads the environment and does what may not be done later,
/// where a signal handler may have interrupted the program's allocator.
extern "C" fn start() {
    if secure::is_secure() {
        return;
    }
    let var = |name| std::env::var(name).ok();
    let (p, r, b) = (var("ESCA_POLICY"), var("ESCA_RULES"), var("ESCA_BACKEND"));
    match Settings::from_values(p.as_deref(), r.as_deref(), b.as_deref()) {
        Ok(s) => {
            POLICY.store(s.policy as u32, Relaxed);
            RULES.store(s.rules.bits(), Relaxed);
            BACKEND.store(s.backend as u32, Relaxed);
            stats::open();
            if s.policy != Policy::Off {
                other_stack::look();
            }
            real::find_all();
            if wiped::set_up() && make_key() {
                page().phase.store(DORMANT, Release);
                ON.store(true, Release);
            }
        }
        Err(e) => say::line(format_args!("esca: {e}; running without ESCA")),
    }
}

/// Has the end of threads be heard of.
fn make_key() -> bool {
    let mut key = 0;
    // SAFETY: a function that lives as long as the process.
    let made = unsafe { libc::pthread_key_create(&raw mut key, Some(thread_end)) } == 0;
    if made {
        THREAD_KEY.store(key, Release);
    }
    made
}

extern "C" fn end() {
    finish();
}

/// Called by every wait: the first makes the engine.
#[inline]
pub(crate) fn wake() {
    let phase = page().phase.load(Relaxed);
    if phase != ACTIVE && POLICY.load(Relaxed) != Policy::Off as u32 {
        if phase == FRESH {
            engine_of_child();
        }
        activate();
    }
}

/// Whether the user has the library change nothing (policy off or watch): then
/// explicit segments do not either.
pub(crate) fn is_declined() -> bool {
    let policy = Policy::from_number(POLICY.load(Relaxed));
    ON.load(Acquire) && matches!(policy, Policy::Off | Policy::Watch)
}

/// Makes the engine, once; false if there is none.
#[cold]
pub(crate) fn activate() -> bool {
    if thread::in_vfork() {
        return false;
    }
    let phase = &page().phase;
    if phase
        .compare_exchange(DORMANT, STARTING, AcqRel, Acquire)
        .is_err()
    {
        return engine().is_some();
    }
    thread::uninterposed(|| {
        let made = make_engine();
        match made {
            Some(e) => {
                ENGINE.store(std::ptr::from_ref(e).cast_mut(), Release);
                page().engine.store(ENGINE.load(Relaxed), Release);
            }
            None => ON.store(false, Release),
        }
        phase.store(if made.is_some() { ACTIVE } else { OFF }, Release);
        made.is_some()
    })
}

fn make_engine() -> Option<&'static Engine> {
    let settings = Settings {
        policy: Policy::from_number(POLICY.load(Relaxed)),
        rules: esca_engine::settings::RuleSet::from_bits(RULES.load(Relaxed)),
        backend: BackendKind::from_number(BACKEND.load(Relaxed)),
    };
    stats::ensure();
    let table = stats::table();
    if other_stack::is_there() {
        table.note(Status::OtherStack);
        return None;
    }
    let made = Engine::new(settings, descriptors(), table)
        .and_then(|engine| engine.with_origin(origin::is_given).install());
    let engine = match made {
        Ok(engine) => engine,
        Err(e) => {
            let errno = e.raw_os_error() as u32;
            table.noted.note(Status::NoMemory, errno);
            return None;
        }
    };
    if esca_engine::is_filtered() {
        // What a thread needs for a descriptor table of its own is seldom in a
        // filter's list, and some filters kill.
        engine.share_table();
    }
    table.processes.fetch_add(1, Relaxed);
    if THREADS.load(Acquire) {
        engine.before_thread();
    }
    if crate::calls::are_passed_by() {
        engine.retire();
    }
    Some(engine)
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
/// an engine, and never in the middle of a call that sends.
pub(crate) fn before_thread() {
    if thread::interrupted() {
        return;
    }
    THREADS.store(true, Release);
    if let Some(inside) = thread::enter() {
        inside.before_thread();
    }
}

/// Before a thread or a process that is made by a system call with these
/// `flags` of clone(2).
pub(crate) fn before_raw_clone(flags: i32) {
    let has = |flag| flags & flag != 0;
    if has(libc::CLONE_THREAD) {
        before_thread();
    }
    if has(libc::CLONE_VM) {
        if has(libc::CLONE_VFORK) && !has(libc::CLONE_THREAD) {
            // The child runs on this thread's memory, this thread waits.
            thread::before_vfork();
        } else if !has(libc::CLONE_THREAD) || !has(libc::CLONE_SETTLS) {
            // Two at a time, with one thread's memory: they can't be told
            // apart.
            step_aside();
        }
        return;
    }
    if let Some(inside) = thread::enter() {
        // What the child promises it promises by itself.
        inside.gives_streams_away();
        inside.flush_everything(inside.seg.stats(), esca_engine::Cause::FlushLife);
    }
}

/// Whether the calling thread may be the process's only one.
fn is_alone() -> bool {
    !THREADS.load(Acquire)
}

/// The calling thread ends without the C library, or is the process's first
/// and ends before others.
pub(crate) fn before_thread_exit(by_system_call: bool) {
    let Some(inside) = thread::enter() else {
        return;
    };
    // SAFETY: no arguments.
    let first = unsafe { libc::getpid() == libc::gettid() };
    if is_alone() {
        if by_system_call {
            // Nothing else would end the sweeper, nor so the process.
            inside.step_aside(inside.seg.stats());
            stats::write();
        }
    } else if first {
        inside.leader_ends(inside.seg.stats());
    } else {
        inside.flush(
            inside.seg,
            inside.seg.stats(),
            esca_engine::Cause::FlushLife,
        );
    }
}

/// Runs a call for which the process must have one thread, or that changes
/// what a new one inherits, with the sweeper stopped. `splits` says that the
/// calling thread gets a descriptor table of its own.
pub(crate) fn without_sweeper<R>(splits: bool, plain: impl FnOnce() -> R) -> R {
    if splits && !is_alone() {
        // A number means one thing here and another there from now on.
        step_aside();
    }
    let engine = thread::enter().map(|inside| {
        inside.stop_sweeper(inside.seg.stats());
        inside.engine
    });
    let r = plain();
    if let Some(engine) = engine {
        engine.resume();
    }
    r
}

/// The program runs under a real-time policy from here on: the sweeper might
/// never get a turn, so nothing is promised.
pub(crate) fn is_real_time() {
    if let Some(inside) = thread::enter() {
        stats::table().note(Status::RealTime);
        inside.retire();
        inside.flush_everything(inside.seg.stats(), esca_engine::Cause::FlushLife);
    }
}

unsafe extern "C" fn thread_end(p: *mut libc::c_void) {
    thread::end(p);
}

/// Has [`thread::end`] called when the calling thread ends.
pub(crate) fn at_thread_end(value: *mut libc::c_void) {
    let key = THREAD_KEY.load(Acquire);
    // SAFETY: the key exists; any non-null value has the destructor run.
    unsafe { libc::pthread_setspecific(key, value) };
}

/// The process is about to have its system calls filtered, perhaps by a filter
/// that kills, or its threads will no longer share what the library relies on.
/// The library is gone from here on, in this process and in those it forks.
pub(crate) fn step_aside() {
    if thread::in_vfork() {
        // The child alone; what the library knows is its parent's.
        return;
    }
    let phase = &page().phase;
    while phase.load(Acquire) == STARTING {
        // Another thread's first wait.
        std::thread::yield_now();
    }
    ON.store(false, Release);
    if phase.swap(OFF, AcqRel) != ACTIVE {
        return;
    }
    if let Some(inside) = thread::enter() {
        inside.step_aside(inside.seg.stats());
    } else if let Some(engine) = engine() {
        // A signal handler that interrupted the library.
        engine.last_chance();
    }
    page().engine.store(std::ptr::null_mut(), Release);
    stats::table().note(Status::Filter);
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
