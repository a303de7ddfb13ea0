//! Signals that are sent, and waits for them.

use super::{any, effect, effects};
use crate::arch::trampoline::before;
use libc::*;

effects! {
    kill(pid: pid_t, sig: c_int) -> c_int;
    killpg(group: pid_t, sig: c_int) -> c_int;
    raise(sig: c_int) -> c_int;
}
effects! { unchecked
    sigqueue(pid: pid_t, sig: c_int, value: *mut c_void) -> c_int;
}

before! { lean_trampoline, any:
    gsignal pidfd_send_signal pthread_kill pthread_sigqueue tgkill
    __sigpause __sigsuspend __xpg_sigpause sigpause
}
