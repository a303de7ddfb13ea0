//! What an errno of a send speaks of.

use libc::{EAGAIN, EINTR, ENOBUFS, ENOMEM};

/// Whether an errno means that the kernel takes nothing *now*: no byte and no
/// stream is lost.
pub(crate) fn is_transient(e: i32) -> bool {
    matches!(e, EAGAIN | EINTR | ENOBUFS | ENOMEM)
}

/// Whether an errno speaks of the backend (or of the buffers) and not of the
/// socket: no send of good bytes on a connected stream ends with it.
pub(crate) fn speaks_not_of_the_socket(e: i32) -> bool {
    matches!(
        e,
        libc::ENOSYS
            | libc::EOPNOTSUPP
            | libc::ENODEV
            | libc::ENXIO
            | libc::ENOTTY
            | libc::EBADFD
            | libc::ECANCELED
            | libc::EINVAL
            | libc::EFAULT
    )
}
