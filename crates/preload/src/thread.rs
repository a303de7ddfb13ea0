//! The calling thread: its segment, and whether it is inside the library.

use crate::arch::block;
use crate::process;
use esca_engine::{Engine, Segment};
use std::cell::Cell;
use std::ops::Deref;
use std::ptr::null;

/// What the library keeps for each thread. Zeroes are a new thread's.
struct Thread {
    segment: Cell<*const Segment>,
    /// Inside the library: what is called from here (or from a signal handler
    /// that interrupts) goes straight through.
    inside: Cell<bool>,
    /// The process that called vfork in this thread, until it is seen again.
    vforked: Cell<i32>,
}

const _: () = assert!(size_of::<Thread>() <= block::SIZE && align_of::<Thread>() <= block::ALIGN);

impl Thread {
    /// Has `f` see the calling thread's. No allocation, no destructor, no
    /// registration: usable in a signal handler.
    #[inline(always)]
    fn with<R>(f: impl FnOnce(&Thread) -> R) -> R {
        // SAFETY: the block is the thread's own for as long as that lives,
        // large enough and aligned (asserted above), begins as zeroes, and
        // nothing else is made of it; the reference does not leave `f`, and
        // cells are not for other threads.
        f(unsafe { &*block::address().cast::<Thread>() })
    }
}

/// Being inside the library, with an engine and a segment.
pub(crate) struct Inside {
    pub engine: &'static Engine,
    pub seg: &'static Segment,
}

impl Deref for Inside {
    type Target = Engine;
    #[inline]
    fn deref(&self) -> &Engine {
        self.engine
    }
}

impl Inside {
    /// Goes out again; the engine and the thread's segment, for a look that
    /// takes no lock.
    #[inline]
    pub fn leave(self) -> (&'static Engine, &'static Segment) {
        (self.engine, self.seg)
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        Thread::with(|t| t.inside.set(false));
    }
}

/// Enters the library; `None` where the call is to go straight through: no
/// engine yet, inside already, in a vfork child, or no segment to be had.
#[inline]
pub(crate) fn enter() -> Option<Inside> {
    let engine = match process::engine() {
        Some(engine) => engine,
        None => process::engine_of_child()?,
    };
    Thread::with(|t| {
        if t.inside.get() || t.vforked.get() != 0 && in_vfork_child(t) {
            return None;
        }
        t.inside.set(true);
        let seg = t.segment.get();
        let seg = if seg.is_null() {
            claim(engine, t)
        } else {
            // SAFETY: segments live as long as the engine, which is never
            // freed.
            Some(unsafe { &*seg })
        };
        if seg.is_none() {
            t.inside.set(false);
        }
        Some(Inside { engine, seg: seg? })
    })
}

#[cold]
fn in_vfork_child(t: &Thread) -> bool {
    // SAFETY: no arguments.
    let child = unsafe { libc::getpid() } != t.vforked.get();
    if !child {
        t.vforked.set(0);
    }
    child
}

#[cold]
fn claim(engine: &'static Engine, t: &Thread) -> Option<&'static Segment> {
    let seg = engine.enter_thread()?;
    t.segment.set(seg);
    process::at_thread_end(std::ptr::from_ref(seg).cast_mut().cast());
    Some(seg)
}

/// At a thread's end: its custody goes out and its segment is free again.
pub(crate) extern "C" fn end(_: *mut libc::c_void) {
    let Some(inside) = enter() else { return };
    Thread::with(|t| t.segment.set(null()));
    inside.leave_thread(inside.seg);
}

/// Runs `f` as if inside: what it calls is not interposed.
pub(crate) fn uninterposed<R>(f: impl FnOnce() -> R) -> R {
    Thread::with(|t| {
        let was = t.inside.replace(true);
        let r = f();
        t.inside.set(was);
        r
    })
}

/// The calling thread's segment, if it has one.
pub(crate) fn segment() -> Option<&'static Segment> {
    // SAFETY: segments live as long as the engine, which is never freed.
    Thread::with(|t| unsafe { t.segment.get().as_ref() })
}

/// Whether a signal handler is running that interrupted the library.
pub(crate) fn interrupted() -> bool {
    Thread::with(|t| t.inside.get() && t.vforked.get() == 0)
}

/// A call on `fd` that went past [`enter`]: makes sure that it cannot
/// overtake custody. False: it must fail with EAGAIN, because a signal
/// handler interrupted the library while it holds bytes of that stream.
#[inline]
pub(crate) fn may_bypass(fd: i32) -> bool {
    match process::engine() {
        None => true,
        Some(engine) => Thread::with(|t| {
            if t.vforked.get() != 0 {
                true
            } else if t.inside.get() {
                !engine.in_custody(fd)
            } else {
                engine.settle_for_stranger(fd);
                true
            }
        }),
    }
}

/// Whether this is a vfork child, in its parent's memory.
pub(crate) fn in_vfork() -> bool {
    Thread::with(|t| t.vforked.get() != 0 && in_vfork_child(t))
}

/// The process has memory of its own, though its parent may have called vfork
/// before it forked.
pub(crate) fn is_no_vfork_child() {
    Thread::with(|t| t.vforked.set(0));
}

/// The engine of the process whose memory this vfork child runs in.
pub(crate) fn parent_of_vfork() -> Option<&'static Engine> {
    let engine = process::engine()?;
    Thread::with(|t| (t.vforked.get() != 0 && in_vfork_child(t)).then_some(engine))
}

/// Runs a call that forks: everything goes to the kernel before, and nothing
/// is promised until it is back. The child needs no hook ([`crate::wiped`]).
/// `leaves` says that the parent ends inside the call. `plain` gives 0 in the
/// child.
pub(crate) fn forks(leaves: bool, plain: impl FnOnce() -> i32) -> i32 {
    let engine = enter().map(|inside| {
        let stats = inside.seg.stats();
        if leaves {
            inside.before_daemon(stats);
        } else {
            inside.before_fork(stats);
        }
        inside.engine
    });
    let r = plain();
    match engine {
        // The child looks after itself; a handler of pthread_atfork may have
        // had it do so already.
        Some(_) if r == 0 => {}
        Some(engine) => engine.after_fork_parent(),
        // A signal handler forked that interrupted the library.
        None => {
            if let Some(engine) = process::engine() {
                engine.has_forked();
            }
        }
    }
    r
}

/// Before vfork: the child runs in this memory until it execs or exits, so
/// its calls must not change what the library knows of the parent.
pub(crate) fn before_vfork() {
    if let Some(inside) = enter() {
        inside.before_spawn(inside.seg.stats());
    }
    // Also before there is an engine: a wait of the child must not make it.
    // Not inside a child, whose own child has the same memory.
    Thread::with(|t| {
        if !t.inside.get() && t.vforked.get() == 0 {
            // SAFETY: no arguments.
            t.vforked.set(unsafe { libc::getpid() });
        }
    });
}
