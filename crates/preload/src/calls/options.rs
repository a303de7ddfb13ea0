//! Socket options and ioctl.

use crate::real::{errno, interpose, set_errno};
use crate::thread::{enter, may_bypass};
use esca_engine::Verdict;
use libc::{c_int, c_ulong, c_void, socklen_t};

interpose! {
    fn setsockopt(
        fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t,
    ) -> c_int, real {
        let first = (len as usize >= size_of::<c_int>() && !value.is_null())
            // SAFETY: the program's own option, long enough.
            .then(|| unsafe { value.cast::<c_int>().read_unaligned() });
        let verdict = match enter() {
            Some(i) => i.setsockopt(i.seg, fd, level, name, first),
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
            i.after_setsockopt(fd, level, name, first);
        }
        n
    }

    fn getsockopt(
        fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t,
    ) -> c_int, real {
        // SAFETY: the program's own arguments.
        unsafe {
            let room = !value.is_null() && len.as_ref().is_some_and(|l| *l as usize >= size_of::<c_int>());
            if room && let Some(i) = enter()
                && let Verdict::Ret(v) = i.getsockopt(i.seg, fd, level, name)
            {
                value.cast::<c_int>().write_unaligned(v as c_int);
                *len = size_of::<c_int>() as socklen_t;
                return 0;
            }
            real(fd, level, name, value, len)
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
            if request == libc::FIONREAD as c_ulong {
                i.looks_at_input(fd);
            } else {
                i.before_call_on(i.seg, fd);
            }
        }
        // SAFETY: the program's own arguments.
        unsafe { real(fd, request, arg) }
    }
}
