//! libc's functions as a C program calls them. What the actor does for itself
//! goes past libc (rustix), so that it does not disturb what is tested.

use esca_model::program::{Dup, How, Opt, Take, Way};
use esca_suite::calls as several;
pub(crate) use esca_suite::calls::{Ret, ret};
use libc::{c_int, c_void};
use rustix::fs::{MemfdFlags, memfd_create};
use std::cell::Cell;
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::ptr::{from_mut, from_ref, null_mut};

/// What a call that writes came to.
pub(crate) struct Wrote {
    pub ret: Ret,
    /// sendfile moved the offset as it said.
    pub offset_holds: bool,
}

thread_local! {
    static SIGPIPES: Cell<u32> = const { Cell::new(0) };
}

/// SIGPIPEs that this thread got.
pub(crate) fn sigpipes() -> u32 {
    SIGPIPES.get()
}

/// Counts SIGPIPEs from now on.
pub(crate) fn count_sigpipes() {
    extern "C" fn count(_: c_int) {
        SIGPIPES.set(SIGPIPES.get() + 1);
    }
    // SAFETY: a whole action, whose handler changes a thread-local cell.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = count as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGPIPE, &raw const action, null_mut());
    }
}

/// Writes `bytes` once; for sendfile, `more` bytes follow in the file that
/// are not asked for.
pub(crate) fn write(fd: i32, bytes: &mut [u8], how: How) -> Wrote {
    let n = bytes.len();
    let at: *const c_void = bytes.as_ptr().cast();
    // SAFETY (of each call): the bytes live through it, with their length.
    let ret = match how {
        // SAFETY: as said above.
        How::Write => ret(unsafe { libc::write(fd, at, n) } as i64),
        // SAFETY: as said above.
        How::Send => ret(unsafe { libc::send(fd, at, n, 0) } as i64),
        // SAFETY: as said above.
        How::More => ret(unsafe { libc::send(fd, at, n, libc::MSG_MORE) } as i64),
        How::Quiet => {
            let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
            // SAFETY: as above.
            ret(unsafe { libc::send(fd, at, n, flags) } as i64)
        }
        // SAFETY: as above.
        How::Number => ret(unsafe { libc::syscall(libc::SYS_write, fd, at, n) }),
        How::Writev => {
            let (a, rest) = bytes.split_at(n / 3);
            let (b, c) = rest.split_at(rest.len() / 2);
            several::writev(fd, [a, b, c])
        }
        How::Sendmsg | How::Control => {
            let (a, b) = bytes.split_at(n / 2);
            let control = (how == How::Control).then_some((libc::SO_TIMESTAMPING, 0));
            several::sendmsg(fd, [a, b], control)
        }
        How::Sendmmsg => {
            // A first message of nothing would count as sent where there is
            // no room.
            let (a, b) = bytes.split_at(n.div_ceil(2));
            several::sendmmsg(fd, [a, b])
        }
        How::File | How::FileHere | How::ShortFile => return sendfile(fd, bytes, how),
        How::PipeFile => from_pipe(bytes, |pipe, n| {
            // SAFETY: no offset.
            unsafe { libc::sendfile(fd, pipe, null_mut(), n) }
        }),
        How::Splice => from_pipe(bytes, |pipe, n| {
            let flags = libc::SPLICE_F_NONBLOCK;
            // SAFETY: no offsets.
            unsafe { libc::splice(pipe, null_mut(), fd, null_mut(), n, flags) }
        }),
    };
    Wrote {
        ret,
        offset_holds: true,
    }
}

/// sendfile(2) of a file that holds the bytes, and more; it is closed and
/// forgotten at once.
fn sendfile(fd: i32, bytes: &[u8], how: How) -> Wrote {
    const BEFORE: usize = 11;
    let file = memfd_create("part", MemfdFlags::CLOEXEC).expect("a file");
    let mut n = bytes.len();
    let mut content = vec![b'<'; BEFORE];
    content.extend_from_slice(bytes);
    if how == How::ShortFile {
        n += n / 2 + 1;
    } else {
        content.extend_from_slice(b">>>>");
    }
    let mut rest = &content[..];
    while !rest.is_empty() {
        let done = rustix::io::write(&file, rest).expect("a written file");
        rest = &rest[done..];
    }
    let start = BEFORE as u64;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(start)).expect("a place");
    let mut at = BEFORE as i64;
    let offset = if how == How::FileHere {
        null_mut()
    } else {
        from_mut(&mut at)
    };
    // SAFETY: the offset lives through the call.
    let ret = ret(unsafe { libc::sendfile(fd, file.as_raw_fd(), offset, n) } as i64);
    let stands = rustix::fs::tell(&file).expect("where the file stands");
    let moved = ret.unwrap_or(0) as u64;
    let offset_holds = if how == How::FileHere {
        stands == start + moved
    } else {
        stands == start && at as u64 == start + moved
    };
    Wrote { ret, offset_holds }
}

/// A call that takes its bytes from a pipe; a pipe holds 64 KiB.
fn from_pipe(bytes: &[u8], call: impl Fn(i32, usize) -> isize) -> Ret {
    let (out, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
    let n = rustix::io::write(&into, bytes).unwrap_or(0);
    ret(call(out.as_raw_fd(), n) as i64)
}

/// Reads once.
pub(crate) fn read(fd: i32, to: &mut [u8], take: Take) -> Ret {
    let (at, n) = (to.as_mut_ptr().cast(), to.len());
    // SAFETY (of each call): the room lives through it, with its length.
    match take {
        // SAFETY: as said above.
        Take::Read => ret(unsafe { libc::read(fd, at, n) } as i64),
        // SAFETY: as above.
        Take::Recv => ret(unsafe { libc::recv(fd, at, n, libc::MSG_DONTWAIT) } as i64),
        Take::Peek => {
            let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK;
            // SAFETY: as above.
            ret(unsafe { libc::recv(fd, at, n, flags) } as i64)
        }
        Take::Readv | Take::Recvmsg => {
            let (a, b) = to.split_at_mut(n / 2);
            if take == Take::Readv {
                several::readv(fd, [a, b])
            } else {
                several::recvmsg(fd, [a, b], libc::MSG_DONTWAIT)
            }
        }
    }
}

/// Sets or gets an option.
pub(crate) fn option(fd: i32, opt: Opt) -> Ret {
    let set = |level, name, value: i32| {
        let value: *const c_void = from_ref(&value).cast();
        // SAFETY: an int that lives through the call.
        ret(unsafe { libc::setsockopt(fd, level, name, value, 4) })
    };
    let get = |level, name| {
        let (mut value, mut len) = (0_i32, 4);
        // SAFETY: value and length live through the call.
        ret(unsafe { libc::getsockopt(fd, level, name, from_mut(&mut value).cast(), &mut len) })?;
        ret(value)
    };
    match opt {
        Opt::Cork(on) => set(libc::IPPROTO_TCP, libc::TCP_CORK, on.into()),
        Opt::IsCorked => get(libc::IPPROTO_TCP, libc::TCP_CORK),
        Opt::Nodelay(on) => set(libc::IPPROTO_TCP, libc::TCP_NODELAY, on.into()),
        Opt::Sndbuf(n) => set(libc::SOL_SOCKET, libc::SO_SNDBUF, n as i32),
        Opt::Lowat(n) => set(libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, n as i32),
        Opt::Linger(seconds) => {
            let linger = libc::linger {
                l_onoff: seconds.is_some().into(),
                l_linger: seconds.unwrap_or(0).into(),
            };
            let (at, len) = (from_ref(&linger).cast(), size_of::<libc::linger>() as u32);
            // SAFETY: a struct that lives through the call, with its length.
            ret(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, at, len) })
        }
        Opt::Error => get(libc::SOL_SOCKET, libc::SO_ERROR),
        Opt::Nonblock(on) => {
            let flags = libc::O_RDWR | if on { libc::O_NONBLOCK } else { 0 };
            // SAFETY: numbers.
            ret(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) })
        }
        Opt::Fionbio(on) => {
            let mut on = i32::from(on);
            // SAFETY: an int that lives through the call.
            ret(unsafe { libc::ioctl(fd, libc::FIONBIO, from_mut(&mut on)) })
        }
    }
}

/// Duplicates `fd`; `onto` is the target of those that have one.
pub(crate) fn dup(fd: i32, dup: Dup, onto: i32) -> Ret {
    // SAFETY: numbers.
    ret(unsafe {
        match dup {
            Dup::Dup => libc::dup(fd),
            Dup::Fcntl => libc::fcntl(fd, libc::F_DUPFD, 40),
            Dup::Dup2 | Dup::Over(_) => libc::dup2(fd, onto),
            Dup::Dup3 => libc::dup3(fd, onto, libc::O_CLOEXEC),
            Dup::Refused(_) => libc::dup3(fd, onto, 1),
        }
    })
}

/// shutdown(2).
pub(crate) fn shutdown(fd: i32, way: Way) -> Ret {
    let how = match way {
        Way::Read => libc::SHUT_RD,
        Way::Write => libc::SHUT_WR,
        Way::Both => libc::SHUT_RDWR,
    };
    // SAFETY: numbers.
    ret(unsafe { libc::shutdown(fd, how) })
}

/// close(2).
pub(crate) fn close(fd: i32) -> Ret {
    // SAFETY: the actor knows what it closes.
    ret(unsafe { libc::close(fd) })
}

/// A listener on loopback, with its port.
pub(crate) fn listen(nonblocking: bool) -> (i32, u16) {
    let kind = libc::SOCK_STREAM | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: the address lives through the calls that get it.
    unsafe {
        let fd = libc::socket(libc::AF_INET, kind, 0);
        let mut to: libc::sockaddr_in = zeroed();
        to.sin_family = libc::AF_INET as u16;
        to.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
        let mut len = size_of::<libc::sockaddr_in>() as u32;
        let bound = libc::bind(fd, from_ref(&to).cast(), len);
        let known = libc::getsockname(fd, from_mut(&mut to).cast(), &mut len);
        let stands = libc::listen(fd, 16);
        assert!((bound, known, stands) == (0, 0, 0), "no listener");
        (fd, u16::from_be(to.sin_port))
    }
}

/// accept(2) or accept4(2): the connection and its peer's port.
pub(crate) fn accept(listener: i32, nonblocking: bool) -> (Ret, u16) {
    // SAFETY: the address and its length live through the calls.
    unsafe {
        let mut from: libc::sockaddr_in = zeroed();
        let mut len = size_of::<libc::sockaddr_in>() as u32;
        let at: *mut libc::sockaddr = from_mut(&mut from).cast();
        let fd = if nonblocking {
            libc::accept4(listener, at, &mut len, libc::SOCK_NONBLOCK)
        } else {
            libc::accept(listener, at, &mut len)
        };
        (ret(fd), u16::from_be(from.sin_port))
    }
}
