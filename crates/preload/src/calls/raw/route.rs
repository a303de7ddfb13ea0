//! The calls by syscall(2) in which the engine has a part: each goes the way
//! of its namesake.

use crate::calls::descriptors::{dup_onto, fcntl_by, fresh_socket, open_by, pair};
use crate::calls::{positioned, waits};
use esca_engine::segment::WaitKind;
use libc::{c_int, c_long, c_uint, c_void};

fn fd(a: c_long) -> c_int {
    a as c_int
}

fn mem<T>(a: c_long) -> *mut T {
    std::ptr::with_exposed_provenance_mut(a as usize)
}

fn cmem<T>(a: c_long) -> *const T {
    mem::<T>(a).cast_const()
}

unsafe extern "C" {
    fn close_range(a: c_uint, b: c_uint, flags: c_int) -> c_int;
}

/// Runs call `nr`; `plain` makes it as the program did. `None` where it is
/// none of these.
///
/// # Safety
/// The arguments are those of call `nr`.
pub(super) unsafe fn known(
    nr: c_long,
    a: [c_long; 6],
    plain: impl Fn() -> c_long,
) -> Option<c_long> {
    let plain_int = || plain() as c_int;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    if let Some(n) = unsafe { known_of_old(nr, a, &plain) } {
        return Some(n);
    }
    // SAFETY: the caller's promise. These are the library's own functions.
    let int = unsafe {
        match nr {
            libc::SYS_shutdown => libc::shutdown(fd(a[0]), a[1] as c_int),
            libc::SYS_connect => libc::connect(fd(a[0]), cmem(a[1]), a[2] as c_uint),
            libc::SYS_close => libc::close(fd(a[0])),
            libc::SYS_close_range => close_range(a[0] as c_uint, a[1] as c_uint, a[2] as c_int),
            libc::SYS_dup => libc::dup(fd(a[0])),
            libc::SYS_dup3 => libc::dup3(fd(a[0]), fd(a[1]), a[2] as c_int),
            libc::SYS_accept => libc::accept(fd(a[0]), mem(a[1]), mem(a[2])),
            libc::SYS_accept4 => libc::accept4(fd(a[0]), mem(a[1]), mem(a[2]), a[3] as c_int),
            libc::SYS_epoll_ctl => libc::epoll_ctl(fd(a[0]), a[1] as c_int, fd(a[2]), mem(a[3])),
            libc::SYS_setsockopt => {
                let [level, name] = [a[1], a[2]].map(|v| v as c_int);
                libc::setsockopt(fd(a[0]), level, name, cmem(a[3]), a[4] as c_uint)
            }
            libc::SYS_getsockopt => {
                let [level, name] = [a[1], a[2]].map(|v| v as c_int);
                libc::getsockopt(fd(a[0]), level, name, mem(a[3]), mem(a[4]))
            }
            libc::SYS_socket => {
                let [domain, kind, protocol] = [a[0], a[1], a[2]].map(|v| v as c_int);
                fresh_socket(plain_int(), |e, new| {
                    e.made_socket(new, domain, kind, protocol);
                })
            }
            libc::SYS_socketpair => pair(plain_int(), mem(a[3])),
            libc::SYS_pipe2 => pair(plain_int(), mem(a[0])),
            libc::SYS_fcntl => fcntl_by(fd(a[0]), a[1] as c_int, mem(a[2]), plain_int),
            libc::SYS_ioctl => libc::ioctl(fd(a[0]), a[1] as _, mem::<c_void>(a[2])),
            libc::SYS_openat => open_by(a[2] as c_int, plain_int),
            libc::SYS_sendmmsg => libc::sendmmsg(fd(a[0]), mem(a[1]), a[2] as c_uint, a[3] as _),
            libc::SYS_recvmmsg => {
                libc::recvmmsg(fd(a[0]), mem(a[1]), a[2] as c_uint, a[3] as _, mem(a[4]))
            }
            libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => {
                waits::raw(WaitKind::Epoll, cmem(a[1]), plain_int)
            }
            libc::SYS_ppoll | libc::SYS_pselect6 => {
                waits::raw(WaitKind::Level, std::ptr::null(), plain_int)
            }
            _ => return known_long(nr, a, plain),
        }
    };
    Some(c_long::from(int))
}

/// Those that count bytes.
///
/// # Safety
/// The arguments are those of call `nr`.
unsafe fn known_long(nr: c_long, a: [c_long; 6], plain: impl Fn() -> c_long) -> Option<c_long> {
    let n = a[2] as usize;
    // SAFETY: the caller's promise. These are the library's own functions.
    let count = unsafe {
        match nr {
            libc::SYS_read => libc::read(fd(a[0]), mem::<c_void>(a[1]), n),
            libc::SYS_readv => libc::readv(fd(a[0]), cmem(a[1]), a[2] as c_int),
            libc::SYS_write => libc::write(fd(a[0]), cmem(a[1]), n),
            libc::SYS_writev => libc::writev(fd(a[0]), cmem(a[1]), a[2] as c_int),
            libc::SYS_sendto => {
                let len = a[5] as c_uint;
                libc::sendto(fd(a[0]), cmem(a[1]), n, a[3] as c_int, cmem(a[4]), len)
            }
            libc::SYS_sendmsg => libc::sendmsg(fd(a[0]), cmem(a[1]), a[2] as c_int),
            libc::SYS_sendfile => libc::sendfile(fd(a[0]), fd(a[1]), mem(a[2]), a[3] as usize),
            libc::SYS_recvfrom => {
                libc::recvfrom(fd(a[0]), mem(a[1]), n, a[3] as c_int, mem(a[4]), mem(a[5]))
            }
            libc::SYS_recvmsg => libc::recvmsg(fd(a[0]), mem(a[1]), a[2] as c_int),
            libc::SYS_splice => {
                let [n, flags] = [a[4], a[5]];
                libc::splice(
                    fd(a[0]),
                    mem(a[1]),
                    fd(a[2]),
                    mem(a[3]),
                    n as usize,
                    flags as c_uint,
                )
            }
            libc::SYS_tee => libc::tee(fd(a[0]), fd(a[1]), n, a[3] as c_uint),
            libc::SYS_vmsplice => libc::vmsplice(fd(a[0]), cmem(a[1]), n, a[3] as c_uint),
            // The position's upper half says nothing where a long has 64 bits.
            libc::SYS_pwritev2 => {
                let [count, flags] = [a[2], a[5]].map(|v| v as c_int);
                positioned::write(fd(a[0]), cmem(a[1]), count, a[3], flags, || {
                    plain() as isize
                })
            }
            libc::SYS_preadv2 => {
                let [count, flags] = [a[2], a[5]].map(|v| v as c_int);
                positioned::read(fd(a[0]), cmem(a[1]), count, a[3], flags, || {
                    plain() as isize
                })
            }
            _ => return None,
        }
    };
    Some(count as c_long)
}

/// Those that only older architectures have.
///
/// # Safety
/// The arguments are those of call `nr`.
#[cfg(target_arch = "x86_64")]
unsafe fn known_of_old(nr: c_long, a: [c_long; 6], plain: &impl Fn() -> c_long) -> Option<c_long> {
    let plain = || plain() as c_int;
    // SAFETY: the caller's promise.
    let int = unsafe {
        match nr {
            libc::SYS_dup2 => dup_onto(fd(a[0]), fd(a[1]), plain),
            libc::SYS_pipe => pair(plain(), mem(a[0])),
            libc::SYS_open => open_by(a[1] as c_int, plain),
            libc::SYS_creat => open_by(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, plain),
            libc::SYS_epoll_wait => waits::raw(WaitKind::Epoll, cmem(a[1]), plain),
            libc::SYS_poll | libc::SYS_select => {
                waits::raw(WaitKind::Level, std::ptr::null(), plain)
            }
            _ => return None,
        }
    };
    Some(c_long::from(int))
}
