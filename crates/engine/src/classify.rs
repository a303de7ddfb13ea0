//! The one look at a descriptor of unknown origin (contract 7).

use crate::engine::Engine;
use crate::numbers::borrow;
use crate::slot::bits;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::net::{AddressFamily, SocketType, getpeername, ipproto, sockopt};
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// Finds out what `fd` is and stores it in its slot.
    #[cold]
    pub(crate) fn classify(&self, fd: i32) {
        if let Some(slot) = self.slots.get(fd) {
            let mut found = look(fd);
            if slot.made.load(Relaxed) == 0 && (self.is_given)(fd) {
                found |= bits::INHERITED;
            }
            self.used(fd);
            slot.change(
                bits::KIND | bits::NONBLOCK | bits::CORK_REAL | bits::NODELAY | bits::LINGER,
                found,
            );
        }
    }
}

/// What the kernel says of `fd`: a kind and the flags that go with it.
fn look(fd: i32) -> u64 {
    if fd < 0 {
        return bits::UNKNOWN;
    }
    let fd = borrow(fd);
    let tcp = || -> rustix::io::Result<u64> {
        let family = sockopt::socket_domain(fd)?;
        let inet = family == AddressFamily::INET || family == AddressFamily::INET6;
        if !inet
            || sockopt::socket_type(fd)? != SocketType::STREAM
            || sockopt::socket_protocol(fd)? != Some(ipproto::TCP)
            || has_ulp(fd)
        {
            return Ok(bits::PASS);
        }
        let mut found = if getpeername(fd)?.is_some() {
            bits::STREAM
        } else {
            bits::TCP
        };
        if sockopt::tcp_cork(fd)? {
            found |= bits::CORK_REAL;
        }
        if sockopt::tcp_nodelay(fd)? {
            found |= bits::NODELAY;
        }
        if sockopt::socket_linger(fd)?.is_some() {
            found |= bits::LINGER;
        }
        Ok(found)
    };
    let mut found = match tcp() {
        Ok(f) => f,
        Err(rustix::io::Errno::NOTCONN) => bits::TCP,
        Err(rustix::io::Errno::BADF) => return bits::UNKNOWN,
        Err(_) => bits::PASS,
    };
    let flags = fcntl_getfl(fd).unwrap_or(OFlags::empty());
    if flags.bits() & libc::O_ASYNC.cast_unsigned() != 0 {
        // A signal tells of what arrives.
        found = bits::PASS;
    }
    if flags.contains(OFlags::NONBLOCK) {
        found |= bits::NONBLOCK;
    }
    found
}

/// Whether an upper-layer protocol (kernel TLS) stands between the program's
/// bytes and the stream.
fn has_ulp(fd: rustix::fd::BorrowedFd<'_>) -> bool {
    use rustix::fd::AsRawFd;
    let mut name = [0u8; 16];
    let mut len = name.len() as libc::socklen_t;
    // SAFETY: the buffer and its length are local. rustix has no TCP_ULP.
    let r = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_ULP,
            name.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    r == 0 && len > 0 && name[0] != 0
}
