//! ESCA's engine: it takes bytes into custody, rewrites neighbouring
//! operations by rules, and hands them to the kernel through a backend.
//!
//! No interposition and no globals live here: the preload library asks an
//! [`Engine`] what to do with each call, and tests ask one in-process. The
//! map from the contract to this code is `docs/semantics.md`.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![warn(missing_docs)]

pub mod backend;
mod bytes;
mod classify;
mod closing;
mod connecting;
mod custody;
mod descriptors;
mod engine;
mod errno;
mod files;
mod flush;
mod flusher;
mod gather;
mod keep;
mod kin;
mod life;
mod lock;
pub mod memory;
mod numbers;
mod operation;
mod options;
mod outcome;
mod predict;
mod reads;
mod residue;
pub mod rules;
pub mod segment;
pub mod settings;
pub mod slot;
mod stream;
mod sweep;
mod sweeper;
mod sync;
mod sys;
mod trouble;
mod unknown;
mod waits;
mod watch;
mod writes;

pub use bytes::{Asks, Bytes, WriteCall};
pub use engine::{Cause, Engine, Verdict};
#[cfg(debug_assertions)]
pub use lock::taken as locks_taken;
pub use operation::{OpKind, SegmentResult};
pub use segment::Segment;

/// Whether the calling thread's system calls are filtered (seccomp(2)).
#[must_use]
pub fn is_filtered() -> bool {
    sys::sched::is_filtered()
}
