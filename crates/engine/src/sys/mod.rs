//! What the engine asks of the kernel past the C library: memory, threads of
//! its own, and the few calls that rustix does not have.

mod call;
pub(crate) mod fd;
pub(crate) mod fork_mark;
pub(crate) mod memory;
pub(crate) mod sched;
pub(crate) mod socket;
pub(crate) mod table;
pub(crate) mod thread;

pub(crate) use memory::{Mapping, map_private, map_shared, unmap};
