//! The interposed functions, by subject. To add one: a few lines in the file
//! of its subject, in the form of its neighbours.

mod descriptors;
mod effects;
mod identity;
mod jail;
pub(crate) mod life;
mod messages;
mod options;
mod raw;
mod reads;
mod sched;
mod socket;
mod threads;
mod waits;
mod writes;
