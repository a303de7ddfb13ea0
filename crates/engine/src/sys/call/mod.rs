//! System calls by instruction: nothing of the C library runs, so errno and
//! the program's thread-local memory stay untouched.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::{clone, syscall};
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{clone, syscall};

use rustix::io::Errno;

/// A raw result as what it means (`MAX_ERRNO` in include/linux/err.h).
pub(super) fn result(raw: isize) -> rustix::io::Result<usize> {
    match raw {
        -4095..=-1 => Err(Errno::from_raw_os_error(-raw as i32)),
        n => Ok(n as usize),
    }
}
