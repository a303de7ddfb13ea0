//! `libesca_preload.so`: interposes the C library's calls, finds the segments
//! of an unmodified program by itself, and asks the engine what to do.
//!
//! Each interposed function is a few lines in `calls/`; what they share
//! stands in `real.rs` (the functions behind ours), `thread.rs` (the calling
//! thread's segment) and `process.rs` (start, activation, end).
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
// A panic in an interposed call would end the program.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo
)]
#![allow(clippy::missing_safety_doc)] // Each has the contract of its namesake.

mod api;
mod arch;
mod calls;
#[cfg(target_env = "gnu")]
mod elf;
mod origin;
mod other_stack;
mod process;
mod real;
mod say;
mod secure;
mod stats;
mod stats_file;
mod thread;
mod wiped;
