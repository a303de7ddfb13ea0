//! The life of the process: fork, clone, exec, spawn, exit. vfork(2), the ends
//! of threads and the variadic members of the exec family have trampolines in
//! `arch/`: no frame of ours may stay behind them.

use crate::real::{Real, interpose};
use crate::thread::{self, enter};
use crate::{process, stats};
use libc::{c_char, c_int, c_void, pid_t, posix_spawn_file_actions_t, posix_spawnattr_t};

/// Before a program takes this one's place.
pub(crate) fn before_exec() {
    if let Some(i) = enter() {
        i.before_exec(i.seg.stats());
        stats::write();
    }
}

/// Before a child that shares nothing but descriptors.
fn before_spawn() {
    if let Some(i) = enter() {
        i.before_spawn(i.seg.stats());
    }
}

interpose! {
    fn execve(
        path: *const c_char, argv: *const *const c_char, env: *const *const c_char,
    ) -> c_int, real {
        before_exec();
        // SAFETY: the program's own arguments.
        unsafe { real(path, argv, env) }
    }

    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int, real {
        before_exec();
        // SAFETY: the program's own arguments.
        unsafe { real(path, argv) }
    }

    fn execvp(file: *const c_char, argv: *const *const c_char) -> c_int, real {
        before_exec();
        // SAFETY: the program's own arguments.
        unsafe { real(file, argv) }
    }

    fn execvpe(
        file: *const c_char, argv: *const *const c_char, env: *const *const c_char,
    ) -> c_int, real {
        before_exec();
        // SAFETY: the program's own arguments.
        unsafe { real(file, argv, env) }
    }

    fn fexecve(
        fd: c_int, argv: *const *const c_char, env: *const *const c_char,
    ) -> c_int, real {
        before_exec();
        // SAFETY: the program's own arguments.
        unsafe { real(fd, argv, env) }
    }

    fn posix_spawn(
        pid: *mut pid_t, path: *const c_char, acts: *const posix_spawn_file_actions_t,
        attr: *const posix_spawnattr_t, argv: *const *mut c_char, env: *const *mut c_char,
    ) -> c_int, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(pid, path, acts, attr, argv, env) }
    }

    fn posix_spawnp(
        pid: *mut pid_t, file: *const c_char, acts: *const posix_spawn_file_actions_t,
        attr: *const posix_spawnattr_t, argv: *const *mut c_char, env: *const *mut c_char,
    ) -> c_int, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(pid, file, acts, attr, argv, env) }
    }

    fn posix_spawn_file_actions_adddup2(
        acts: *mut posix_spawn_file_actions_t, fd: c_int, new: c_int,
    ) -> c_int, real {
        // The child gets it, whatever its flags say.
        crate::origin::forget(fd);
        if let Some(i) = enter() {
            i.leave_alone(i.seg, fd);
        }
        // SAFETY: the program's own arguments.
        unsafe { real(acts, fd, new) }
    }

    fn system(command: *const c_char) -> c_int, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(command) }
    }

    fn popen(command: *const c_char, mode: *const c_char) -> *mut libc::FILE, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(command, mode) }
    }

    fn exit(status: c_int) -> !, real {
        process::finish();
        // SAFETY: the program's own arguments.
        unsafe { real(status) }
    }

    fn _exit(status: c_int) -> !, real {
        process::finish();
        // SAFETY: the program's own arguments.
        unsafe { real(status) }
    }

    fn abort() -> !, real {
        process::finish();
        // SAFETY: no arguments.
        unsafe { real() }
    }
}

type CloneMain = extern "C" fn(*mut c_void) -> c_int;

interpose! { unchecked
    fn _Exit(status: c_int) -> !, real {
        process::finish();
        // SAFETY: the program's own arguments.
        unsafe { real(status) }
    }

    fn quick_exit(status: c_int) -> !, real {
        process::finish();
        // SAFETY: the program's own arguments.
        unsafe { real(status) }
    }

    // fork without the handlers of pthread_atfork.
    fn _Fork() -> pid_t, real {
        // SAFETY: no arguments.
        thread::forks(false, || unsafe { real() })
    }

    fn __fork() -> pid_t, real {
        // SAFETY: no arguments.
        thread::forks(false, || unsafe { real() })
    }

    fn clone(
        main: CloneMain, stack: *mut c_void, flags: c_int, arg: *mut c_void,
        ptid: *mut pid_t, tls: *mut c_void, ctid: *mut pid_t,
    ) -> c_int, real {
        // SAFETY: the program's own arguments.
        let plain = || unsafe { real(main, stack, flags, arg, ptid, tls, ctid) };
        if flags & libc::CLONE_VM != 0 {
            process::before_raw_clone(flags);
            return plain();
        }
        thread::forks(false, plain)
    }

    fn __clone(
        main: CloneMain, stack: *mut c_void, flags: c_int, arg: *mut c_void,
        ptid: *mut pid_t, tls: *mut c_void, ctid: *mut pid_t,
    ) -> c_int, real {
        // SAFETY: the program's own arguments.
        let plain = || unsafe { real(main, stack, flags, arg, ptid, tls, ctid) };
        if flags & libc::CLONE_VM != 0 {
            process::before_raw_clone(flags);
            return plain();
        }
        thread::forks(false, plain)
    }

    fn _IO_popen(command: *const c_char, mode: *const c_char) -> *mut libc::FILE, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(command, mode) }
    }

    fn _IO_proc_open(
        file: *mut libc::FILE, command: *const c_char, mode: *const c_char,
    ) -> *mut libc::FILE, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(file, command, mode) }
    }

    fn pidfd_spawn(
        pidfd: *mut c_int, path: *const c_char, acts: *const posix_spawn_file_actions_t,
        attr: *const posix_spawnattr_t, argv: *const *mut c_char, env: *const *mut c_char,
    ) -> c_int, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(pidfd, path, acts, attr, argv, env) }
    }

    fn pidfd_spawnp(
        pidfd: *mut c_int, file: *const c_char, acts: *const posix_spawn_file_actions_t,
        attr: *const posix_spawnattr_t, argv: *const *mut c_char, env: *const *mut c_char,
    ) -> c_int, real {
        before_spawn();
        // SAFETY: the program's own arguments.
        unsafe { real(pidfd, file, acts, attr, argv, env) }
    }

    // Closes the terminal, which becomes the descriptors 0 to 2.
    fn login_tty(fd: c_int) -> c_int, real {
        for fd in [fd, 0, 1, 2] {
            crate::origin::forget(fd);
            if let Some(i) = enter() {
                i.leave_alone(i.seg, fd);
            }
        }
        // SAFETY: the program's own arguments.
        unsafe { real(fd) }
    }

    // Forks in the C library.
    fn forkpty(
        terminal: *mut c_int, name: *mut c_char, modes: *const c_void, size: *const c_void,
    ) -> pid_t, real {
        // SAFETY: the program's own arguments.
        thread::forks(false, || unsafe { real(terminal, name, modes, size) })
    }

    fn daemon(nochdir: c_int, noclose: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        thread::forks(true, || unsafe { real(nochdir, noclose) })
    }
}

interpose! {
    fn fork() -> pid_t, real {
        // SAFETY: no arguments.
        thread::forks(false, || unsafe { real() })
    }
}

/// Looks a function up for a trampoline, after its hook ran.
macro_rules! behind {
    ($($(#[$m:meta])* $hook:ident, $name:literal, |$first:ident| $before:expr;)*) => { $(
        $(#[$m])*
        pub(crate) extern "C" fn $hook($first: c_int) -> *mut c_void {
            static REAL: Real = Real::new($name);
            $before;
            REAL.get()
        }
    )* };
}

behind! {
    before_vfork_hook, c"vfork", |_fd| thread::before_vfork();
    before_vfork_alias_hook, c"__vfork", |_fd| thread::before_vfork();
    before_pthread_exit_hook, c"pthread_exit", |_value| process::before_thread_exit(false);
    before_thrd_exit_hook, c"thrd_exit", |_value| process::before_thread_exit(false);
    before_execl_hook, c"execl", |_fd| before_exec();
    before_execlp_hook, c"execlp", |_fd| before_exec();
    before_execle_hook, c"execle", |_fd| before_exec();
    before_dprintf_hook, c"dprintf", |fd| before_print(fd);
    before_dprintf_chk_hook, c"__dprintf_chk", |fd| before_print(fd);
}

/// stdio's own write on a descriptor: what is in custody goes first.
fn before_print(fd: c_int) {
    if let Some(i) = enter() {
        i.before_call_on(i.seg, fd);
        i.effect(i.seg);
    }
}

interpose! { unchecked
    fn vdprintf(fd: c_int, format: *const c_char, args: *mut c_void) -> c_int, real {
        before_print(fd);
        // SAFETY: the program's own arguments; a va_list is passed by address
        // on both architectures.
        unsafe { real(fd, format, args) }
    }
}
