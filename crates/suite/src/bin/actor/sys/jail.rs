//! seccomp(2): a filter that kills whoever makes another call than the few of
//! a server that is set up.

use super::{Ret, ret};
use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP,
    SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS, SECCOMP_SET_MODE_FILTER,
    sock_filter, sock_fprog,
};
use std::ptr::{from_ref, null};

/// What is left.
const ALLOWED: [libc::c_long; 9] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_accept4,
    libc::SYS_setsockopt,
    libc::SYS_epoll_ctl,
    // What epoll_wait(3) calls where there is no such system call.
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(not(target_arch = "x86_64"))]
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Runs `set` with the filter's program.
fn with_filter(set: impl FnOnce(&sock_fprog) -> Ret) -> Ret {
    let step = |code: u32, jt: usize, k: u32| sock_filter {
        code: code as u16,
        jt: jt as u8,
        jf: 0,
        k,
    };
    // The call's number, compared with each; then the two ends.
    let mut steps = vec![step(BPF_LD | BPF_W | BPF_ABS, 0, 0)];
    for (i, nr) in ALLOWED.iter().enumerate() {
        let to_allow = ALLOWED.len() - i;
        steps.push(step(BPF_JMP | BPF_JEQ | BPF_K, to_allow, *nr as u32));
    }
    steps.push(step(BPF_RET | BPF_K, 0, SECCOMP_RET_KILL_PROCESS));
    steps.push(step(BPF_RET | BPF_K, 0, SECCOMP_RET_ALLOW));
    // SAFETY: numbers only.
    ret(unsafe { libc::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let done = set(&sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    });
    // Giving memory back might take a call that is not allowed any more.
    std::mem::forget(steps);
    done
}

/// Sets the filter by prctl(2).
pub fn jail() -> Ret {
    with_filter(|p| {
        // SAFETY: the program lives through the call.
        ret(unsafe { libc::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, from_ref(p)) })
    })
}

/// Sets the filter by seccomp(2).
pub fn jail_by_number() -> Ret {
    with_filter(|p| {
        // SAFETY: the program lives through the call.
        ret(unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, from_ref(p)) })
    })
}

/// Asks whether there are filters, as programs do: a filter without program.
pub fn ask_for_jail() -> Ret {
    // SAFETY: the kernel refuses the null.
    ret(unsafe { libc::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, null::<sock_fprog>()) })
}
