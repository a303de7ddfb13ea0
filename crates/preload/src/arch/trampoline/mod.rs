//! Trampolines in front of functions that cannot be written in Rust (variadic
//! ones, and vfork, which returns twice). Each runs a hook of `calls/life.rs`
//! with the caller's first argument, gets the address of the function behind,
//! and jumps there with every register and the stack as the caller left them.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
