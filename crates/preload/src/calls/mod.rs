//! The interposed functions, by subject. To add one: a few lines in the file
//! of its subject, in the form of its neighbours.

mod descriptors;
mod effects;
mod jail;
pub(crate) mod life;
mod makers;
mod options;
mod positioned;
mod raw;
mod reads;
mod socket;
mod threads;
mod waits;
mod writes;
