//! More calls that make descriptors, none of them a stream of the program's;
//! the C library's other names of those in `descriptors.rs`; execveat.

use super::descriptors::{dup_onto, fcntl_by, fresh, open_by, pair};
use super::life;
use crate::real::{errno, interpose, set_errno};
use crate::thread::enter;
use esca_engine::Engine;
use libc::{c_char, c_int, c_uint, c_void, mode_t};

macro_rules! makes {
    ($($name:ident($($a:ident: $t:ty),*);)*) => {
        interpose! { unchecked $(fn $name($($a: $t),*) -> c_int, real {
            effect();
            // SAFETY: the program's own arguments.
            fresh(unsafe { real($($a),*) }, Engine::made_other)
        })* }
    };
}

fn effect() {
    if let Some(i) = enter() {
        i.effect(i.seg);
    }
}

makes! {
    fanotify_init(flags: c_uint, event_flags: c_uint);
    getpt();
    inotify_init();
    inotify_init1(flags: c_int);
    memfd_create(name: *const c_char, flags: c_uint);
    mq_open(name: *const c_char, flags: c_int, mode: mode_t, attributes: *mut c_void);
    __mq_open_2(name: *const c_char, flags: c_int);
    open_by_handle_at(mount: c_int, handle: *mut c_void, flags: c_int);
    pidfd_open(pid: c_int, flags: c_uint);
    posix_openpt(flags: c_int);
    shm_open(name: *const c_char, flags: c_int, mode: mode_t);
    signalfd(fd: c_int, mask: *const c_void, flags: c_int);
    timerfd_create(clock: c_int, flags: c_int);
}

interpose! { unchecked
    // A duplicate, perhaps of a stream of this process.
    fn pidfd_getfd(pidfd: c_int, target: c_int, flags: c_uint) -> c_int, real {
        if let Some(i) = enter() {
            i.before_unknown(i.seg);
        }
        // SAFETY: the program's own arguments.
        let fd = unsafe { real(pidfd, target, flags) };
        if let Some(i) = enter() {
            let e = errno();
            i.after_unknown(i.seg);
            set_errno(e);
        }
        fresh(fd, Engine::made_other)
    }

    fn openpty(
        first: *mut c_int, second: *mut c_int, name: *mut c_char, terminal: *const c_void,
        size: *const c_void,
    ) -> c_int, real {
        effect();
        // SAFETY: the program's own arguments.
        let n = unsafe { real(first, second, name, terminal, size) };
        if n == 0 && let Some(i) = enter() {
            // SAFETY: the call wrote both.
            let both = unsafe { [*first, *second] };
            both.into_iter().for_each(|fd| i.made_other(fd));
        }
        n
    }

    fn mq_close(queue: c_int) -> c_int, real {
        if let Some(i) = enter() {
            i.forget(i.seg, queue);
        }
        // SAFETY: the program's own arguments.
        unsafe { real(queue) }
    }

    fn __open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, flags, mode) })
    }

    fn __open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        open_by(flags, || unsafe { real(path, flags, mode) })
    }

    fn __dup2(fd: c_int, new: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        dup_onto(fd, new, || unsafe { real(fd, new) })
    }

    fn __pipe(fds: *mut c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        pair(unsafe { real(fds) }, fds)
    }

    fn __fcntl(fd: c_int, cmd: c_int, arg: *mut c_void) -> c_int, real {
        // SAFETY: the program's own arguments.
        fcntl_by(fd, cmd, arg, || unsafe { real(fd, cmd, arg) })
    }

    fn execveat(
        dir: c_int, path: *const c_char, argv: *const *const c_char, env: *const *const c_char,
        flags: c_int,
    ) -> c_int, real {
        life::before_exec();
        // SAFETY: the program's own arguments.
        unsafe { real(dir, path, argv, env, flags) }
    }
}

#[cfg(target_env = "musl")]
interpose! { unchecked
    fn posix_close(fd: c_int, flags: c_int) -> c_int, real {
        let _ = (real, flags);
        // SAFETY: the library's own function, which is what this call is.
        unsafe { libc::close(fd) }
    }
}
