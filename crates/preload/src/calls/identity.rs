//! Calls that change who the process is or what its threads share: they want
//! a process of one thread, or change what a new thread would inherit. The
//! sweeper is stopped before them and comes back with the next promise.

use crate::process::without_sweeper;
use crate::real::interpose;
use libc::{c_char, c_int, c_void, gid_t, uid_t};

macro_rules! identity {
    ($($name:ident($($a:ident: $t:ty),*);)*) => {
        interpose! { $(fn $name($($a: $t),*) -> c_int, real {
            // SAFETY: the program's own arguments.
            without_sweeper(false, || unsafe { real($($a),*) })
        })* }
    };
}

// A thread has credentials of its own in the kernel; the C library changes
// those of the threads it knows.
identity! {
    setuid(id: uid_t);
    setgid(id: gid_t);
    seteuid(id: uid_t);
    setegid(id: gid_t);
    setreuid(real_id: uid_t, effective: uid_t);
    setregid(real_id: gid_t, effective: gid_t);
    setresuid(real_id: uid_t, effective: uid_t, saved: uid_t);
    setresgid(real_id: gid_t, effective: gid_t, saved: gid_t);
    setgroups(n: usize, list: *const gid_t);
    setns(fd: c_int, kind: c_int);
}

interpose! { unchecked
    fn setfsuid(id: uid_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        without_sweeper(false, || unsafe { real(id) })
    }

    fn setfsgid(id: gid_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        without_sweeper(false, || unsafe { real(id) })
    }

    fn initgroups(user: *const c_char, group: gid_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        without_sweeper(false, || unsafe { real(user, group) })
    }

    fn capset(header: *mut c_void, data: *const c_void) -> c_int, real {
        // SAFETY: the program's own arguments.
        without_sweeper(false, || unsafe { real(header, data) })
    }
}

interpose! {
    fn unshare(flags: c_int) -> c_int, real {
        // SAFETY: the program's own arguments.
        without_sweeper(flags & libc::CLONE_FILES != 0, || unsafe { real(flags) })
    }
}
