//! How a scene ends, and signals on small stacks.

use crate::{Actor, raw, write};
use esca_model::scene::{Act, End, How, Item};
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering::SeqCst};

unsafe extern "C" {
    fn execveat(
        dir: i32,
        path: *const i8,
        args: *const *const i8,
        env: *const *mut i8,
        flags: i32,
    ) -> i32;
    fn fexecve(fd: i32, args: *const *const i8, env: *const *mut i8) -> i32;
    fn pthread_exit(value: *mut libc::c_void) -> !;
    fn __assert_fail(what: *const i8, file: *const i8, line: u32, function: *const i8) -> !;
    static environ: *const *mut libc::c_char;
}

/// The last end of the scene, or a return.
pub(crate) fn end(actor: &'static Actor) {
    let ends = actor.scene.items.iter().rev().find_map(|i| match i {
        Item::End(e) => Some(*e),
        _ => None,
    });
    let args = [c"true".as_ptr(), null()];
    let (args, path) = (args.as_ptr(), c"/bin/true".as_ptr());
    // SAFETY: arguments that end with a null; most calls do not
    // come back.
    unsafe {
        match ends.unwrap_or(End::Return) {
            End::Return => {}
            End::Quick => libc::_exit(3),
            End::RawExit => _ = libc::syscall(libc::SYS_exit_group, 4),
            End::Abort => libc::abort(),
            End::PthreadExit => {
                std::thread::spawn(|| raw::call(libc::SYS_poll, [0, 0, 60, 0, 0]));
                pthread_exit(null_mut());
            }
            End::Term => {
                std::thread::spawn(|| {
                    raw::call(libc::SYS_poll, [0, 0, 60, 0, 0]);
                    let pid = raw::call(libc::SYS_getpid, [0; 5]);
                    raw::call(libc::SYS_kill, [pid, libc::SIGTERM.into(), 0, 0, 0]);
                });
                pthread_exit(null_mut());
            }
            End::Kill => _ = libc::kill(libc::getpid(), libc::SIGKILL),
            End::Execve => _ = libc::execve(path, args, environ.cast()),
            End::Execveat => _ = execveat(libc::AT_FDCWD, path, args, environ, 0),
            End::Fexecve => {
                let fd = libc::open(path, libc::O_PATH | libc::O_CLOEXEC);
                write::write(actor, 0, How::Write, 1);
                fexecve(fd, args, environ);
            }
            End::NumExecveat => {
                _ = libc::syscall(libc::SYS_execveat, libc::AT_FDCWD, path, args, environ, 0)
            }
            End::Assert => __assert_fail(path, path, 1, path),
        }
    }
}

static ACTOR: AtomicPtr<Actor> = AtomicPtr::new(null_mut());
static ACT: AtomicU8 = AtomicU8::new(0);

extern "C" fn handler(_: i32) {
    // SAFETY: stored before the signal, and never freed.
    let Some(actor) = (unsafe { ACTOR.load(SeqCst).as_ref() }) else {
        return;
    };
    let fd = actor.fd(0);
    let text = *b"bye";
    let mut iov = libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: 3,
    };
    // SAFETY: locals, by calls that are async-signal-safe.
    unsafe {
        match ACT.load(SeqCst) {
            0 => {
                libc::write(fd, text.as_ptr().cast(), 3);
                libc::write(fd, text.as_ptr().cast(), 3);
            }
            1 => {
                let mut t = libc::timeval {
                    tv_sec: 0,
                    tv_usec: 1000,
                };
                libc::select(0, null_mut(), null_mut(), null_mut(), &raw mut t);
            }
            2 => {
                let pid = libc::fork();
                if pid == 0 {
                    libc::_exit(0);
                }
                libc::waitpid(pid, null_mut(), 0);
            }
            3 => libc::_exit(5),
            4 => _ = libc::close(fd),
            _ => {
                let mut m: libc::msghdr = zeroed();
                m.msg_iov = &raw mut iov;
                m.msg_iovlen = 1;
                libc::sendmsg(fd, &raw const m, 0);
            }
        }
    }
}

/// A signal whose handler runs on a small stack between pages without rights.
pub(crate) fn signal(actor: &'static Actor, room: u16, act: Act) {
    ACTOR.store(std::ptr::from_ref(actor).cast_mut(), SeqCst);
    ACT.store(act as u8, SeqCst);
    const GUARD: usize = 8192;
    // SAFETY: a mapping of its own, of which the middle is the stack.
    unsafe {
        let frame = libc::getauxval(libc::AT_MINSIGSTKSZ) as usize;
        let size = (frame + usize::from(room)).next_multiple_of(4096);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let at = libc::mmap(null_mut(), 2 * GUARD + size, libc::PROT_NONE, flags, -1, 0);
        let low = at.byte_add(GUARD);
        libc::mprotect(low, size, libc::PROT_READ | libc::PROT_WRITE);
        // The stack is exactly as large as said, above the guard.
        let stack = libc::stack_t {
            ss_sp: low,
            ss_flags: 0,
            ss_size: frame + usize::from(room),
        };
        let mut old: libc::stack_t = zeroed();
        libc::sigaltstack(&raw const stack, &raw mut old);
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigaction(libc::SIGUSR1, &raw const action, null_mut());
        raw::call(
            libc::SYS_tgkill,
            [
                raw::call(libc::SYS_getpid, [0; 5]),
                raw::call(libc::SYS_gettid, [0; 5]),
                libc::SIGUSR1.into(),
                0,
                0,
            ],
        );
        libc::sigaltstack(&raw const old, null_mut());
    }
    if act == Act::Close {
        actor.fds[0].store(-1, SeqCst);
    }
}
