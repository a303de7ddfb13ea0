//! A child that serves the connection its parent accepted, as servers do that
//! have a process for each, perhaps as a new program; the parent closes its
//! copy, or does not, or others got one as well. And connections that were
//! there before the library was.

use crate::{Actor, Scene, process, sys};
use esca_suite::board::{Board, Flag};
use esca_suite::shared::Shared;

pub const SCENES: &[(&str, Scene)] = &[
    ("heir", |a| served(a, |_, _| (), |_, fd| close(fd))),
    ("heir-kept", |a| served(a, |_, _| (), |_, _| ())),
    ("heir-two", |a| {
        served(
            a,
            |_, _| (),
            |a, fd| {
                child(a, |_| ());
                close(fd);
            },
        );
    }),
    ("heir-spawn-before", |a| served(a, spawn, |_, fd| close(fd))),
    ("heir-spawn", |a| {
        served(
            a,
            |_, _| (),
            |a, fd| {
                spawn(a, fd);
                close(fd);
            },
        );
    }),
    ("heir-dup", |a| {
        served(
            a,
            |_, _| (),
            |a, fd| {
                a.check("dup", sys::dup(fd).is_ok());
                close(fd);
            },
        );
    }),
    ("heir-passed", |a| {
        served(
            a,
            |_, _| (),
            |a, fd| {
                let mut ends = [0; 2];
                a.check("socketpair", sys::unix_pair(&mut ends) == Ok(0));
                a.check("pass", sys::send_fd(ends[0], fd) == Ok(1));
                close(fd);
            },
        );
    }),
    ("heir-exec", |a| {
        let fd = a.connection();
        let child = sys::fork().expect("a child");
        if child == 0 {
            process::execute_as(a, "exec-heir", fd);
            sys::exit_now(6);
        }
        close(fd);
        a.board.add(Flag::Actor, 1);
        a.saw("child", sys::wait(child));
    }),
    ("early", |a| {
        let fd = early(a);
        a.warm_up(fd);
        a.board.add(Flag::Actor, 1);
        answers(a, fd);
        a.until_closed(fd);
    }),
    ("early-dup", |a| {
        let fd = early(a);
        a.check("dup", sys::dup(fd).is_ok());
        a.warm_up(fd);
        a.board.add(Flag::Actor, 1);
        answers(a, fd);
        // What comes later is the program's own.
        let fd = a.connection();
        a.until_closed(fd);
    }),
    ("heir-thread", |a| {
        let thread = |_: &Actor, _| std::thread::spawn(|| ()).join().expect("a thread");
        served(a, thread, |_, fd| close(fd));
    }),
];

/// Rounds that the child serves.
const ROUNDS: usize = 20;

/// The parent accepts and does `before`; a child serves; the parent does
/// `after`, then lets the child begin.
fn served(a: &Actor, before: impl Fn(&Actor, i32), after: impl Fn(&Actor, i32)) {
    let fd = a.connection();
    before(a, fd);
    let child = sys::fork().expect("a child");
    if child == 0 {
        answers(a, fd);
        a.until_closed(fd);
        sys::exit_now(4);
    }
    after(a, fd);
    a.board.add(Flag::Actor, 1);
    a.saw("child", sys::wait(child));
}

/// Once the peer has looked at the counters: rounds of an answer in pieces.
fn answers(a: &Actor, fd: i32) {
    a.check("the peer is ready", a.compute_until(1));
    for _ in 0..ROUNDS {
        a.turn(fd);
        for piece in [b"an", b"sw", b"er"] {
            a.check("a write", sys::write(fd, piece) == Ok(2));
        }
    }
}

/// A connection that is accepted before the program's first wait.
fn early(a: &Actor) -> i32 {
    loop {
        match sys::accept(a.listener) {
            Ok(fd) => {
                let done = sys::set_tcp(fd as i32, libc::TCP_NODELAY, 1);
                a.check("nodelay", done == Ok(0));
                return fd as i32;
            }
            Err(libc::EAGAIN) => std::hint::spin_loop(),
            Err(e) => panic!("accept: errno {e}"),
        }
    }
}

/// What the program does that a child becomes: it serves the connection that
/// it was given.
pub fn again(board: Shared<Board>, rest: &[String]) {
    let fd = rest.first().and_then(|fd| fd.parse().ok());
    let fd = fd.expect("a descriptor");
    let a = Actor {
        board,
        dir: String::new(),
        epoll: sys::epoll_create().expect("epoll") as i32,
        listener: -1,
    };
    a.watch(fd, libc::EPOLLIN);
    answers(&a, fd);
    a.until_closed(fd);
    sys::exit_now(4);
}

fn close(fd: i32) {
    sys::close(fd).expect("a close");
}

/// A child that does this and ends.
fn child(a: &Actor, work: impl Fn(&Actor)) {
    let child = sys::fork().expect("a child");
    if child == 0 {
        work(a);
        sys::exit_now(5);
    }
    a.saw("other child", sys::wait(child));
}

/// A program that is run, with the stream or without.
fn spawn(a: &Actor, _: i32) {
    let null = sys::open_to_write(c"/dev/null").expect("/dev/null") as i32;
    let pid = sys::spawn_echo(null, c"hello").expect("a program");
    a.saw("echo", sys::wait(pid));
    a.saw("close", sys::close(null));
}
