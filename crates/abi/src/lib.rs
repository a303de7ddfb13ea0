//! The layouts that more than one program reads: the operation table (user
//! space and, behind a backend, the kernel) and the statistics (the preload
//! library and the tools). `no_std`, no dependency, so that any side can
//! compile it.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![warn(missing_docs)]

pub mod device;
pub mod json;
pub mod op;
pub mod stats;
pub mod status;
