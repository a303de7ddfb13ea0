//! Logic of `esca.ko`: walks a table of operations and has each carried out.
//!
//! No kernel type enters here: what needs one is a function of `ops.c`, behind
//! the [`walk::Kernel`] trait, so the tests run the same walker over a fake
//! kernel. No allocation, and no path that can panic: the object must not
//! refer to anything that the kernel does not export (`check.sh`).
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod cancelled;
// Its other half is in C: only in the module itself.
#[cfg(esca_module)]
mod glue;
pub mod setup;
pub mod walk;
