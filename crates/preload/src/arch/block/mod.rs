//! A block of each thread's static memory, found by two or three instructions.
//!
//! The standard library's thread locals are for libraries that may be loaded
//! late: each access in one calls the dynamic linker (`__tls_get_addr`), some
//! 11 instructions on cache lines of its own, for every interposed call. A
//! preloaded library is there at the start, where the initial-exec model works
//! (Drepper, "ELF Handling For Thread-Local Storage", 4.3): the block's place
//! behind the thread pointer is the same in every thread. Stable Rust has no
//! word for it, so it is written in assembly.

use std::arch::global_asm;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::address;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::address;

/// The block's size in bytes; it is aligned to [`ALIGN`] and begins as zeroes.
pub(crate) const SIZE: usize = 32;
/// Where it may begin.
pub(crate) const ALIGN: usize = 16;

global_asm!(
    ".pushsection .tbss.esca_thread, \"awT\", %nobits",
    ".globl esca_thread",
    ".hidden esca_thread",
    ".type esca_thread, %object",
    ".size esca_thread, {size}",
    ".balign {align}",
    "esca_thread:",
    ".zero {size}",
    ".popsection",
    size = const SIZE,
    align = const ALIGN,
);
