//! What differs between processors. Each subject has a file that says it and
//! one for each processor.

pub(crate) mod block;
pub(crate) mod trampoline;
