//! The interposed functions, by subject. To add one: a few lines in the file
//! of its subject, in the form of its neighbours.

mod connect;
mod descriptors;
mod effects;
mod identity;
mod jail;
pub(crate) mod life;
#[cfg(target_env = "gnu")]
pub(crate) mod loader;
mod makers;
mod messages;
mod options;
mod positioned;
mod raw;
mod reads;
mod sched;
mod socket;
mod threads;
mod waits;
mod writes;

/// Whether something was loaded that reaches descriptors past the library.
pub(crate) fn are_passed_by() -> bool {
    #[cfg(target_env = "gnu")]
    return loader::is_retired();
    #[cfg(not(target_env = "gnu"))]
    false
}
