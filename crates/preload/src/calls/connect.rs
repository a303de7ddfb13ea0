//! connect(2): it may wait, it may dissolve a connection, and it tells whether
//! the process has both ends of one.

use crate::real::{errno, interpose, set_errno};
use crate::thread::enter;
use libc::{EINPROGRESS, c_int, sockaddr, socklen_t};

/// Runs a connect.
///
/// # Safety
/// `plain` connects `fd` to the address at `to`.
unsafe fn connect_by(fd: c_int, to: *const sockaddr, plain: impl FnOnce() -> c_int) -> c_int {
    if let Some(i) = enter() {
        i.before_connect(i.seg, fd);
    }
    let n = plain();
    let e = errno();
    if (n == 0 || e == EINPROGRESS)
        && let Some(i) = enter()
    {
        // SAFETY: the kernel accepted the address.
        i.connecting(fd, unsafe { port(to) });
        set_errno(e);
    }
    n
}

/// The port of an internet address.
///
/// # Safety
/// The kernel accepted the address.
unsafe fn port(to: *const sockaddr) -> Option<u16> {
    // SAFETY: an address begins with its family; one of these families has
    // the port next (ip(7), ipv6(7)).
    unsafe {
        let family = c_int::from(to.cast::<u16>().read_unaligned());
        matches!(family, libc::AF_INET | libc::AF_INET6)
            .then(|| u16::from_be(to.cast::<u16>().add(1).read_unaligned()))
    }
}

interpose! {
    fn connect(fd: c_int, to: *const sockaddr, len: socklen_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        unsafe { connect_by(fd, to, || real(fd, to, len)) }
    }
}

interpose! { unchecked
    fn __connect(fd: c_int, to: *const sockaddr, len: socklen_t) -> c_int, real {
        // SAFETY: the program's own arguments.
        unsafe { connect_by(fd, to, || real(fd, to, len)) }
    }
}
