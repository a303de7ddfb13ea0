//! `syscall(2)`: the calls that the library knows go the same way as their
//! namesakes; any other goes after everything in custody.

use crate::process;
use crate::real::interpose;
use crate::thread::enter;
use libc::{c_int, c_long, c_uint, c_void};

interpose! { unchecked
    fn syscall(
        nr: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long,
    ) -> c_long, real {
        super::jail::before_syscall(nr, [a, b, c]);
        if begins_another(nr) {
            process::before_raw_clone(clone_flags(nr, [a, b]));
        }
        if let Some(i) = enter() {
            drop(i);
            // SAFETY: each namesake gets the program's arguments of that call.
            if let Some(r) = unsafe { known(nr, [a, b, c, d, e, f]) } {
                return r;
            }
            if let Some(i) = enter() && !matches!(nr, libc::SYS_gettid | libc::SYS_getpid) {
                i.before_unknown_call(i.seg);
            }
        }
        // SAFETY: the program's own arguments.
        unsafe { real(nr, a, b, c, d, e, f) }
    }
}

/// Whether the call makes a thread or a process, of which no hook hears.
fn begins_another(nr: c_long) -> bool {
    #[cfg(target_arch = "x86_64")]
    if matches!(nr, libc::SYS_fork | libc::SYS_vfork) {
        return true;
    }
    matches!(nr, libc::SYS_clone | libc::SYS_clone3)
}

/// The flags of clone(2) that a call which makes another process has.
fn clone_flags(nr: c_long, a: [c_long; 2]) -> c_int {
    #[cfg(target_arch = "x86_64")]
    if nr == libc::SYS_vfork {
        return libc::CLONE_VM | libc::CLONE_VFORK;
    }
    match nr {
        libc::SYS_clone => a[0] as c_int,
        // Its flags are the first word of what a[0] points to: the program's
        // memory, which the kernel reads first. Taken for the worst.
        libc::SYS_clone3 => libc::CLONE_VM,
        _ => 0,
    }
}

fn fd(a: c_long) -> c_int {
    a as c_int
}

fn mem<T>(a: c_long) -> *mut T {
    std::ptr::with_exposed_provenance_mut(a as usize)
}

fn cmem<T>(a: c_long) -> *const T {
    mem::<T>(a).cast_const()
}

/// # Safety
/// The arguments are those of call `nr`.
unsafe fn known(nr: c_long, a: [c_long; 6]) -> Option<c_long> {
    // SAFETY: the caller's promise. These are the library's own functions.
    unsafe {
        Some(match nr {
            libc::SYS_read => libc::read(fd(a[0]), mem::<c_void>(a[1]), a[2] as usize) as c_long,
            libc::SYS_readv => libc::readv(fd(a[0]), cmem(a[1]), a[2] as c_int) as c_long,
            libc::SYS_write => libc::write(fd(a[0]), cmem(a[1]), a[2] as usize) as c_long,
            libc::SYS_writev => libc::writev(fd(a[0]), cmem(a[1]), a[2] as c_int) as c_long,
            libc::SYS_sendto => libc::sendto(
                fd(a[0]),
                cmem(a[1]),
                a[2] as usize,
                a[3] as c_int,
                cmem(a[4]),
                a[5] as c_uint,
            ) as c_long,
            libc::SYS_sendmsg => libc::sendmsg(fd(a[0]), cmem(a[1]), a[2] as c_int) as c_long,
            libc::SYS_sendfile => {
                libc::sendfile(fd(a[0]), fd(a[1]), mem(a[2]), a[3] as usize) as c_long
            }
            libc::SYS_recvfrom => libc::recvfrom(
                fd(a[0]),
                mem(a[1]),
                a[2] as usize,
                a[3] as c_int,
                mem(a[4]),
                mem(a[5]),
            ) as c_long,
            libc::SYS_shutdown => c_long::from(libc::shutdown(fd(a[0]), a[1] as c_int)),
            libc::SYS_close => c_long::from(libc::close(fd(a[0]))),
            libc::SYS_dup => c_long::from(libc::dup(fd(a[0]))),
            libc::SYS_dup3 => c_long::from(libc::dup3(fd(a[0]), fd(a[1]), a[2] as c_int)),
            libc::SYS_accept4 => {
                c_long::from(libc::accept4(fd(a[0]), mem(a[1]), mem(a[2]), a[3] as c_int))
            }
            libc::SYS_epoll_ctl => c_long::from(libc::epoll_ctl(
                fd(a[0]),
                a[1] as c_int,
                fd(a[2]),
                mem(a[3]),
            )),
            libc::SYS_setsockopt => c_long::from(libc::setsockopt(
                fd(a[0]),
                a[1] as c_int,
                a[2] as c_int,
                cmem(a[3]),
                a[4] as c_uint,
            )),
            libc::SYS_close_range => {
                unsafe extern "C" {
                    fn close_range(a: c_uint, b: c_uint, flags: c_int) -> c_int;
                }
                c_long::from(close_range(a[0] as c_uint, a[1] as c_uint, a[2] as c_int))
            }
            libc::SYS_execve => {
                super::life::before_exec();
                return None;
            }
            libc::SYS_exit_group => {
                crate::process::finish();
                return None;
            }
            _ => return None,
        })
    }
}
