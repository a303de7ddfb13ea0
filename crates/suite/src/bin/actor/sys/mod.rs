//! libc's functions, as a C program calls them, with results that compare:
//! what the call returned, or its errno.

mod jail;
mod waits;

pub use esca_suite::calls::*;
pub use jail::*;
pub use waits::*;

use std::mem::{size_of, zeroed};
use std::ptr::{from_mut, from_ref, null, null_mut};

/// A return value in words.
pub fn show(r: Ret) -> String {
    match r {
        Ok(n) => n.to_string(),
        Err(libc::EAGAIN) => "EAGAIN".into(),
        Err(libc::EPIPE) => "EPIPE".into(),
        Err(libc::ECONNRESET) => "ECONNRESET".into(),
        Err(libc::EBADF) => "EBADF".into(),
        Err(e) => format!("errno {e}"),
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $call:expr;)+) => {$(
        $(#[$doc])*
        pub fn $name($($arg: $type),*) -> Ret {
            // SAFETY: every pointer comes from a reference or a slice that
            // lives through the call, with the length that is passed beside.
            ret(unsafe { $call } as i64)
        }
    )+};
}

calls! {
    /// write(2).
    write(fd: i32, b: &[u8]) = libc::write(fd, b.as_ptr().cast(), b.len());
    /// read(2).
    read(fd: i32, b: &mut [u8]) = libc::read(fd, b.as_mut_ptr().cast(), b.len());
    /// write(2) of what may not be there: the kernel refuses it before it looks.
    write_at(fd: i32, at: usize, n: usize) = libc::write(fd, std::ptr::without_provenance(at), n);
    /// read(2) to where nothing may be, likewise.
    read_at(fd: i32, at: usize, n: usize) = libc::read(fd, std::ptr::without_provenance_mut(at), n);
    /// recv(2).
    recv(fd: i32, b: &mut [u8], flags: i32) = libc::recv(fd, b.as_mut_ptr().cast(), b.len(), flags);
    /// send(2).
    send(fd: i32, b: &[u8], flags: i32) = libc::send(fd, b.as_ptr().cast(), b.len(), flags);
    /// sendto(2) without an address.
    sendto(fd: i32, b: &[u8]) = libc::sendto(fd, b.as_ptr().cast(), b.len(), 0, null(), 0);
    /// sendfile(2).
    sendfile(fd: i32, file: i32, off: &mut i64, n: usize) = libc::sendfile(fd, file, off, n);
    /// close(2).
    close(fd: i32) = libc::close(fd);
    /// close_range(2).
    close_range(from: i32, to: i32) = libc::close_range(from as u32, to as u32, 0);
    /// shutdown(2), of the sending side.
    shutdown_write(fd: i32) = libc::shutdown(fd, libc::SHUT_WR);
    /// dup(2).
    dup(fd: i32) = libc::dup(fd);
    /// dup2(2).
    dup2(fd: i32, to: i32) = libc::dup2(fd, to);
    /// fcntl(2), F_DUPFD.
    dup_from(fd: i32, least: i32) = libc::fcntl(fd, libc::F_DUPFD, least);
    /// pipe2(2), non-blocking.
    pipe(ends: &mut [i32; 2]) = libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK);
    /// socketpair(2): blocking UNIX stream sockets.
    unix_pair(ends: &mut [i32; 2]) =
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr());
    /// open(2), for reading.
    open(path: &std::ffi::CStr) = libc::open(path.as_ptr(), libc::O_RDONLY);
    /// The same, for writing.
    open_to_write(path: &std::ffi::CStr) = libc::open(path.as_ptr(), libc::O_WRONLY);
    /// socket(2), TCP.
    socket() = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
    /// accept4(2), non-blocking.
    accept(fd: i32) = libc::accept4(fd, null_mut(), null_mut(), libc::SOCK_NONBLOCK);
    /// epoll_create1(2).
    epoll_create() = libc::epoll_create1(libc::EPOLL_CLOEXEC);
    /// poll(2).
    poll(p: &mut [libc::pollfd], ms: i32) = libc::poll(p.as_mut_ptr(), p.len() as u64, ms);
    /// setsockopt(2) of TCP.
    set_tcp(fd: i32, option: i32, on: i32) =
        libc::setsockopt(fd, libc::IPPROTO_TCP, option, from_ref(&on).cast(), 4);
    /// write(2) by syscall(2).
    write_by_number(fd: i32, b: &[u8]) =
        libc::syscall(libc::SYS_write, fd, b.as_ptr(), b.len());
    /// splice(2) from a pipe, not blocking.
    splice(pipe: i32, fd: i32, n: usize) =
        libc::splice(pipe, null_mut(), fd, null_mut(), n, libc::SPLICE_F_NONBLOCK);
    /// fcntl(2), F_SETFL.
    set_flags(fd: i32, flags: i32) = libc::fcntl(fd, libc::F_SETFL, flags);
    /// ioctl(2), FIONBIO.
    set_nonblocking(fd: i32, on: &mut i32) = libc::ioctl(fd, libc::FIONBIO, from_mut(on));
    /// setsockopt(2), SO_RCVTIMEO.
    set_receive_limit(fd: i32, limit: &libc::timeval) = libc::setsockopt(
        fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, from_ref(limit).cast(), size_of::<libc::timeval>() as u32);
    /// setsockopt(2), SO_LINGER.
    set_linger(fd: i32, l: &libc::linger) = libc::setsockopt(
        fd, libc::SOL_SOCKET, libc::SO_LINGER, from_ref(l).cast(), size_of::<libc::linger>() as u32);
    /// sendfile(2) from where the file stands.
    sendfile_on(fd: i32, file: i32, n: usize) = libc::sendfile(fd, file, null_mut(), n);
    /// lseek(2): where the file stands.
    position(file: i32) = libc::lseek(file, 0, libc::SEEK_CUR);
    /// fork(2).
    fork() = libc::fork();
    /// kill(2).
    kill(pid: i32, signal: i32) = libc::kill(pid, signal);
    /// getpid(2).
    getpid() = libc::getpid();
    /// execve(2).
    exec(path: &std::ffi::CStr, args: &[*const libc::c_char]) = libc::execv(path.as_ptr(), args.as_ptr());
}

/// getsockopt(2) of a number.
pub fn get_option(fd: i32, level: i32, option: i32) -> Ret {
    let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: value and length live through the call.
    ret(unsafe { libc::getsockopt(fd, level, option, from_mut(&mut value).cast(), &mut len) })?;
    ret(value)
}

/// waitpid(2): the child's exit status.
pub fn wait(pid: usize) -> Ret {
    let mut status = 0;
    // SAFETY: the status lives through the call.
    ret(unsafe { libc::waitpid(pid as i32, &mut status, 0) })?;
    ret(libc::WEXITSTATUS(status))
}

/// posix_spawn(3) of `/bin/echo WORD` with its output on `fd`.
pub fn spawn_echo(fd: i32, word: &std::ffi::CStr) -> Ret {
    let path = c"/bin/echo";
    let args = [path.as_ptr(), word.as_ptr(), null()];
    let mut pid = 0;
    // SAFETY: the actions are initialised before use and destroyed after,
    // and the arguments end with a null.
    unsafe {
        let mut actions: libc::posix_spawn_file_actions_t = zeroed();
        libc::posix_spawn_file_actions_init(&mut actions);
        libc::posix_spawn_file_actions_adddup2(&mut actions, fd, 1);
        let failed = libc::posix_spawn(
            &mut pid,
            path.as_ptr(),
            &actions,
            null(),
            args.as_ptr().cast(),
            environ.cast(),
        );
        libc::posix_spawn_file_actions_destroy(&mut actions);
        if failed == 0 { ret(pid) } else { Err(failed) }
    }
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// _exit(2).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: it doesn't come back.
    unsafe { libc::_exit(status) }
}

/// exit(3).
pub fn exit(status: i32) -> ! {
    // SAFETY: no other thread is in an exit handler.
    unsafe { libc::exit(status) }
}

/// quick_exit(3).
pub fn exit_quickly(status: i32) -> ! {
    unsafe extern "C" {
        fn quick_exit(status: i32) -> !;
    }
    // SAFETY: it doesn't come back.
    unsafe { quick_exit(status) }
}

/// abort(3).
pub fn abort() -> ! {
    // SAFETY: it doesn't come back.
    unsafe { libc::abort() }
}

/// Installs a signal handler, with flags of sigaction(2).
pub fn on_signal(signal: i32, handler: extern "C" fn(i32), flags: i32) {
    // SAFETY: the action is whole; the handlers call nothing but write and
    // atomics.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        libc::sigaction(signal, &action, null_mut());
    }
}

/// setitimer(2): SIGALRM again and again; 0 stops it.
pub fn every(microseconds: i64) {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: the timer's value lives through the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, null_mut()) };
}

/// Runs a signal handler's body and leaves errno as it was.
pub fn keeping_errno(body: impl FnOnce()) {
    // SAFETY: the thread's own errno, valid as long as the thread lives.
    let errno = unsafe { *libc::__errno_location() };
    body();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
