//! The calls that take a pointer or a length, each with both.

use crate::cases::at;
use libc::{c_int, iovec, msghdr, socklen_t};
use std::ptr::{null, null_mut};

/// What a call's number is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Bytes of a buffer.
    Bytes,
    /// Members of an array.
    Count,
    /// Bytes of an option.
    Option,
    /// It has none.
    Nothing,
}

/// A call with a descriptor, an address and a number.
pub struct Call {
    pub name: &'static str,
    pub takes: Takes,
    /// Bytes may go out.
    pub sends: bool,
    /// What it points to is copied on a stream that promises.
    pub is_copied: bool,
    pub make: unsafe fn(c_int, usize, usize) -> isize,
}

const QUIET: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

macro_rules! calls {
    ($($name:literal $takes:ident $sends:literal $copied:literal |$fd:ident, $p:ident, $n:ident| $call:expr;)*) => {
        /// All of them.
        pub const CALLS: &[Call] = &[$(Call {
            name: $name,
            takes: Takes::$takes,
            sends: $sends,
            is_copied: $copied,
            // SAFETY: what the arguments are not, the kernel says.
            make: |$fd, $p, $n| unsafe { ($call) as isize },
        }),*];
    };
}

calls! {
    "write" Bytes true true |fd, p, n| libc::write(fd, at(p), n);
    "send" Bytes true true |fd, p, n| libc::send(fd, at(p), n, QUIET);
    "send-more" Bytes true true |fd, p, n| libc::send(fd, at(p), n, QUIET | libc::MSG_MORE);
    "send-oob" Nothing true false |fd, p, _n| libc::send(fd, at(p), 0, QUIET | libc::MSG_OOB);
    "sendto" Bytes true true |fd, p, n| libc::sendto(fd, at(p), n, QUIET, null(), 0);
    "sendto-address" Option true false |fd, p, n| {
        libc::sendto(fd, c"to".as_ptr().cast(), 0, QUIET, at(p), n as socklen_t)
    };
    "read" Bytes false false |fd, p, n| libc::read(fd, at(p), n);
    "recv" Bytes false false |fd, p, n| libc::recv(fd, at(p), n, QUIET);
    "recvfrom" Option false false |fd, p, n| {
        let mut byte = n as u8;
        libc::recvfrom(fd, (&raw mut byte).cast(), 1, QUIET, at(p), at(p))
    };
    "pread" Bytes false false |fd, p, n| libc::pread(fd, at(p), n, 0);
    "writev" Count true true |fd, p, n| libc::writev(fd, at(p), n as c_int);
    "writev-piece" Bytes true true |fd, p, n| libc::writev(fd, &piece(p, n), 1);
    "writev-second" Bytes true true |fd, p, n| {
        libc::writev(fd, [piece(0, 0), piece(p, n)].as_ptr(), 2)
    };
    "readv" Count false false |fd, p, n| libc::readv(fd, at(p), n as c_int);
    "readv-piece" Bytes false false |fd, p, n| libc::readv(fd, &piece(p, n), 1);
    "vmsplice" Count true false |fd, p, n| libc::vmsplice(fd, at(p), n, libc::SPLICE_F_NONBLOCK);
    "sendmsg-header" Nothing true true |fd, p, _n| libc::sendmsg(fd, at(p), QUIET);
    "sendmsg-vector" Count true true |fd, p, n| libc::sendmsg(fd, &header(p, n, 0, 0), QUIET);
    "sendmsg-piece" Bytes true true |fd, p, n| {
        libc::sendmsg(fd, &header(std::ptr::from_ref(&piece(p, n)).addr(), 1, 0, 0), QUIET)
    };
    "sendmsg-control" Option true false |fd, p, n| {
        let v = piece(c"c".as_ptr().addr(), 1);
        libc::sendmsg(fd, &header((&raw const v).addr(), 1, p, n), QUIET)
    };
    "recvmsg" Nothing false false |fd, p, _n| libc::recvmsg(fd, at(p), QUIET);
    "recvmsg-vector" Count false false |fd, p, n| libc::recvmsg(fd, &mut header(p, n, 0, 0), QUIET);
    "sendmmsg" Count true false |fd, p, n| {
        // 1,024 empty datagrams would wait for a reader.
        libc::sendmmsg(fd, at(p), n.min(2) as u32, QUIET as _)
    };
    "recvmmsg" Count false false |fd, p, n| {
        libc::recvmmsg(fd, at(p), n.min(2) as u32, QUIET as _, null_mut())
    };
    "sendfile-offset" Bytes true false |fd, p, n| libc::sendfile(fd, -1, at(p), n);
    "sendfile-in" Nothing true false |fd, p, n| libc::sendfile(-1, fd, at(p), n);
    "splice-offset" Nothing true false |fd, p, n| {
        libc::splice(fd, at(p), -1, null_mut(), n, libc::SPLICE_F_NONBLOCK)
    };
    "cork" Option false false |fd, p, n| option(fd, libc::IPPROTO_TCP, libc::TCP_CORK, p, n);
    "cork-corked" Option false false |fd, p, n| {
        let mut on = 1;
        option(fd, libc::IPPROTO_TCP, libc::TCP_CORK, (&raw mut on).addr(), 4);
        let r = option(fd, libc::IPPROTO_TCP, libc::TCP_CORK, p, n);
        let e = *libc::__errno_location();
        on = 0;
        option(fd, libc::IPPROTO_TCP, libc::TCP_CORK, (&raw mut on).addr(), 4);
        *libc::__errno_location() = e;
        r
    };
    "nodelay" Option false false |fd, p, n| {
        let on = 1;
        option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const on).addr(), 4);
        let r = option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, p, n);
        let e = *libc::__errno_location();
        option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const on).addr(), 4);
        *libc::__errno_location() = e;
        r
    };
    "linger" Option false false |fd, p, n| option(fd, libc::SOL_SOCKET, libc::SO_LINGER, p, n);
    "keepalive" Option false false |fd, p, n| {
        option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, p, n)
    };
    "get-error" Option false false |fd, p, n| get(fd, libc::SOL_SOCKET, libc::SO_ERROR, p, n);
    "get-error-length" Nothing false false |fd, p, n| {
        let mut v = n;
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut v).cast(), at(p))
    };
    "get-cork" Option false false |fd, p, n| get(fd, libc::IPPROTO_TCP, libc::TCP_CORK, p, n);
    "get-cork-corked" Option false false |fd, p, n| {
        let mut on = 1;
        option(fd, libc::IPPROTO_TCP, libc::TCP_CORK, (&raw mut on).addr(), 4);
        let r = get(fd, libc::IPPROTO_TCP, libc::TCP_CORK, p, n);
        let e = *libc::__errno_location();
        on = 0;
        option(fd, libc::IPPROTO_TCP, libc::TCP_CORK, (&raw mut on).addr(), 4);
        *libc::__errno_location() = e;
        r
    };
    "accept4" Nothing false false |fd, p, _n| libc::accept4(fd, at(p), at(p), 0);
    "fionread" Nothing false false |fd, p, _n| libc::ioctl(fd, libc::FIONREAD, p);
    // Not where an int can be read: it would become blocking.
    "fionbio" Nothing false false |fd, p, _n| {
        let on = 1;
        libc::ioctl(fd, libc::FIONBIO, if is_there(p) { (&raw const on).addr() } else { p })
    };
    "epoll_ctl" Nothing false false |fd, p, _n| {
        let set = libc::epoll_create1(0);
        let r = libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, at(p));
        let e = *libc::__errno_location();
        libc::close(set);
        *libc::__errno_location() = e;
        r
    };
    "pipe" Nothing false false |_fd, p, _n| if is_there(p) { 0 } else { libc::pipe(at(p)) };
    "socketpair" Nothing false false |_fd, p, _n| {
        if is_there(p) { 0 } else { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, at(p)) }
    };
    "poll" Count false false |_fd, p, n| libc::poll(at(p), n as libc::nfds_t, 0);
    "open" Nothing false false |_fd, p, _n| libc::open(at(p), 0);
    "unlink" Nothing false false |_fd, p, _n| libc::unlink(at(p));
    "pwrite" Bytes true false |fd, p, n| libc::pwrite(fd, at(p), n, 0);
}

/// Whether it is one of the addresses where something is.
fn is_there(p: usize) -> bool {
    p > 1 && matches!(p % 4096, 1 | 4088)
}

fn piece(p: usize, n: usize) -> iovec {
    iovec {
        iov_base: at(p),
        iov_len: n,
    }
}

fn header(iov: usize, n: usize, control: usize, len: usize) -> msghdr {
    // SAFETY: zeroes are a header.
    let mut m: msghdr = unsafe { std::mem::zeroed() };
    m.msg_iov = at(iov);
    m.msg_iovlen = n as _;
    m.msg_control = at(control);
    m.msg_controllen = len as _;
    m
}

/// # Safety
/// None: what the arguments are not, the kernel says.
unsafe fn option(fd: c_int, level: c_int, name: c_int, p: usize, n: usize) -> c_int {
    // SAFETY: what the arguments are not, the kernel says.
    unsafe { libc::setsockopt(fd, level, name, at(p), n as socklen_t) }
}

/// The answer, and the length that came back.
///
/// # Safety
/// As for `option`.
unsafe fn get(fd: c_int, level: c_int, name: c_int, p: usize, n: usize) -> isize {
    let mut len = n as socklen_t;
    // SAFETY: what the arguments are not, the kernel says.
    let r = unsafe { libc::getsockopt(fd, level, name, at(p), &raw mut len) } as isize;
    let readable = r == 0 && len > 0;
    let first = if readable {
        // SAFETY: the kernel wrote as much.
        unsafe { at::<u8>(p).read() }
    } else {
        0
    };
    if r < 0 {
        r
    } else {
        ((len as isize) << 8) + isize::from(first)
    }
}
