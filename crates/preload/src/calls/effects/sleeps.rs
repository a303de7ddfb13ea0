//! Sleeps, and waits for other threads and processes.

use super::{any, effect, effects};
use crate::arch::trampoline::before;
use libc::*;

effects! {
    sleep(s: c_uint) -> c_uint;
    usleep(us: c_uint) -> c_int;
    nanosleep(t: *const timespec, left: *mut timespec) -> c_int;
    clock_nanosleep(c: clockid_t, f: c_int, t: *const timespec, left: *mut timespec) -> c_int;
    pause() -> c_int;
    sigsuspend(set: *const sigset_t) -> c_int;
    sigwait(set: *const sigset_t, sig: *mut c_int) -> c_int;
    sigwaitinfo(set: *const sigset_t, info: *mut siginfo_t) -> c_int;
    sigtimedwait(set: *const sigset_t, info: *mut siginfo_t, t: *const timespec) -> c_int;
    wait(status: *mut c_int) -> pid_t;
    waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t;
    waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int;
    wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t;
    pthread_join(thread: pthread_t, value: *mut *mut c_void) -> c_int;
    pthread_cond_wait(cond: *mut pthread_cond_t, lock: *mut pthread_mutex_t) -> c_int;
    pthread_cond_timedwait(cond: *mut pthread_cond_t, lock: *mut pthread_mutex_t, t: *const timespec) -> c_int;
    pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int;
    sem_wait(sem: *mut sem_t) -> c_int;
    sem_timedwait(sem: *mut sem_t, t: *const timespec) -> c_int;
    tcdrain(fd: c_int) -> c_int;
}
effects! { unchecked
    wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t;
    pthread_cond_clockwait(cond: *mut pthread_cond_t, lock: *mut pthread_mutex_t, c: clockid_t, t: *const timespec) -> c_int;
    sem_clockwait(sem: *mut sem_t, c: clockid_t, t: *const timespec) -> c_int;
}

before! { lean_trampoline, any:
    __nanosleep __wait __waitpid
    pthread_clockjoin_np pthread_timedjoin_np
    pthread_mutex_clocklock pthread_mutex_timedlock
    pthread_rwlock_clockrdlock pthread_rwlock_clockwrlock
    pthread_rwlock_timedrdlock pthread_rwlock_timedwrlock
    cnd_timedwait cnd_wait mtx_lock mtx_timedlock
    thrd_join thrd_sleep
    aio_suspend aio_suspend64 gai_suspend
    lckpwdf
}

// A thread that spins on them waits for another.
before! { lean_trampoline, any: sched_yield __sched_yield thrd_yield }
