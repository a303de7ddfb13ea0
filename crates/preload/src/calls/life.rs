//! The life of the process: fork without handlers, clone, exec, spawn, exit.
//! fork(3) itself is followed by `pthread_atfork` (process.rs), vfork(2) and
//! the variadic members of the exec family by the trampolines in `arch/`.

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

/// What a cloned process that shares no memory has to do first.
struct Cloned {
    main: CloneMain,
    arg: *mut c_void,
}

extern "C" fn cloned(p: *mut c_void) -> c_int {
    thread::after_fork_child();
    // SAFETY: the box that clone below made, in the child's own copy.
    let c = unsafe { Box::from_raw(p.cast::<Cloned>()) };
    (c.main)(c.arg)
}

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
        thread::before_fork();
        // SAFETY: no arguments.
        let pid = unsafe { real() };
        if pid == 0 {
            thread::after_fork_child();
        } else {
            thread::after_fork_parent();
        }
        pid
    }

    fn clone(
        main: CloneMain, stack: *mut c_void, flags: c_int, arg: *mut c_void,
        ptid: *mut pid_t, tls: *mut c_void, ctid: *mut pid_t,
    ) -> c_int, real {
        if flags & libc::CLONE_THREAD != 0 {
            process::before_thread();
        }
        if flags & libc::CLONE_VM != 0 {
            before_spawn();
            // SAFETY: the program's own arguments.
            return unsafe { real(main, stack, flags, arg, ptid, tls, ctid) };
        }
        let boxed: *mut Cloned = Box::into_raw(Box::new(Cloned { main, arg }));
        thread::before_fork();
        // SAFETY: the program's own arguments, but for the first function.
        let pid = unsafe { real(cloned, stack, flags, boxed.cast(), ptid, tls, ctid) };
        thread::after_fork_parent();
        // SAFETY: the parent's copy of the box.
        drop(unsafe { Box::from_raw(boxed) });
        pid
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
