//! Calls with wrong arguments, on a pipe and on fresh sockets: the kernel says
//! what is wrong, and nobody reads what the pointers point at before it.

use crate::Actor;
use esca_model::scene::Bad;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

/// One call.
pub(crate) fn bad(actor: &Actor, which: Bad) {
    // SAFETY: pages without rights, which only the kernel is to
    // look at; everything else is local and lives through its call.
    let r = unsafe { call(actor, which) };
    actor.result(r);
}

unsafe fn call(actor: &Actor, which: Bad) -> i64 {
    // SAFETY: see `bad`.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let none = libc::mmap(null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        let mut p = [0; 2];
        libc::pipe2(p.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK);
        let s = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        let mut byte = 0_u8;
        let one = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        let two = [one, one];
        let mut m: libc::msghdr = zeroed();
        let mut v = 0_i32;
        let at = (&raw mut v).cast();
        let level = libc::SOL_SOCKET;
        let r: i64 = match which {
            Bad::SetsockoptValue => libc::setsockopt(s, level, libc::SO_REUSEADDR, none, 4).into(),
            Bad::SetsockoptLength => {
                libc::setsockopt(s, libc::IPPROTO_TCP, libc::TCP_NODELAY, at, u32::MAX).into()
            }
            Bad::GetsockoptValue => {
                let mut n = 4;
                libc::getsockopt(s, level, libc::SO_TYPE, none, &raw mut n).into()
            }
            Bad::GetsockoptLength => {
                libc::getsockopt(s, level, libc::SO_TYPE, at, none.cast()).into()
            }
            Bad::ReadvPointer => libc::readv(p[0], none.cast(), 2) as i64,
            Bad::ReadvHuge => libc::readv(p[0], two.as_ptr(), i32::MAX) as i64,
            Bad::ReadvNegative => libc::readv(p[0], two.as_ptr(), -1) as i64,
            Bad::WritevPointer => libc::writev(p[1], none.cast(), 2) as i64,
            Bad::WritevHuge => libc::writev(p[1], two.as_ptr(), i32::MAX) as i64,
            Bad::WritevNegative => libc::writev(p[1], two.as_ptr(), -1) as i64,
            Bad::WritevBase => {
                let v = libc::iovec {
                    iov_base: none,
                    iov_len: 8,
                };
                libc::writev(s, &raw const v, 1) as i64
            }
            Bad::SendmsgPointer => libc::sendmsg(s, none.cast(), 0) as i64,
            Bad::SendmsgIov => {
                (m.msg_iov, m.msg_iovlen) = (none.cast(), 1);
                libc::sendmsg(s, &raw const m, libc::MSG_NOSIGNAL) as i64
            }
            Bad::SendmsgControl => {
                (m.msg_control, m.msg_controllen) = (none, 64);
                libc::sendmsg(s, &raw const m, libc::MSG_NOSIGNAL) as i64
            }
            Bad::SendmmsgPointer => libc::sendmmsg(s, none.cast(), 1, libc::MSG_NOSIGNAL).into(),
            Bad::SendmmsgIov => {
                let mut mm: libc::mmsghdr = zeroed();
                (mm.msg_hdr.msg_iov, mm.msg_hdr.msg_iovlen) = (none.cast(), 1);
                libc::sendmmsg(s, &raw mut mm, 1, libc::MSG_NOSIGNAL).into()
            }
            Bad::RecvmsgPointer => libc::recvmsg(s, none.cast(), 0) as i64,
            Bad::SendfileOffset => libc::sendfile(s, p[0], none.cast(), 4) as i64,
            Bad::SpliceOffset => libc::splice(p[0], none.cast(), s, null_mut(), 4, 0) as i64,
            Bad::EpollEvents => libc::epoll_wait(-1, none.cast(), 1, 0).into(),
            Bad::PollPointer => libc::poll(none.cast(), 1, 0).into(),
            Bad::SelectPointer => {
                libc::select(4, none.cast(), null_mut(), null_mut(), null_mut()).into()
            }
            Bad::AcceptLength => libc::accept4(s, none.cast(), none.cast(), 0).into(),
            Bad::PipePointer => libc::pipe2(none.cast(), 0).into(),
            Bad::SocketpairPointer => {
                libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, none.cast()).into()
            }
            Bad::Shutdown7 => libc::shutdown(actor.fd(0), 7).into(),
            Bad::ConnectUnspec => unspec(actor),
            Bad::FastOpenConnect => fast_open(),
            Bad::FcntlLock => libc::fcntl(p[0], libc::F_SETLK, none).into(),
            Bad::IoctlPointer => libc::ioctl(p[0], libc::FIONREAD, none).into(),
            Bad::NanosleepPointer => libc::syscall(libc::SYS_nanosleep, none, null_mut::<u8>()),
            Bad::PpollMask => libc::ppoll(null_mut(), 0, none.cast(), null_mut()).into(),
            Bad::OpenPointer => libc::open(none.cast(), libc::O_RDONLY).into(),
        };
        let e = crate::errno();
        for fd in [p[0], p[1], s] {
            libc::close(fd);
        }
        *libc::__errno_location() = e;
        r
    }
}

/// The first stream's connection is dissolved.
unsafe fn unspec(actor: &Actor) -> i64 {
    // SAFETY: a local address.
    unsafe {
        let mut a: libc::sockaddr = zeroed();
        a.sa_family = libc::AF_UNSPEC as u16;
        libc::connect(actor.fd(0), &raw const a, 16).into()
    }
}

/// A write on a connection that is made by the first write, to nobody.
unsafe fn fast_open() -> i64 {
    // SAFETY: a local address, and buffers with their lengths.
    unsafe {
        let s = libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        );
        crate::set(s, libc::TCP_FASTOPEN_CONNECT, 1);
        let mut a: libc::sockaddr_in = zeroed();
        a.sin_family = libc::AF_INET as u16;
        // Nobody answers at an address of TEST-NET-1.
        a.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
        a.sin_port = 1_u16.to_be();
        libc::connect(s, (&raw const a).cast(), 16);
        let mut r = 0;
        for _ in 0..3 {
            r = r * 100_000 + libc::write(s, c"abc".as_ptr().cast(), 3) as i64;
        }
        let _ = SeqCst;
        libc::close(s);
        r
    }
}
