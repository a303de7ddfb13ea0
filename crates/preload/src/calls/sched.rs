//! Calls by which a thread may get a real-time policy.

use crate::process;
use crate::real::interpose;
use libc::{c_int, c_uint, c_void, pid_t, pthread_attr_t, pthread_t, sched_param};

/// A thread gets `policy`.
pub(super) fn note(policy: c_int) {
    const DEADLINE: c_int = 6;
    if matches!(
        policy & !libc::SCHED_RESET_ON_FORK,
        libc::SCHED_FIFO | libc::SCHED_RR | DEADLINE
    ) {
        process::is_real_time();
    }
}

interpose! {
    fn sched_setscheduler(pid: pid_t, policy: c_int, param: *const sched_param) -> c_int, real {
        note(policy);
        // SAFETY: the program's own arguments.
        unsafe { real(pid, policy, param) }
    }

    fn pthread_setschedparam(
        thread: pthread_t, policy: c_int, param: *const sched_param,
    ) -> c_int, real {
        note(policy);
        // SAFETY: the program's own arguments.
        unsafe { real(thread, policy, param) }
    }
}

interpose! { unchecked
    fn __sched_setscheduler(pid: pid_t, policy: c_int, param: *const sched_param) -> c_int, real {
        note(policy);
        // SAFETY: the program's own arguments.
        unsafe { real(pid, policy, param) }
    }

    // The policy is in memory that only the kernel may read safely.
    fn sched_setattr(pid: pid_t, attr: *mut c_void, flags: c_uint) -> c_int, real {
        process::is_real_time();
        // SAFETY: the program's own arguments.
        unsafe { real(pid, attr, flags) }
    }

    fn pthread_attr_setschedpolicy(attr: *mut pthread_attr_t, policy: c_int) -> c_int, real {
        note(policy);
        // SAFETY: the program's own arguments.
        unsafe { real(attr, policy) }
    }
}
