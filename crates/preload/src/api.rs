//! The interface of `include/esca.h`: the published one (explicit segments),
//! and the results that it lacks.

use crate::process;
use crate::real::set_errno;
use crate::thread::enter;
use esca_engine::OpKind;
use libc::{ENOSYS, c_int, c_long, c_ulong};

/// `struct esca_result` of esca.h.
#[repr(C)]
pub struct EscaResult {
    fd: c_int,
    op: c_int,
    result: c_long,
}

/// `long esca_init(void)`: makes the engine now rather than at the first wait.
/// -1 with ENOSYS where it cannot be had; 0 where the user does not want it.
#[unsafe(no_mangle)]
pub extern "C" fn esca_init() -> c_long {
    if process::is_declined() || process::activate() {
        0
    } else {
        set_errno(ENOSYS).into()
    }
}

/// `long batch_start(int events)`: begins a segment on the calling thread. One
/// that is open ends before. Programs may call it without the argument, so
/// `events` may be anything: it is a hint for memory, within bounds, and no
/// more.
#[unsafe(no_mangle)]
pub extern "C" fn batch_start(events: c_int) -> c_long {
    if process::is_declined() || !process::activate() {
        return 0;
    }
    if let Some(i) = enter() {
        let hint = usize::try_from(events).unwrap_or(0);
        if !i.begin(i.seg, hint) {
            i.end(i.seg);
            i.begin(i.seg, hint);
        }
    }
    0
}

/// `long batch_flush(void)`: ends the segment; everything goes to the kernel.
/// The number of operations it had, 0 where none is open.
#[unsafe(no_mangle)]
pub extern "C" fn batch_flush() -> c_long {
    let operations = enter().and_then(|i| i.end(i.seg));
    operations.unwrap_or(0) as c_long
}

/// `long esca_results(struct esca_result *out, unsigned long n)`: copies the
/// results of the thread's last segment and tells how many; without room for
/// any, how many there are.
///
/// # Safety
/// `out` is null or has room for `n` results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esca_results(out: *mut EscaResult, n: c_ulong) -> c_long {
    let Some(i) = enter() else { return 0 };
    let room = if out.is_null() { 0 } else { n as usize };
    let total = i.results(i.seg, |k, r| {
        if k < room {
            let op = match r.kind {
                OpKind::Sendfile => 2,
                OpKind::Shutdown => 3,
                OpKind::Close => 4,
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
    let told = if room == 0 { total } else { total.min(room) };
    told as c_long
}
