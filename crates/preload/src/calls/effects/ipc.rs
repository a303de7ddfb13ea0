//! What processes share: System V and POSIX queues, semaphores and memory,
//! asynchronous input and output, sockets' names.

use super::{any, effect, effects, leave_fd_alone};
use crate::arch::trampoline::before;
use libc::*;

effects! {
    sem_post(sem: *mut sem_t) -> c_int;
    msgsnd(id: c_int, from: *const c_void, n: size_t, flags: c_int) -> c_int;
    msgrcv(id: c_int, to: *mut c_void, n: size_t, kind: c_long, flags: c_int) -> ssize_t;
    semop(id: c_int, ops: *mut sembuf, n: size_t) -> c_int;
    bind(fd: c_int, at: *const sockaddr, len: socklen_t) -> c_int;
    listen(fd: c_int, backlog: c_int) -> c_int;
}

before! { lean_trampoline, any:
    msgctl msgget semctl semget semtimedop shmat shmctl shmdt shmget
    sem_open sem_unlink
    mq_notify mq_receive mq_send mq_setattr mq_timedreceive mq_timedsend mq_unlink
    shm_unlink
    bindresvport
    eventfd_read eventfd_write
    process_vm_writev
    aio_cancel aio_cancel64 aio_fsync aio_fsync64 aio_read aio_read64
}

// A thread of the C library writes to it, by calls that are not seen.
before! { lean_trampoline, one: aio_write aio_write64 }
before! { lean_trampoline, list: lio_listio lio_listio64 }

/// Before the first argument's operation is queued.
fn one([op, ..]: [usize; 3]) {
    let op: *const aiocb = std::ptr::with_exposed_provenance(op);
    // SAFETY: null, or the program's operation, which the C library reads in
    // this call, too.
    if let Some(op) = unsafe { op.as_ref() } {
        leave_fd_alone(op.aio_fildes);
    }
}

/// Before a list of operations is queued: `lio_listio(mode, list, n)`.
fn list([_, list, n]: [usize; 3]) {
    let list: *const usize = std::ptr::with_exposed_provenance(list);
    let n = usize::try_from(n as c_int).unwrap_or(0);
    effect();
    if !list.is_null() {
        // SAFETY: the program's list of pointers, which the C library reads
        // in this call, too.
        (0..n).for_each(|k| one([unsafe { list.add(k).read() }, 0, 0]));
    }
}
