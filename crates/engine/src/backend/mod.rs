//! Who carries operations out: one small trait, one file a backend.
//!
//! A backend gets a table of [`Op`]s and leaves each one's own result in it.
//! `direct` makes a plain call for each; `kmod` has the kernel module run the
//! same table in one kernel entry.

mod device;
mod direct;
mod kmod;

pub use device::{Absent, Context, Device, Esca};
pub use direct::Direct;
pub use esca_abi::op::{F_LINK, F_MORE, Op, OpCode};
pub use kmod::Kmod;

use crate::settings::BackendKind;
use esca_abi::stats;
use std::sync::atomic::Ordering::Relaxed;

/// Carries out tables of operations.
pub trait Backend: Send + Sync {
    /// Runs `ops` in order without blocking and stores each one's result.
    /// Returns the kernel entries it took.
    ///
    /// # Safety
    /// Every address in the operations is valid for its opcode until the
    /// call returns.
    unsafe fn run(&self, ops: &mut [Op]) -> u32;

    /// Whether a table costs less than its operations one by one, so that it
    /// is worth waiting for the segment's end.
    fn gathers(&self) -> bool {
        false
    }

    /// Whether `fd` is a descriptor of the backend's.
    fn is_private(&self, _fd: i32) -> bool {
        false
    }

    /// In a forked child, which has one thread.
    fn forked(&self) {}
}

/// Whether the kernel module would serve this process.
///
/// # Errors
/// Why it would not.
pub fn probe() -> Result<(), Absent> {
    static COUNTS: stats::Table = stats::Table::new();
    Kmod::new(Esca, &COUNTS).map(drop)
}

/// The backend for `kind`. Where the kernel module cannot be had, `direct`,
/// and the statistics say why if somebody asked for it.
pub(crate) fn choose(kind: BackendKind, table: &'static stats::Table) -> Box<dyn Backend> {
    let (backend, number): (Box<dyn Backend>, _) = match kind {
        BackendKind::Direct => (Box::new(Direct), BackendKind::Direct),
        _ => match Kmod::new(Esca, table) {
            Ok(k) => (Box::new(k), BackendKind::Kmod),
            Err(why) => {
                if kind == BackendKind::Kmod || !why.is_ordinary() {
                    why.note(table);
                }
                (Box::new(Direct), BackendKind::Direct)
            }
        },
    };
    table.backend.store(number as u32, Relaxed);
    backend
}

/// What a full result of `op` would be.
///
/// # Safety
/// As for [`Backend::run`].
#[inline]
unsafe fn asked(op: &Op) -> u64 {
    if op.opcode == OpCode::SendMsg as u32 {
        // SAFETY: len iovecs at ptr (caller).
        let v =
            unsafe { std::slice::from_raw_parts(op.ptr as *const libc::iovec, op.len as usize) };
        v.iter().map(|p| p.iov_len as u64).sum()
    } else if op.opcode == OpCode::Send as u32 {
        op.len
    } else {
        0
    }
}

/// If `op` was linked and is short or failed, marks the operations of the same
/// stream in `rest` as cancelled.
///
/// # Safety
/// As for [`Backend::run`].
#[inline]
unsafe fn cancel_behind(op: &Op, rest: &mut [Op]) {
    if op.flags & F_LINK == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let full = op.result >= 0 && op.result as u64 >= unsafe { asked(op) };
    if !full {
        for o in rest.iter_mut().filter(|o| o.fd == op.fd) {
            o.result = CANCELLED;
        }
    }
}

const CANCELLED: i64 = -(libc::ECANCELED as i64);
