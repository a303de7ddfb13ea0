//! Calls with an effect that other processes see: all that was promised before
//! must be the kernel's by then.

use crate::{Actor, raw};
use esca_model::scene::Effect;
use esca_model::scene::stage::What;
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::SeqCst;

unsafe extern "C" {
    fn eventfd_write(fd: i32, value: u64) -> i32;
    fn semtimedop(id: i32, ops: *mut libc::sembuf, n: usize, t: *const libc::timespec) -> i32;
    fn pthread_rwlock_timedwrlock(l: *mut libc::pthread_rwlock_t, t: *const libc::timespec) -> i32;
    fn tgkill(group: i32, thread: i32, signal: i32) -> i32;
}

/// One call, and what the kernel has after it.
pub(crate) fn effect(actor: &Actor, which: Effect) {
    // SAFETY: names that end with a zero, locals that live
    // through their calls.
    let r = unsafe { call(which) };
    actor.result(i64::from(r >= 0));
    for client in 0..2 {
        let promised = actor.stage.promised[client].load(SeqCst);
        if actor.fd(client) >= 0
            && !actor.stalled()
            && let Some(taken) = raw::taken(actor.fd(client))
        {
            actor.note(What::Kept, client, promised as i64 - taken as i64);
        }
    }
}

unsafe fn call(which: Effect) -> i64 {
    // SAFETY: see `effect`.
    unsafe {
        let pid = libc::getpid();
        // What is made is taken away by raw calls, which flush nothing.
        let away = |name: &std::ffi::CStr| {
            raw::call(libc::SYS_unlink, [name.as_ptr() as i64, 0, 0, 0, 0]);
        };
        match which {
            Effect::WritePipe => {
                let mut p = [0; 2];
                raw::call(libc::SYS_pipe2, [p.as_mut_ptr() as i64, 0, 0, 0, 0]);
                let r = libc::write(p[1], c"x".as_ptr().cast(), 1);
                raw::close(p[0]);
                raw::close(p[1]);
                r as i64
            }
            Effect::EventfdWrite => {
                let fd = raw::call(libc::SYS_eventfd2, [0; 5]) as i32;
                let r = eventfd_write(fd, 1);
                raw::close(fd);
                r.into()
            }
            Effect::FopenW => i64::from(!libc::fopen(c"made".as_ptr(), c"w".as_ptr()).is_null()),
            Effect::Mkstemp => {
                let mut name = *b"made-XXXXXX\0";
                libc::mkstemp(name.as_mut_ptr().cast()).into()
            }
            Effect::ShmOpen => {
                let r =
                    libc::shm_open(c"/esca-scene".as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600);
                away(c"/dev/shm/esca-scene");
                r.into()
            }
            Effect::SemOpen => {
                let r = libc::sem_open(c"/esca-scene".as_ptr(), libc::O_CREAT, 0o600, 0);
                away(c"/dev/shm/sem.esca-scene");
                i64::from(r != libc::SEM_FAILED)
            }
            Effect::Mknod => {
                away(c"node");
                libc::mknod(c"node".as_ptr(), libc::S_IFIFO | 0o600, 0).into()
            }
            Effect::Mkfifoat => {
                away(c"fifo");
                libc::mkfifoat(libc::AT_FDCWD, c"fifo".as_ptr(), 0o600).into()
            }
            Effect::BindPath => {
                away(c"socket");
                let a: libc::sockaddr_un = {
                    let mut a: libc::sockaddr_un = std::mem::zeroed();
                    a.sun_family = libc::AF_UNIX as u16;
                    for (to, from) in a.sun_path.iter_mut().zip(b"socket") {
                        *to = *from as i8;
                    }
                    a
                };
                let fd = raw::call(libc::SYS_socket, [1, 1, 0, 0, 0]) as i32;
                libc::bind(fd, (&raw const a).cast(), size_of_val(&a) as u32).into()
            }
            Effect::Listen => {
                let fd = raw::call(libc::SYS_socket, [2, 1, 0, 0, 0]) as i32;
                libc::listen(fd, 1).into()
            }
            Effect::Tgkill => tgkill(pid, pid, libc::SIGURG).into(),
            Effect::Kill => libc::kill(pid, libc::SIGURG).into(),
            Effect::Setxattr => {
                let (name, value) = (c"user.a".as_ptr(), c"b".as_ptr().cast());
                libc::setxattr(c"scene".as_ptr(), name, value, 1, 0).into()
            }
            Effect::MqSend => {
                let name = c"/esca-scene".as_ptr();
                let q = raw::call(
                    libc::SYS_mq_open,
                    [
                        name.add(1) as i64,
                        (libc::O_CREAT | libc::O_RDWR).into(),
                        0o600,
                        0,
                        0,
                    ],
                );
                let r = libc::mq_send(q as i32, c"x".as_ptr(), 1, 0);
                raw::call(libc::SYS_mq_unlink, [name.add(1) as i64, 0, 0, 0, 0]);
                r.into()
            }
            Effect::Semtimedop => {
                let id = raw::call(libc::SYS_semget, [0, 1, 0o600, 0, 0]) as i32;
                let mut op = libc::sembuf {
                    sem_num: 0,
                    sem_op: 1,
                    sem_flg: 0,
                };
                let r = semtimedop(id, &raw mut op, 1, null());
                raw::call(libc::SYS_semctl, [id.into(), 0, 0, 0, 0]);
                r.into()
            }
            Effect::Preadv2Pipe => {
                let mut p = [0; 2];
                raw::call(libc::SYS_pipe2, [p.as_mut_ptr() as i64, 0, 0, 0, 0]);
                raw::call(
                    libc::SYS_write,
                    [p[1].into(), c"x".as_ptr() as i64, 1, 0, 0],
                );
                let mut b = 0_u8;
                let v = libc::iovec {
                    iov_base: (&raw mut b).cast(),
                    iov_len: 1,
                };
                libc::preadv2(p[0], &raw const v, 1, -1, 0) as i64
            }
            Effect::RwlockTimed => {
                let mut lock: libc::pthread_rwlock_t = libc::PTHREAD_RWLOCK_INITIALIZER;
                libc::pthread_rwlock_wrlock(&raw mut lock);
                let t = libc::timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                };
                pthread_rwlock_timedwrlock(&raw mut lock, &raw const t).into()
            }
            Effect::Rename => libc::rename(c"made".as_ptr(), c"made2".as_ptr()).into(),
            Effect::Unlink => libc::unlink(c"made3".as_ptr()).into(),
            Effect::Mkdir => libc::mkdir(c"dir".as_ptr(), 0o700).into(),
            Effect::Symlink => libc::symlink(c"a".as_ptr(), c"link".as_ptr()).into(),
            Effect::Ftruncate => {
                let fd =
                    raw::call(libc::SYS_memfd_create, [c"m".as_ptr() as i64, 0, 0, 0, 0]) as i32;
                let r = libc::ftruncate(fd, 10);
                raw::close(fd);
                let _: *mut u8 = null_mut();
                r.into()
            }
        }
    }
}
