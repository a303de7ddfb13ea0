//! `syscall(2)`: each system call has a treatment, in a table for each
//! processor. Those that the engine has a part in go the way of their
//! namesakes; a number that is in no table is taken for anything.

mod route;

use super::life;
use crate::process;
use crate::real::{errno, interpose, set_errno};
use crate::thread::enter;
use libc::{c_int, c_long};

/// How a call is treated; the tables say what for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Routed,
    Makes,
    Begins,
    Execs,
    Ends,
    Life,
    Effect,
    Plain,
    Unknown,
}

macro_rules! treatments {
    ($($treatment:ident: $($name:ident)*;)*) => {
        /// How the call `nr` is treated.
        pub(super) fn treatment(nr: libc::c_long) -> super::Treatment {
            match nr {
                $($(libc::$name => super::Treatment::$treatment,)*)*
                _ => super::Treatment::Unknown,
            }
        }
    };
}

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod table;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod table;

interpose! { unchecked
    fn syscall(
        nr: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long,
    ) -> c_long, real {
        let arguments = [a, b, c, d, e, f];
        // SAFETY: the program's own arguments.
        let plain = || unsafe { real(nr, a, b, c, d, e, f) };
        match table::treatment(nr) {
            Treatment::Plain => {
                super::jail::before_syscall(nr, [a, b, c]);
                plain()
            }
            Treatment::Routed if enter().is_some() => {
                // SAFETY: the arguments are those of call `nr`.
                match unsafe { route::known(nr, arguments, plain) } {
                    Some(result) => result,
                    None => plain(),
                }
            }
            Treatment::Makes => {
                effect();
                let fd = plain();
                if fd >= 0 && let Some(i) = enter() {
                    i.made_other(fd as c_int);
                }
                fd
            }
            Treatment::Begins => {
                process::before_raw_clone(clone_flags(nr, a));
                effect();
                plain()
            }
            Treatment::Execs => {
                life::before_exec();
                plain()
            }
            Treatment::Ends => {
                process::finish();
                plain()
            }
            Treatment::Life => {
                super::jail::before_syscall(nr, [a, b, c]);
                changed(nr, [a, b], plain)
            }
            Treatment::Effect | Treatment::Routed => {
                effect();
                plain()
            }
            Treatment::Unknown => {
                if let Some(i) = enter() {
                    i.before_unknown(i.seg);
                }
                let n = plain();
                if let Some(i) = enter() {
                    let e = errno();
                    i.after_unknown(i.seg);
                    set_errno(e);
                }
                n
            }
        }
    }
}

/// The flags of clone(2) that a call which makes another process has.
fn clone_flags(nr: c_long, first: c_long) -> c_int {
    #[cfg(target_arch = "x86_64")]
    if nr == libc::SYS_vfork {
        return libc::CLONE_VM | libc::CLONE_VFORK;
    }
    match nr {
        libc::SYS_clone => first as c_int,
        // Its flags are in the program's memory, which the kernel reads first.
        // Taken for the worst.
        libc::SYS_clone3 => libc::CLONE_VM,
        _ => 0,
    }
}

/// Makes a call that changes what the thread or the process is.
fn changed(nr: c_long, a: [c_long; 2], plain: impl FnOnce() -> c_long) -> c_long {
    match nr {
        libc::SYS_exit => process::before_thread_exit(true),
        libc::SYS_sched_setscheduler => super::sched::note(a[1] as c_int),
        // The policy is in the program's memory.
        libc::SYS_sched_setattr => process::is_real_time(),
        libc::SYS_sched_setparam => {}
        libc::SYS_unshare => {
            let splits = a[0] as c_int & libc::CLONE_FILES != 0;
            return process::without_sweeper(splits, plain);
        }
        _ => return process::without_sweeper(false, plain),
    }
    plain()
}

fn effect() {
    if let Some(i) = enter() {
        i.before_unknown_call(i.seg);
    }
}
