//! Who carries operations out: one small trait, one file a backend.
//!
//! A backend gets a table of [`Op`]s and leaves each one's own result in it.
//! `direct` makes a plain call for each; a kernel module or io_uring can run
//! the same table in one kernel entry.

mod direct;

pub use direct::Direct;
pub use esca_abi::op::{F_LINK, F_MORE, Op, OpCode};

/// Carries out tables of operations.
pub trait Backend: Send + Sync {
    /// Runs `ops` in order without blocking and stores each one's result.
    /// Returns the kernel entries it took.
    ///
    /// # Safety
    /// Every address in the operations is valid for its opcode until the
    /// call returns.
    unsafe fn run(&self, ops: &mut [Op]) -> u32;
}
