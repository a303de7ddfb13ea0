//! Socket options and ioctl.

use crate::real::{errno, interpose, set_errno};
use crate::thread::{enter, may_bypass};
use esca_engine::{Verdict, memory};
use libc::{c_int, c_ulong, c_void, socklen_t};

interpose! {
    fn setsockopt(
        fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t,
    ) -> c_int, real {
        let verdict = match enter() {
            Some(i) => i.setsockopt(i.seg, fd, level, name, || memory::option_int(value, len)),
            None => {
                may_bypass(fd);
                Verdict::Pass
            }
        };
        if let Verdict::Ret(n) = verdict {
            return n as c_int;
        }
        // SAFETY: the program's own arguments.
        let n = unsafe { real(fd, level, name, value, len) };
        if n == 0 && let Some(i) = enter() {
            i.after_setsockopt(fd, level, name, || {
                (len as usize >= size_of::<c_int>() && !value.is_null())
                    // SAFETY: the kernel read as much there.
                    .then(|| unsafe { value.cast::<c_int>().read_unaligned() })
            });
        }
        n
    }

    fn getsockopt(
        fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t,
    ) -> c_int, real {
        if let Some(i) = enter() {
            i.before_getsockopt(i.seg, fd);
        }
        // SAFETY: the program's own arguments.
        let n = unsafe { real(fd, level, name, value, len) };
        if n == 0 && answered_here(level, name) && let Some(i) = enter() {
            // SAFETY: the kernel wrote the length, and as much of the value.
            unsafe { correct(value.cast(), len, |told| i.after_getsockopt(fd, level, name, told)) };
        }
        n
    }
}

/// The options of which the engine may know more than the kernel: ints.
#[inline]
fn answered_here(level: c_int, name: c_int) -> bool {
    matches!(
        (level, name),
        (libc::IPPROTO_TCP, libc::TCP_CORK) | (libc::SOL_SOCKET, libc::SO_ERROR)
    )
}

/// Puts what `instead` says in place of an int that the kernel gave, as much
/// of it as there is.
///
/// # Safety
/// `value` holds as much of an int as `len` says.
#[inline]
unsafe fn correct(
    value: *mut u8,
    len: *const socklen_t,
    instead: impl FnOnce(c_int) -> Option<c_int>,
) {
    let mut told = [0; size_of::<c_int>()];
    // SAFETY: the caller's promise; no more than an int.
    unsafe {
        let n = (len.read_unaligned() as usize).min(told.len());
        value.copy_to(told.as_mut_ptr(), n);
        if let Some(v) = instead(c_int::from_ne_bytes(told)) {
            value.copy_from(v.to_ne_bytes().as_ptr(), n);
        }
    }
}

interpose! { unchecked
    fn ioctl(fd: c_int, request: c_ulong, arg: *mut c_void) -> c_int, real {
        if request == libc::FIONBIO as c_ulong {
            // SAFETY: the program's own arguments.
            let n = unsafe { real(fd, request, arg) };
            if n == 0 && !arg.is_null() && let Some(i) = enter() {
                let e = errno();
                // SAFETY: the kernel just read an int there.
                i.nonblocking(i.seg, fd, unsafe { arg.cast::<c_int>().read_unaligned() } != 0);
                set_errno(e);
            }
            return n;
        }
        if let Some(i) = enter() {
            if request == libc::FIOASYNC as c_ulong {
                // A signal tells of what arrives.
                i.leave_alone(i.seg, fd);
            } else if request == libc::FIONREAD as c_ulong {
                i.looks_at_input(fd);
            } else {
                i.before_call_on(i.seg, fd);
            }
        }
        // SAFETY: the program's own arguments.
        unsafe { real(fd, request, arg) }
    }
}
