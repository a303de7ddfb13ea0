//! Backend `kmod`: the kernel module runs a whole table in one kernel entry.
//!
//! One context a thread, as far as there are places: a thread's number is its
//! place, and a place that is taken (another thread has the same number, or
//! the sweeper flushes for somebody) is passed over. A forked child may not use
//! its parent's contexts, nor does it have their tables: a page that fork wipes
//! tells it, and it opens its own.

use super::device::{Absent, Context, Device};
use super::{Backend, CANCELLED, Direct, Op, OpCode, cancel_behind};
use crate::settings::BackendKind;
use crate::sys;
use esca_abi::op::NOT_DONE;
use esca_abi::stats;
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};

/// Contexts of a process at most.
const PLACES: usize = 64;
/// Operations in one kernel entry at most.
const MOST: usize = 256;
/// A single operation costs no less by table.
const FEWEST: usize = 2;
/// Bytes of the page that a fork wipes.
const PAGE: usize = 4096;

const FRESH: u32 = 0;
const RESETTING: u32 = 1;
const READY: u32 = 2;

/// One context and who has it.
struct Place {
    taken: AtomicBool,
    /// The context's descriptor, for those who only ask; -1 for none.
    fd: AtomicI32,
    context: UnsafeCell<Option<Context>>,
}

/// The kernel module.
pub struct Kmod<D: Device> {
    device: D,
    places: Box<[Place]>,
    /// [`READY`], and [`FRESH`] in a forked child.
    mark: &'static AtomicU32,
    /// Given up for good in this process: plain calls.
    gone: AtomicBool,
    table: &'static stats::Table,
}

// SAFETY: a context is touched only by the thread that took its place.
unsafe impl<D: Device> Sync for Kmod<D> {}
// SAFETY: as above; a context may be used by any thread of the process.
unsafe impl<D: Device> Send for Kmod<D> {}

/// The calling thread's number.
fn thread_number() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        // Constant and without a destructor: no allocation.
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    NUMBER.with(|n| {
        if n.get() == 0 {
            n.set(NEXT.fetch_add(1, Relaxed) | 1 << 31);
        }
        n.get() as usize
    })
}

/// A place that the calling thread has taken.
struct Taken<'a>(&'a Place);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, Release);
    }
}

impl Taken<'_> {
    fn context(&self) -> Option<Context> {
        // SAFETY: this thread has the place; the context is copied out.
        unsafe { *self.0.context.get() }
    }

    fn set(&self, context: Option<Context>) {
        self.0.fd.store(context.map_or(-1, |c| c.fd), Relaxed);
        // SAFETY: this thread has the place, and there are no references.
        unsafe { *self.0.context.get() = context };
    }
}

impl<D: Device> Kmod<D> {
    /// The backend on `device`, if that gives a context and runs it.
    ///
    /// # Errors
    /// Why it does not.
    pub fn new(device: D, table: &'static stats::Table) -> Result<Self, Absent> {
        let context = device.open()?;
        // Whether this task is served at all shows only when it runs.
        // SAFETY: no entry is run.
        if let Err(e) = unsafe { device.run(&context, 0) } {
            device.close(context, false);
            return Err(Absent::running(e));
        }
        let page = sys::map_private(PAGE).map_err(Absent::Failed)?;
        // SAFETY: the page just mapped, and no other.
        unsafe { madvise(page, PAGE, Advice::LinuxWipeOnFork) }.map_err(Absent::Failed)?;
        // SAFETY: a zeroed page that is never unmapped, aligned, and only used
        // as this.
        let mark = unsafe { &*page.cast::<AtomicU32>() };
        mark.store(READY, Release);
        let places: Box<[Place]> = (0..PLACES)
            .map(|_| Place {
                taken: AtomicBool::new(false),
                fd: AtomicI32::new(-1),
                context: UnsafeCell::new(None),
            })
            .collect();
        let me = Kmod {
            device,
            places,
            mark,
            gone: AtomicBool::new(false),
            table,
        };
        if let Some(t) = me.take() {
            t.set(Some(context));
        }
        Ok(me)
    }

    /// A place for the calling thread.
    fn take(&self) -> Option<Taken<'_>> {
        let first = thread_number();
        (0..PLACES)
            .map(|i| &self.places[(first + i) % PLACES])
            .find(|p| !p.taken.swap(true, Acquire))
            .map(Taken)
    }

    /// Whether contexts are this process's own; makes them so after a fork.
    #[inline]
    fn ready(&self) -> bool {
        self.mark.load(Acquire) == READY || self.reset()
    }

    /// In a forked child: lets go of the copies of the parent's contexts.
    #[cold]
    fn reset(&self) -> bool {
        if self
            .mark
            .compare_exchange(FRESH, RESETTING, AcqRel, Acquire)
            .is_err()
        {
            return self.mark.load(Acquire) == READY;
        }
        for p in &self.places {
            // Whoever had it in the parent is not in this process, and no
            // other thread gets beyond ready() before the mark says so.
            p.taken.store(true, Release);
            let t = Taken(p);
            if let Some(copy) = t.context() {
                t.set(None);
                self.device.close(copy, true);
            }
        }
        self.mark.store(READY, Release);
        true
    }

    #[cold]
    fn give_up(&self, why: Absent) {
        if !self.gone.swap(true, AcqRel) {
            self.table
                .backend
                .store(BackendKind::Direct as u32, Relaxed);
            why.note(self.table);
        }
    }

    /// Runs those of `ops` that have no result yet, as many as fit into one
    /// kernel entry; false if it cannot be done so.
    ///
    /// # Safety
    /// As for [`Backend::run`].
    unsafe fn enter(&self, taken: &Taken<'_>, ops: &mut [Op]) -> bool {
        let context = match taken.context() {
            Some(c) => c,
            None => match self.device.open() {
                Ok(c) => {
                    taken.set(Some(c));
                    c
                }
                Err(why) => {
                    self.give_up(why);
                    return false;
                }
            },
        };
        let room = MOST.min(context.entries as usize);
        let mut n = 0;
        for op in ops.iter().filter(|o| o.result == NOT_DONE).take(room) {
            // SAFETY: n < entries of the mapped table, which is ours.
            unsafe { context.table.add(n).write(for_the_kernel(op)) };
            n += 1;
        }
        // SAFETY: the entries are copies of the caller's operations.
        let done = match unsafe { self.device.run(&context, n as u32) } {
            Ok(done) if done > 0 => done as usize,
            Ok(_) => 0,
            Err(e) => {
                self.failed(taken, context, e);
                return false;
            }
        };
        let without = ops.iter_mut().filter(|o| o.result == NOT_DONE);
        for (at, op) in without.take(done.min(n)).enumerate() {
            // SAFETY: at < n, as above.
            op.result = unsafe { (*context.table.add(at)).result };
        }
        if ops.iter().any(|o| o.result == NOT_DONE) {
            // The run ended early, or the table was too short: what it would
            // have cancelled must not be made in the next one.
            let mut rest = ops;
            while let Some((op, behind)) = rest.split_first_mut() {
                if op.result != NOT_DONE {
                    // SAFETY: the caller's promise.
                    unsafe { cancel_behind(op, behind) };
                }
                rest = behind;
            }
        }
        done > 0
    }

    #[cold]
    fn failed(&self, taken: &Taken<'_>, context: Context, e: Errno) {
        match e {
            // Another thread runs it (a copy of the descriptor): plain calls
            // this once.
            Errno::BUSY => {}
            // The program closed our descriptor, or has made another file of
            // it: another one next time.
            Errno::BADF | Errno::NOTTY | Errno::INVAL | Errno::SPIPE | Errno::NXIO => {
                taken.set(None);
                self.device.close(context, false);
            }
            e => self.give_up(Absent::running(e)),
        }
    }
}

/// `op` as the table has it: without blocking, and without a signal.
#[inline]
fn for_the_kernel(op: &Op) -> Op {
    let mut op = *op;
    if op.opcode == OpCode::Send as u32 || op.opcode == OpCode::SendMsg as u32 {
        op.arg |= (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32;
    }
    op
}

impl<D: Device> Backend for Kmod<D> {
    unsafe fn run(&self, ops: &mut [Op]) -> u32 {
        if ops.len() < FEWEST || self.gone.load(Relaxed) || !self.ready() {
            // SAFETY: the caller's promise.
            return unsafe { Direct.run(ops) };
        }
        let Some(taken) = self.take() else {
            // SAFETY: as above.
            return unsafe { Direct.run(ops) };
        };
        ops.iter_mut().for_each(|o| o.result = NOT_DONE);
        let mut entries = 0;
        while ops.iter().any(|o| o.result == NOT_DONE) {
            // SAFETY: as above.
            if unsafe { self.enter(&taken, ops) } {
                entries += 1;
                continue;
            }
            let mut rest = &mut *ops;
            while let Some((op, behind)) = rest.split_first_mut() {
                if op.result == NOT_DONE {
                    // SAFETY: as above.
                    unsafe {
                        entries += Direct.run(std::slice::from_mut(op));
                        cancel_behind(op, behind);
                    }
                }
                rest = behind;
            }
        }
        debug_assert!(ops.iter().all(|o| o.result >= CANCELLED));
        entries
    }

    fn gathers(&self) -> bool {
        !self.gone.load(Relaxed)
    }

    fn is_private(&self, fd: i32) -> bool {
        fd >= 0 && self.places.iter().any(|p| p.fd.load(Relaxed) == fd)
    }

    fn forked(&self) {
        self.ready();
    }
}

impl<D: Device> Drop for Kmod<D> {
    fn drop(&mut self) {
        let ours = self.ready();
        for p in &mut self.places {
            if let Some(c) = p.context.get_mut().take().filter(|_| ours) {
                self.device.close(c, false);
            }
        }
        // SAFETY: the page of new; the reference ends with this value.
        unsafe { sys::unmap(std::ptr::from_ref(self.mark).cast_mut().cast(), PAGE) };
    }
}
