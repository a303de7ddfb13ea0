//! `libshim.so`: the symbols of `esca.h` for programs linked against them
//! that run without ESCA. Under the preload library its definitions of the
//! same names come first and these are never called.

use esca::{RawResult, fallback};
use std::ffi::{c_int, c_long, c_ulong};

/// `long esca_init(void)`.
#[unsafe(no_mangle)]
pub extern "C" fn esca_init() -> c_long {
    fallback::init()
}

/// `long batch_start(int events)`.
#[unsafe(no_mangle)]
pub extern "C" fn batch_start(events: c_int) -> c_long {
    fallback::start(events)
}

/// `long batch_flush(void)`.
#[unsafe(no_mangle)]
pub extern "C" fn batch_flush() -> c_long {
    fallback::flush()
}

/// `long esca_results(struct esca_result *out, unsigned long n)`.
#[unsafe(no_mangle)]
pub extern "C" fn esca_results(_out: *mut RawResult, _n: c_ulong) -> c_long {
    0
}
