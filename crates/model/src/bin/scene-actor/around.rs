//! What surrounds a program: how it begins, descriptors in bulk, and what it
//! leaves.

use crate::{Actor, errno, raw, set, wake};
use esca_model::scene::stage::{CLIENTS, What};
use esca_model::scene::{Before, Bulk, By, Leave};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};

unsafe extern "C" {
    fn pthread_atfork(
        prepare: extern "C" fn(),
        parent: extern "C" fn(),
        child: extern "C" fn(),
    ) -> i32;
    fn close_range(first: u32, last: u32, flags: i32) -> i32;
}

/// The mutex of the fork handlers: 1 is held.
pub(crate) static MUTEX: AtomicU32 = AtomicU32::new(0);

pub(crate) extern "C" fn lock() {
    while MUTEX.compare_exchange(0, 1, SeqCst, SeqCst).is_err() {
        std::thread::yield_now();
    }
}

pub(crate) extern "C" fn unlock() {
    MUTEX.store(0, SeqCst);
}

/// Everything up to the first wait, and the first client.
pub(crate) fn before(actor: &'static Actor) {
    let has = |b| actor.scene.before(b);
    if has(Before::Pid1) {
        pid1(actor);
    }
    limits(has(Before::FewNumbers));
    if has(Before::Atfork) {
        // SAFETY: functions that use an atomic.
        unsafe { pthread_atfork(lock, unlock, unlock) };
    }
    listen(actor, has(Before::Stalled), has(Before::Corked));
    while actor.stage.connected.load(SeqCst) == 0 {
        let t = rustix::thread::Timespec {
            tv_sec: 0,
            tv_nsec: 100_000,
        };
        let _ = rustix::thread::nanosleep(&t);
    }
    if has(Before::NoStdio) {
        no_stdio(actor);
        return;
    }
    if has(Before::Fdopen) {
        let lis = actor.listener.load(SeqCst);
        // SAFETY: a descriptor, and a buffer that stays.
        unsafe {
            let fd = libc::accept(lis, null_mut(), null_mut());
            let file = libc::fdopen(fd, c"w".as_ptr());
            static BUFFER: [AtomicI32; 16] = [const { AtomicI32::new(0) }; 16];
            libc::setvbuf(file, BUFFER.as_ptr().cast_mut().cast(), libc::_IOFBF, 16);
            libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            actor.file.store(file, SeqCst);
            actor.fds[0].store(fd, SeqCst);
        }
    }
    if has(Before::InHandler) {
        crate::news::in_handler();
    }
    wake();
    if !has(Before::Fdopen) {
        actor.accept(0);
    }
}

fn limits(few: bool) {
    let core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let files = libc::rlimit {
        rlim_cur: 1024,
        rlim_max: 1024,
    };
    // SAFETY: locals.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const core);
        if few {
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        }
    }
}

fn listen(actor: &Actor, stalled: bool, corked: bool) {
    let small = 4096_i32;
    // SAFETY: locals with their sizes.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if stalled {
            for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
                libc::setsockopt(fd, libc::SOL_SOCKET, name, (&raw const small).cast(), 4);
            }
        }
        if corked {
            set(fd, libc::TCP_CORK, 1);
        }
        let mut a: libc::sockaddr_in = zeroed();
        a.sin_family = libc::AF_INET as u16;
        a.sin_addr.s_addr = libc::INADDR_LOOPBACK.to_be();
        let mut n = size_of_val(&a) as u32;
        libc::bind(fd, (&raw const a).cast(), n);
        libc::listen(fd, 64);
        libc::getsockname(fd, (&raw mut a).cast(), &raw mut n);
        actor.listener.store(fd, SeqCst);
        actor
            .stage
            .port
            .store(u16::from_be(a.sin_port).into(), SeqCst);
    }
}

/// Clients become 0, 1 and 2, and there is no memory for more.
fn no_stdio(actor: &Actor) {
    let lis = actor.listener.load(SeqCst);
    // SAFETY: descriptors, and locals.
    unsafe {
        for fd in 0..3 {
            libc::close(fd);
        }
        for client in [0, 1, 2] {
            let fd = libc::accept4(
                lis,
                null_mut(),
                null_mut(),
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            );
            actor.fds[client].store(fd, SeqCst);
        }
        actor.next.store(3, SeqCst);
        let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: u64 = text
            .split(' ')
            .next()
            .and_then(|p| p.parse().ok())
            .unwrap_or(1 << 20);
        let room = pages * 4096 + (1 << 20);
        let limit = libc::rlimit {
            rlim_cur: room,
            rlim_max: room,
        };
        libc::setrlimit(libc::RLIMIT_AS, &raw const limit);
    }
    wake();
}

/// Goes on as the first process of a namespace; its parent ends as it does.
fn pid1(actor: &Actor) {
    // SAFETY: no other thread runs; status is local.
    unsafe {
        if raw::call(libc::SYS_unshare, [libc::CLONE_NEWPID.into(), 0, 0, 0, 0]) != 0 {
            return;
        }
        let pid = libc::fork();
        if pid > 0 {
            let mut status = 0;
            raw::call(
                libc::SYS_wait4,
                [pid.into(), (&raw mut status) as i64, 0, 0, 0],
            );
            let code = if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                100 + libc::WTERMSIG(status)
            };
            libc::_exit(code);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    let _ = actor;
}

/// The first stream is closed and the next client accepted: it most likely
/// gets the number.
pub(crate) fn replace(actor: &Actor, by: By) {
    let fd = actor.fd(0);
    // SAFETY: a descriptor only.
    unsafe {
        match by {
            By::Libc => _ = libc::close(fd),
            By::Number => _ = libc::syscall(libc::SYS_close, fd),
            By::Asm => _ = raw::close(fd),
        }
    }
    let next = actor.next.fetch_add(1, SeqCst).min(CLIENTS - 1);
    let lis = actor.listener.load(SeqCst);
    // The clients are in the queue: no wait is needed.
    // SAFETY: no address is asked for.
    let new = unsafe {
        libc::accept4(
            lis,
            null_mut(),
            null_mut(),
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    };
    actor.fds[0].store(-1, SeqCst);
    actor.fds[next].store(new, SeqCst);
    wake();
    crate::write::write(actor, next, esca_model::scene::How::Write, 5);
    wake();
    // SAFETY: a descriptor only.
    unsafe { libc::shutdown(new, libc::SHUT_WR) };
}

/// Descriptors in bulk.
pub(crate) fn bulk(actor: &Actor, what: Bulk) {
    let used = |fd: i32| {
        let of = [
            &actor.listener,
            &actor.second,
            &actor.pipe[0],
            &actor.pipe[1],
        ];
        let high = actor.high.load(SeqCst);
        actor.fds.iter().chain(of).any(|a| a.load(SeqCst) == fd)
            || high >= 0 && (high..high + 128).contains(&fd)
    };
    match what {
        Bulk::CloseUnused | Bulk::CloseUnusedAsm => {
            for fd in (3..65536).filter(|fd| !used(*fd)) {
                if what == Bulk::CloseUnused {
                    // SAFETY: what is nobody's may be closed.
                    unsafe { libc::close(fd) };
                } else {
                    raw::close(fd);
                }
            }
        }
        Bulk::DupHigh => dup_high(actor),
        Bulk::PipeEmpty => {
            let mut n = 0_i32;
            let fd = actor.pipe[0].load(SeqCst);
            if fd >= 0 {
                // SAFETY: one int is stored.
                unsafe {
                    raw::call(
                        libc::SYS_ioctl,
                        [fd.into(), libc::FIONREAD as i64, (&raw mut n) as i64, 0, 0],
                    )
                };
                actor.note(What::Wrong, 0, n.into());
            }
        }
        Bulk::ChildHasAll => {
            let high = actor.high.load(SeqCst);
            // SAFETY: the child makes raw calls only; status is local.
            unsafe {
                let pid = libc::fork();
                if pid == 0 {
                    let has = |fd: i32| {
                        raw::call(libc::SYS_fcntl, [fd.into(), libc::F_GETFD.into(), 0, 0, 0]) >= 0
                    };
                    let gone = if high < 0 {
                        0
                    } else {
                        (high..high + 128).filter(|fd| !has(*fd)).count()
                    };
                    raw::call(libc::SYS_exit_group, [gone as i64, 0, 0, 0, 0]);
                }
                let mut status = 0;
                libc::waitpid(pid, &raw mut status, 0);
                actor.note(What::Wrong, 0, status.into());
            }
        }
    }
}

fn dup_high(actor: &Actor) {
    // SAFETY: locals and descriptors.
    unsafe {
        let mut p = [0; 2];
        libc::pipe2(p.as_mut_ptr(), libc::O_NONBLOCK);
        let mut l: libc::rlimit = zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut l);
        let limit = l.rlim_cur.min(65_536) as i32;
        // Where the library keeps its own: the top eighth begins there.
        let high = limit - limit / 8;
        let made = (high..high + 128).filter(|fd| *fd < limit && libc::dup2(p[1], *fd) == *fd);
        let made = made.count();
        actor.note(What::Wrong, 0, made as i64);
        actor.high.store(high, SeqCst);
        actor.pipe[0].store(p[0], SeqCst);
        actor.pipe[1].store(p[1], SeqCst);
    }
}

/// Leaves what it shares.
pub(crate) fn leave(actor: &Actor, what: Leave) {
    const UNSHARE: i32 = 2;
    // SAFETY: flags and descriptors only.
    let r: i64 = unsafe {
        match what {
            Leave::Files => libc::unshare(libc::CLONE_FILES).into(),
            Leave::NewUser => libc::unshare(libc::CLONE_NEWUSER).into(),
            Leave::NewPid => {
                let r = libc::unshare(libc::CLONE_NEWPID);
                if libc::fork() == 0 {
                    libc::_exit(0);
                }
                r.into()
            }
            Leave::Mount => {
                let fd = libc::open(
                    c"/proc/self/ns/mnt".as_ptr(),
                    libc::O_RDONLY | libc::O_CLOEXEC,
                );
                let r = libc::setns(fd, libc::CLONE_NEWNS);
                let e = errno();
                libc::close(fd);
                *libc::__errno_location() = e;
                r.into()
            }
            Leave::Sighand => {
                libc::unshare(libc::CLONE_SIGHAND | libc::CLONE_VM | libc::CLONE_THREAD).into()
            }
            Leave::CloseRange => close_range(3, u32::MAX, UNSHARE).into(),
            Leave::NumCloseRange => libc::syscall(libc::SYS_close_range, 3, u32::MAX, UNSHARE),
        }
    };
    actor.result(r);
}
