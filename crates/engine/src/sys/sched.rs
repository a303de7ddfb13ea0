//! The calling thread's scheduling policy and filter of system calls: what
//! the sweeper would inherit.

use super::call::syscall;

/// Whether the calling thread has a real-time or deadline policy (sched(7)):
/// it may keep a processor to itself for as long as it likes.
pub(crate) fn is_real_time() -> bool {
    const SCHED_DEADLINE: i32 = 6;
    // SAFETY: a number; asks only.
    let policy = unsafe { syscall(libc::SYS_sched_getscheduler, [0; 5]) };
    let policy = policy as i32 & !libc::SCHED_RESET_ON_FORK;
    matches!(policy, libc::SCHED_FIFO | libc::SCHED_RR | SCHED_DEADLINE)
}

/// Whether the calling thread's system calls are filtered (seccomp(2)).
pub(crate) fn is_filtered() -> bool {
    // SAFETY: asks only.
    unsafe { syscall(libc::SYS_prctl, [libc::PR_GET_SECCOMP as usize, 0, 0, 0, 0]) != 0 }
}
