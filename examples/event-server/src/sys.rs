//! The system calls, by way of libc's functions: a preloaded library sees
//! them as it sees those of any C server.

use std::io::{Error, ErrorKind, Result};
use std::mem::size_of;
use std::ptr::{from_ref, null_mut};

fn check(ret: impl Into<i64>) -> Result<usize> {
    usize::try_from(ret.into()).map_err(|_| Error::last_os_error())
}

/// `None` where the kernel says "not now".
fn later(result: Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes the listening socket on loopback; returns it and its port.
pub fn listen(port: u16) -> Result<(i32, u16)> {
    use std::net::TcpListener;
    use std::os::fd::IntoRawFd;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((listener.into_raw_fd(), port))
}

/// Waits until `fd` is readable.
pub fn poll_in(fd: i32) -> Result<()> {
    let mut p = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, and the count says so.
    match check(unsafe { libc::poll(&mut p, 1, -1) }) {
        Err(e) if e.kind() != ErrorKind::Interrupted => Err(e),
        _ => Ok(()),
    }
}

/// The next connection, if one is waiting.
pub fn accept(listener: i32) -> Result<Option<i32>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    loop {
        // SAFETY: null addresses are allowed.
        let fd = unsafe { libc::accept4(listener, null_mut(), null_mut(), flags) };
        match later(check(fd)) {
            Err(e) if e.raw_os_error() == Some(libc::ECONNABORTED) => {}
            other => return Ok(other?.map(|_| fd)),
        }
    }
}

/// A new epoll set.
pub fn epoll_create() -> Result<i32> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    check(fd).map(|_| fd)
}

/// Adds `fd` to an epoll set, with its number as the data.
pub fn epoll_add(epoll: i32, fd: i32, interest: u32) -> Result<()> {
    let mut event = libc::epoll_event {
        events: interest,
        u64: fd as u64,
    };
    // SAFETY: `event` lives through the call.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) })?;
    Ok(())
}

/// Waits for events; returns how many there are.
pub fn epoll_wait(epoll: i32, events: &mut [libc::epoll_event]) -> Result<usize> {
    let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
    // SAFETY: the array has room for as many events as is said.
    check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, -1) })
}

/// Receives what is there.
pub fn recv(fd: i32, buf: &mut [u8]) -> Result<Option<usize>> {
    // SAFETY: the buffer has the length that is said.
    later(check(unsafe {
        libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), 0) as i64
    }))
}

/// Sends; `more` says that the rest of the answer follows at once.
pub fn send(fd: i32, buf: &[u8], more: bool) -> Result<Option<usize>> {
    let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: the buffer has the length that is said.
    later(check(unsafe {
        libc::send(fd, buf.as_ptr().cast(), buf.len(), flags) as i64
    }))
}

/// Sends a part of a file and advances `offset`.
pub fn sendfile(fd: i32, file: i32, offset: &mut i64, len: usize) -> Result<Option<usize>> {
    // SAFETY: `offset` lives through the call.
    later(check(unsafe {
        libc::sendfile(fd, file, offset, len) as i64
    }))
}

/// Answers without waiting for more to send (lwan sets it as well).
pub fn nodelay(fd: i32) {
    let on: i32 = 1;
    // SAFETY: the value lives through the call and has the size that is said.
    unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            from_ref(&on).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
}

/// Closes.
pub fn close(fd: i32) {
    // SAFETY: no pointers; whoever calls this owns the descriptor.
    unsafe { libc::close(fd) };
}
