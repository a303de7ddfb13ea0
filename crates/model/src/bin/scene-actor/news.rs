//! Input, and how a program learns of it; blocking writes; a first wait in a
//! signal handler.

use crate::{Actor, child, raw, spin, wake};
use esca_model::scene::stage::{What, now};
use esca_model::scene::{Limit, News, letter};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

static IO: AtomicBool = AtomicBool::new(false);

extern "C" fn io(_: i32) {
    IO.store(true, SeqCst);
}

extern "C" fn nothing(_: i32) {}

fn on(signal: i32, f: extern "C" fn(i32)) {
    // SAFETY: a whole action, whose handler is sound at any moment.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = f as *const () as usize;
        libc::sigaction(signal, &raw const action, null_mut());
    }
}

/// Has a client send a byte, without a call; back when it has arrived.
fn cue(actor: &Actor, client: usize) {
    let due = actor.stage.cue[client].fetch_add(1, SeqCst) + 1;
    let end = now() + 500_000_000;
    while actor.stage.sent[client].load(SeqCst) < due && now() < end {
        std::hint::spin_loop();
    }
}

fn read(fd: i32) -> i64 {
    let mut b = [0_u8; 64];
    // SAFETY: room of this length.
    unsafe { libc::read(fd, b.as_mut_ptr().cast(), 64) as i64 }
}

fn poll(fd: i32, ms: i32) {
    let mut p = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: a local.
    unsafe { libc::poll(&raw mut p, 1, ms) };
}

/// A short read, then news, then a read that must have it.
pub(crate) fn news(actor: &'static Actor, how: News) {
    let fd = actor.fd(0);
    if fd < 0 || actor.stalled() {
        return;
    }
    if how == News::Worker {
        worker(actor);
        return;
    }
    if actor.fd(1) < 0 {
        actor.accept(1);
        actor.next.fetch_max(2, SeqCst);
    }
    let mut p = [0; 2];
    // SAFETY: locals and descriptors.
    unsafe {
        libc::pipe2(p.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC);
        if how == News::Sigio {
            on(libc::SIGIO, io);
            libc::fcntl(fd, libc::F_SETOWN, libc::getpid());
            libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC);
        }
    }
    cue(actor, 0);
    poll(fd, 1000);
    IO.store(false, SeqCst);
    actor.result(read(fd));
    cue(actor, 0);
    let end = now() + 500_000_000;
    match how {
        News::Spin => {
            cue(actor, 1);
            while read(actor.fd(1)) < 0 && now() < end {}
        }
        News::Sigio => {
            while !IO.load(SeqCst) && now() < end {
                std::hint::spin_loop();
            }
        }
        _ => {
            // SAFETY: one byte.
            unsafe {
                raw::call(
                    libc::SYS_write,
                    [p[1].into(), c"x".as_ptr() as i64, 1, 0, 0],
                )
            };
            while read(p[0]) < 0 && now() < end {}
        }
    }
    actor.result(read(fd));
    raw::close(p[0]);
    raw::close(p[1]);
}

/// A reactor hands an edge to a worker thread, which reads until a short read;
/// the next edge comes while the worker is at work.
fn worker(actor: &'static Actor) {
    static TODO: AtomicI32 = AtomicI32::new(0);
    static GOT: AtomicI32 = AtomicI32::new(0);
    TODO.store(0, SeqCst);
    GOT.store(0, SeqCst);
    let fd = actor.fd(0);
    // SAFETY: locals and descriptors.
    unsafe {
        let ep = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        let bell = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
        let mut ev = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLRDHUP) as u32,
            u64: 0,
        };
        libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, fd, &raw mut ev);
        child::thread(move || {
            let own = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            let mut ev = libc::epoll_event {
                events: libc::EPOLLIN as u32,
                u64: 0,
            };
            libc::epoll_ctl(own, libc::EPOLL_CTL_ADD, bell, &raw mut ev);
            loop {
                if libc::epoll_wait(own, &raw mut ev, 1, 1000) < 1 {
                    break;
                }
                read(bell);
                while TODO.load(SeqCst) > 0 {
                    TODO.fetch_sub(1, SeqCst);
                    let r = read(fd);
                    if r > 0 {
                        GOT.fetch_add(r as i32, SeqCst);
                    }
                    spin(60);
                }
                if GOT.load(SeqCst) >= 2 {
                    break;
                }
            }
            libc::close(own);
        });
        cue(actor, 0);
        for k in 0..20 {
            if libc::epoll_wait(ep, &raw mut ev, 1, 50) == 1 {
                TODO.fetch_add(1, SeqCst);
                libc::write(bell, 1_u64.to_ne_bytes().as_ptr().cast(), 8);
                if k == 0 || GOT.load(SeqCst) < 2 && actor.stage.cue[0].load(SeqCst) < 2 {
                    spin(20);
                    cue(actor, 0);
                }
            }
            if GOT.load(SeqCst) >= 2 {
                break;
            }
        }
        actor.note(What::Wrong, 0, i64::from(GOT.load(SeqCst) >= 2));
        libc::close(ep);
        child::join();
        libc::close(bell);
    }
}

/// A blocking write that ends early.
pub(crate) fn blocking(actor: &Actor, limit: Limit) {
    let fd = actor.fd(0);
    if fd < 0 || !actor.stalled() {
        return;
    }
    let at = actor.stage.promised[0].load(SeqCst);
    let big: Vec<u8> = (at..at + 100_000).map(|k| letter(0, k)).collect();
    // SAFETY: locals with their sizes.
    let r = unsafe {
        libc::fcntl(fd, libc::F_SETFL, 0);
        let t = libc::timeval {
            tv_sec: 0,
            tv_usec: 300_000,
        };
        match limit {
            Limit::Timeout => {
                libc::setsockopt(
                    fd,
                    libc::SOL_SOCKET,
                    libc::SO_SNDTIMEO,
                    (&raw const t).cast(),
                    size_of_val(&t) as u32,
                );
            }
            Limit::Signal => {
                on(libc::SIGALRM, nothing);
                let zero = libc::timeval {
                    tv_sec: 0,
                    tv_usec: 0,
                };
                let it = libc::itimerval {
                    it_interval: zero,
                    it_value: t,
                };
                raw::call(libc::SYS_setitimer, [0, (&raw const it) as i64, 0, 0, 0]);
            }
        }
        let r = libc::write(fd, big.as_ptr().cast(), 100_000);
        libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
        r
    };
    // How much it took is the kernel's to say; only that it came back counts.
    if r > 0 {
        actor.stage.promised[0].fetch_add(r as u64, SeqCst);
    }
}

/// The first wait stands in a handler that most likely interrupts malloc.
pub(crate) fn in_handler() {
    extern "C" fn first(_: i32) {
        IO.store(true, SeqCst);
        wake();
    }
    std::thread::spawn(|| {
        loop {
            // SAFETY: nothing is passed.
            unsafe { raw::call(libc::SYS_poll, [0, 0, 1000, 0, 0]) };
        }
    });
    on(libc::SIGALRM, first);
    let zero = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let soon = libc::timeval {
        tv_sec: 0,
        tv_usec: 5000,
    };
    let it = libc::itimerval {
        it_interval: zero,
        it_value: soon,
    };
    // SAFETY: memory that is freed where it was allocated.
    unsafe {
        raw::call(libc::SYS_setitimer, [0, (&raw const it) as i64, 0, 0, 0]);
        let mut held = [null_mut(); 64];
        let mut k = 0_usize;
        while !IO.load(SeqCst) {
            let place = k * 7 % 64;
            libc::free(held[place]);
            held[place] = libc::malloc(1100 + k * 37 % 60_000);
            k += 1;
        }
        held.into_iter().for_each(|h| libc::free(h));
    }
}
