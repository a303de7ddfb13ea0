//! The calls by which a process has its own system calls filtered (seccomp):
//! the library steps aside before.

use crate::process;
use crate::real::interpose;
use libc::{PR_SET_SECCOMP, SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT, c_int, c_long, c_ulong};

/// Whether a filter is about to be set. One without a program only asks
/// whether the kernel knows filters (it says EFAULT).
fn jails(mode: c_ulong, filter: c_ulong) -> bool {
    mode == c_ulong::from(SECCOMP_MODE_STRICT)
        || mode == c_ulong::from(SECCOMP_MODE_FILTER) && filter != 0
}

/// Before a call by syscall(2) with these arguments.
#[inline]
pub(crate) fn before_syscall(nr: c_long, a: [c_long; 3]) {
    let [first, second, third] = a.map(|a| a as c_ulong);
    let jailed = match nr {
        libc::SYS_prctl => first == PR_SET_SECCOMP as c_ulong && jails(second, third),
        // Its operations are the modes less one.
        libc::SYS_seccomp => first <= 1 && jails(first + 1, third),
        _ => false,
    };
    if jailed {
        process::step_aside();
    }
}

interpose! { unchecked
    fn prctl(op: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int, real {
        if op == PR_SET_SECCOMP && jails(a, b) {
            process::step_aside();
        }
        // SAFETY: the program's own arguments.
        unsafe { real(op, a, b, c, d) }
    }
}
