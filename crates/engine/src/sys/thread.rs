//! A thread that the C library does not know of.
//!
//! The program's own thread count stays what it is (its C library keeps its
//! paths for a single thread, and `pthread_exit` of its last thread ends the
//! process), and the kernel sees one user of the program's descriptor table
//! once this thread has left it ([`super::table`]).
//!
//! The price: code on this thread calls nothing of the C library but functions
//! of memory alone (memcpy), and allocates by mmap. Its thread-local memory is
//! a block of zeroes of its own, so that a stray access hurts nobody.

use super::call::{clone, result, syscall};
use super::{map_private, unmap};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering::*};

/// Room for the thread's calls: the deepest is a flush of a whole table.
const STACK: usize = 64 * 1024;
/// Room for thread-local variables on either side of the thread pointer.
const TLS: usize = 256 * 1024;
const LEN: usize = STACK + 2 * TLS;

/// The memory of such a thread; one at a time runs in it.
pub(crate) struct Block {
    base: *mut u8,
    /// The thread's id; the kernel clears it when the thread is done with its
    /// memory (`CLONE_CHILD_CLEARTID`).
    tid: AtomicU32,
}

// SAFETY: the mapping belongs to the value and is used by the thread alone.
unsafe impl Send for Block {}
// SAFETY: as above; the id is atomic.
unsafe impl Sync for Block {}

impl Block {
    pub const fn new() -> Self {
        Block {
            base: std::ptr::null_mut(),
            tid: AtomicU32::new(0),
        }
    }

    /// Starts a thread that runs `main(arg)` with all signals blocked, in the
    /// caller's descriptor table.
    ///
    /// # Errors
    /// Those of mmap(2) and clone(2).
    ///
    /// # Safety
    /// No other thread of this block runs. `main` obeys this file's rules, and
    /// `arg` is valid for it until [`Block::join`].
    pub unsafe fn start(
        &mut self,
        main: extern "C" fn(*mut c_void),
        arg: *mut c_void,
    ) -> rustix::io::Result<()> {
        if self.base.is_null() {
            self.base = map_private(LEN)?.cast();
        }
        // SAFETY: inside the mapping. x86-64 code finds the thread pointer's
        // own address behind it (`tcbhead_t` in sysdeps/x86_64/nptl/tls.h).
        let tls = unsafe {
            let tls = self.base.add(STACK + TLS);
            tls.cast::<*mut u8>().write(tls);
            tls.cast::<*mut u8>().add(2).write(tls);
            tls
        };
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID;
        let old = set_mask(u64::MAX);
        // SAFETY: the stack is the mapping's first part; tls and tid live as
        // long as this value, which the caller keeps until join.
        let started = result(unsafe {
            clone(
                flags as usize,
                self.base.add(STACK),
                tls,
                self.tid.as_ptr(),
                main,
                arg,
            )
        });
        set_mask(old);
        started.map(drop)
    }

    /// Waits until the thread is gone, for the kernel too: what wants a single
    /// thread (unshare(2), setns(2)) counts it until then.
    pub fn join(&self) {
        let tid = self.tid.load(Acquire);
        if tid == 0 {
            return;
        }
        while self.tid.load(Acquire) == tid {
            // Not private: the kernel wakes as for a shared futex (mm_release
            // in kernel/fork.c). An error means: look again.
            use rustix::thread::futex;
            let _ = futex::wait(&self.tid, futex::Flags::empty(), tid, None);
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: signal 0 only asks.
        let there = || unsafe { syscall(libc::SYS_tgkill, [pid as usize, tid as usize, 0, 0, 0]) };
        while there() != -(libc::ESRCH as isize) {
            rustix::thread::sched_yield();
        }
    }

    /// In a forked child: the thread is its parent's.
    pub fn forked(&mut self) {
        self.tid.store(0, Release);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if !self.base.is_null() {
            // SAFETY: mapped in start; the thread was joined.
            unsafe { unmap(self.base.cast(), LEN) };
        }
    }
}

/// No signal handler runs on the calling thread while this lives: it could
/// fork, and the child would wait for a thread that only its parent has; or
/// wait for a thread that waits for this one.
pub(crate) struct Quiet(u64);

impl Quiet {
    pub fn new() -> Self {
        Quiet(if cfg!(loom) { 0 } else { set_mask(u64::MAX) })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if !cfg!(loom) {
            set_mask(self.0);
        }
    }
}

/// Sets the calling thread's signal mask; the one before. Past the C library,
/// which keeps two signals out of every mask.
fn set_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    let set = libc::SIG_SETMASK as usize;
    let (new, at) = (&raw const mask, &raw mut old);
    // SAFETY: two local words, as large as the kernel's mask.
    unsafe {
        syscall(
            libc::SYS_rt_sigprocmask,
            [set, new.expose_provenance(), at.expose_provenance(), 8, 0],
        )
    };
    old
}

/// Makes a process that has the calling thread alone and a copy of its memory
/// and its descriptor table; nobody is told of its end. 0 in the child.
///
/// # Errors
/// Those of clone(2).
pub(crate) fn fork_quietly() -> rustix::io::Result<i32> {
    // SAFETY: a copy of everything; the child goes on on its copy of the stack.
    result(unsafe { syscall(libc::SYS_clone, [0; 5]) }).map(|pid| pid as i32)
}

/// Ends the calling process at once.
pub(crate) fn exit_group() -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { syscall(libc::SYS_exit_group, [0; 5]) };
    }
}
