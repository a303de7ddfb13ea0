//! Calls that another process could observe, or that may block: everything in
//! custody goes first, then the plain call. One line each.

use crate::real::interpose;
use crate::thread::enter;
use libc::*;

#[inline]
fn effect() {
    if let Some(i) = enter() {
        i.effect(i.seg);
    }
}

macro_rules! effects {
    (unchecked $($name:ident($($a:ident: $t:ty),*) -> $r:ty;)*) => {
        interpose! { unchecked $(fn $name($($a: $t),*) -> $r, real {
            effect();
            // SAFETY: the program's own arguments.
            unsafe { real($($a),*) }
        })* }
    };
    ($($name:ident($($a:ident: $t:ty),*) -> $r:ty;)*) => {
        interpose! { $(fn $name($($a: $t),*) -> $r, real {
            effect();
            // SAFETY: the program's own arguments.
            unsafe { real($($a),*) }
        })* }
    };
}

// Sleeps and other calls that may block for long.
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
    connect(fd: c_int, to: *const sockaddr, len: socklen_t) -> c_int;
    getaddrinfo(node: *const c_char, service: *const c_char, hints: *const addrinfo, res: *mut *mut addrinfo) -> c_int;
    pthread_join(thread: pthread_t, value: *mut *mut c_void) -> c_int;
    pthread_cond_wait(cond: *mut pthread_cond_t, lock: *mut pthread_mutex_t) -> c_int;
    pthread_cond_timedwait(cond: *mut pthread_cond_t, lock: *mut pthread_mutex_t, t: *const timespec) -> c_int;
    pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int;
    sem_wait(sem: *mut sem_t) -> c_int;
    sem_timedwait(sem: *mut sem_t, t: *const timespec) -> c_int;
    msgrcv(id: c_int, to: *mut c_void, n: size_t, kind: c_long, flags: c_int) -> ssize_t;
    semop(id: c_int, ops: *mut sembuf, n: size_t) -> c_int;
    tcdrain(fd: c_int) -> c_int;
}
effects! { unchecked
    wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t;
    pthread_cond_clockwait(cond: *mut pthread_cond_t, lock: *mut pthread_mutex_t, c: clockid_t, t: *const timespec) -> c_int;
    sem_clockwait(sem: *mut sem_t, c: clockid_t, t: *const timespec) -> c_int;
}

// Signals, and what other processes share.
effects! {
    kill(pid: pid_t, sig: c_int) -> c_int;
    killpg(group: pid_t, sig: c_int) -> c_int;
    raise(sig: c_int) -> c_int;
    sem_post(sem: *mut sem_t) -> c_int;
    msgsnd(id: c_int, from: *const c_void, n: size_t, flags: c_int) -> c_int;
    fflush(file: *mut FILE) -> c_int;
    fclose(file: *mut FILE) -> c_int;
}
effects! { unchecked
    sigqueue(pid: pid_t, sig: c_int, value: *mut c_void) -> c_int;
}

// Changes to files that show outside.
effects! {
    pwrite(fd: c_int, from: *const c_void, n: size_t, at: off_t) -> ssize_t;
    pwrite64(fd: c_int, from: *const c_void, n: size_t, at: off64_t) -> ssize_t;
    pwritev(fd: c_int, iov: *const iovec, n: c_int, at: off_t) -> ssize_t;
    pwritev64(fd: c_int, iov: *const iovec, n: c_int, at: off64_t) -> ssize_t;
    copy_file_range(a: c_int, at: *mut off64_t, b: c_int, bt: *mut off64_t, n: size_t, f: c_uint) -> ssize_t;
    unlink(path: *const c_char) -> c_int;
    unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    remove(path: *const c_char) -> c_int;
    rename(from: *const c_char, to: *const c_char) -> c_int;
    renameat(a: c_int, from: *const c_char, b: c_int, to: *const c_char) -> c_int;
    link(from: *const c_char, to: *const c_char) -> c_int;
    linkat(a: c_int, from: *const c_char, b: c_int, to: *const c_char, f: c_int) -> c_int;
    symlink(from: *const c_char, to: *const c_char) -> c_int;
    symlinkat(from: *const c_char, b: c_int, to: *const c_char) -> c_int;
    mkdir(path: *const c_char, mode: mode_t) -> c_int;
    mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int;
    mkfifo(path: *const c_char, mode: mode_t) -> c_int;
    rmdir(path: *const c_char) -> c_int;
    chmod(path: *const c_char, mode: mode_t) -> c_int;
    fchmod(fd: c_int, mode: mode_t) -> c_int;
    fchmodat(dir: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int;
    chown(path: *const c_char, u: uid_t, g: gid_t) -> c_int;
    fchown(fd: c_int, u: uid_t, g: gid_t) -> c_int;
    truncate(path: *const c_char, len: off_t) -> c_int;
    ftruncate(fd: c_int, len: off_t) -> c_int;
    truncate64(path: *const c_char, len: off64_t) -> c_int;
    ftruncate64(fd: c_int, len: off64_t) -> c_int;
    utimensat(dir: c_int, path: *const c_char, t: *const timespec, f: c_int) -> c_int;
    flock(fd: c_int, op: c_int) -> c_int;
    lockf(fd: c_int, op: c_int, len: off_t) -> c_int;
    fsync(fd: c_int) -> c_int;
    fdatasync(fd: c_int) -> c_int;
    msync(at: *mut c_void, len: size_t, flags: c_int) -> c_int;
}
effects! { unchecked
    renameat2(a: c_int, from: *const c_char, b: c_int, to: *const c_char, f: c_uint) -> c_int;
}
