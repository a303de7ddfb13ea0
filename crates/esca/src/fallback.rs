//! The calls of `esca.h` without ESCA: nothing is kept, and misuse is refused
//! with the same errors. `libshim.so` is this with a C face.

use std::cell::Cell;

thread_local! {
    // Const and without a destructor: no allocation, usable at any time.
    static OPEN: Cell<bool> = const { Cell::new(false) };
}

/// `esca_init`: 0.
#[must_use]
pub fn init() -> i32 {
    0
}

/// `batch_start`: 0, or -1 with `EBUSY` when a segment is open.
#[must_use]
pub fn start(_events: i32) -> i32 {
    if OPEN.replace(true) {
        return fail(libc::EBUSY);
    }
    0
}

/// `batch_flush`: 0, or -1 with `EINVAL` when no segment is open.
#[must_use]
pub fn flush() -> i32 {
    if OPEN.replace(false) {
        return 0;
    }
    fail(libc::EINVAL)
}

fn fail(errno: i32) -> i32 {
    // SAFETY: the thread's own errno, valid as long as the thread lives.
    unsafe { *libc::__errno_location() = errno };
    -1
}
