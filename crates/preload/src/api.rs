//! The published interface (`include/esca.h`): explicit segments.

use crate::process;
use crate::real::set_errno;
use crate::thread::enter;
use libc::{EBUSY, EINVAL, ENOSYS, c_int, c_long, c_ulong};

/// `struct esca_result` of esca.h.
#[repr(C)]
pub struct EscaResult {
    fd: c_int,
    op: c_int,
    result: c_long,
}

/// Makes the engine now rather than at the first wait; 0, or -1 with ENOSYS
/// where the library cannot work.
#[unsafe(no_mangle)]
pub extern "C" fn esca_init() -> c_int {
    if process::activate() {
        0
    } else {
        set_errno(ENOSYS)
    }
}

/// Begins an explicit segment on the calling thread; `events` is a hint of
/// how many operations follow. -1 with EBUSY if one is open.
#[unsafe(no_mangle)]
pub extern "C" fn batch_start(events: c_int) -> c_int {
    process::activate();
    match enter() {
        None => set_errno(ENOSYS),
        Some(i) if i.begin(i.seg, events.max(0) as usize) => 0,
        Some(_) => set_errno(EBUSY),
    }
}

/// Ends the segment: everything goes to the kernel. The number of operations
/// it had, or -1 with EINVAL if none is open.
#[unsafe(no_mangle)]
pub extern "C" fn batch_flush() -> c_int {
    match enter().and_then(|i| i.end(i.seg)) {
        Some(n) => n as c_int,
        None => set_errno(EINVAL),
    }
}

/// Copies the results of the thread's last explicit segment; gives how many
/// there are.
///
/// # Safety
/// `out` has room for `n` results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esca_results(out: *mut EscaResult, n: c_ulong) -> c_long {
    let Some(i) = enter() else { return 0 };
    let total = i.results(i.seg, |k, r| {
        if (k as c_ulong) < n && !out.is_null() {
            let op = match r.kind {
                esca_engine::OpKind::Sendfile => 2,
                esca_engine::OpKind::Shutdown => 3,
                esca_engine::OpKind::Close => 4,
                _ => 1,
            };
            // SAFETY: k < n, so inside the caller's array.
            unsafe {
                out.add(k).write(EscaResult {
                    fd: r.fd,
                    op,
                    result: r.result,
                });
            }
        }
    });
    total as c_long
}
