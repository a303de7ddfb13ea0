//! Process life: fork, spawn, exec and every way to end, with bytes in
//! custody.

use crate::sys;
use crate::{Actor, Scene};
use esca_suite::board::{Board, Flag};
use std::ffi::CString;
use std::ptr::null;

pub const SCENES: &[(&str, Scene)] = &[
    ("fork", fork),
    ("fork-both", fork_both),
    ("fork-loop", fork_loop),
    ("fork-close", fork_close),
    ("fork-full", fork_full),
    ("spawn", spawn),
    ("exec", exec),
    ("return", |a| last_words(a)),
    ("exit", |a| {
        last_words(a);
        sys::exit(7)
    }),
    ("exit-now", |a| {
        last_words(a);
        sys::exit_now(7)
    }),
    ("exit-quickly", |a| {
        last_words(a);
        sys::exit_quickly(7)
    }),
    ("abort", |a| {
        last_words(a);
        sys::abort()
    }),
    ("kill-self", |a| {
        last_words(a);
        let own = sys::getpid().unwrap_or(0) as i32;
        let _ = sys::kill(own, libc::SIGTERM);
    }),
    ("exit-full", |a| {
        full(a);
        sys::exit(0)
    }),
    ("exit-now-full", |a| {
        full(a);
        sys::exit_now(0)
    }),
    ("abort-full", |a| {
        full(a);
        sys::abort()
    }),
    ("exec-full", |a| {
        full(a);
        execute(a, -1);
    }),
    ("close-exit-full", |a| {
        a.saw("close", sys::close(full(a)));
    }),
];

/// The child writes between two writes of its parent.
fn fork(a: &Actor) {
    let fd = a.connection();
    for round in 0..6 {
        a.turn(fd);
        a.check("head", sys::write(fd, b"head ") == Ok(5));
        let child = match sys::fork() {
            Ok(0) => {
                a.check("child", sys::write(fd, b"chi") == Ok(3));
                a.check("child", sys::write(fd, b"ld ") == Ok(3));
                if round % 2 == 0 {
                    sys::exit_now(4);
                }
                sys::exit(4);
            }
            child => child.unwrap_or(0),
        };
        a.saw("child", sys::wait(child));
        a.check("tail", sys::write(fd, b"tail ") == Ok(5));
    }
    a.until_closed(fd);
}

/// Both write at once: nothing is lost or doubled.
fn fork_both(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.check("head", sys::write(fd, b"head") == Ok(4));
    let child = sys::fork().unwrap_or(0);
    let mark = if child == 0 { b"c" } else { b"p" };
    for _ in 0..500 {
        a.check("a byte", sys::write(fd, mark) == Ok(1));
    }
    if child == 0 {
        sys::exit_now(0);
    }
    a.saw("child", sys::wait(child));
    a.check("tail", sys::write(fd, b"tail") == Ok(4));
    a.until_closed(fd);
}

/// The child closes its copy of a stream whose buffer is full, as it does
/// with all that is the parent's: the parent's events go on.
fn fork_close(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.watch(fd, libc::EPOLLIN | libc::EPOLLOUT);
    let at = a.fill(fd, 1000);
    let child = match sys::fork() {
        Ok(0) => {
            a.check("the child's close", sys::close(fd) == Ok(0));
            sys::exit_now(4);
        }
        child => child.unwrap_or(0),
    };
    a.saw("child", sys::wait(child));
    let total = at + 50_000;
    a.board.set(Flag::Other, total as u64);
    while a.next().1 & libc::EPOLLOUT == 0 {}
    a.write_all(fd, &crate::numbered(total)[at..]);
    a.until_closed(fd);
}

/// The child fills the buffer of its parent's stream and ends; the parent
/// writes behind it.
fn fork_full(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.check("head", sys::write(fd, b"head") == Ok(4));
    let child = match sys::fork() {
        Ok(0) => {
            a.fill(fd, 1000);
            sys::exit_now(4);
        }
        child => child.unwrap_or(0),
    };
    a.saw("child", sys::wait(child));
    a.board.set(Flag::Actor, 1);
    a.write_all(fd, b"tail");
    a.until_closed(fd);
}

/// The child runs an event loop of its own, as a worker does.
fn fork_loop(a: &Actor) {
    let child = sys::fork().unwrap_or(0);
    if child != 0 {
        a.saw("child", sys::wait(child));
        return;
    }
    let epoll = sys::epoll_create().unwrap_or(0) as i32;
    let child = Actor {
        board: esca_suite::shared::Shared::open(a.board.path()),
        dir: a.dir.clone(),
        epoll,
        listener: a.listener,
    };
    child.watch(a.listener, libc::EPOLLIN);
    let fd = child.connection();
    child.turn(fd);
    child.saw("write", sys::write(fd, b"wor"));
    child.saw("write", sys::write(fd, b"ker"));
    child.until_closed(fd);
    sys::exit_now(5);
}

/// A spawned program writes to the stream between our writes.
fn spawn(a: &Actor) {
    let fd = a.connection();
    for _ in 0..3 {
        a.turn(fd);
        a.saw("write", sys::write(fd, b"be"));
        a.saw("write", sys::write(fd, b"fore\n"));
        let child = sys::spawn_echo(fd, c"spawned");
        a.check("posix_spawn", child.is_ok());
        a.saw("child", sys::wait(child.unwrap_or(0)));
        a.saw("write", sys::write(fd, b"after\n"));
    }
    a.until_closed(fd);
}

/// exec with bytes in custody; the next program goes on with the stream.
fn exec(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.saw("write", sys::write(fd, b"o"));
    a.saw("write", sys::write(fd, b"ne "));
    execute(a, fd);
}

fn execute(a: &Actor, fd: i32) {
    execute_as(a, "exec-again", fd);
}

/// Goes on as a new program that knows `fd`.
pub fn execute_as(a: &Actor, name: &str, fd: i32) {
    let word = |w: &str| CString::new(w).expect("a word");
    let words = [
        word("actor"),
        word(name),
        word(&a.board.path().to_string_lossy()),
        word(&a.dir),
        word(&fd.to_string()),
    ];
    let mut args: Vec<_> = words.iter().map(|w| w.as_ptr()).collect();
    args.push(null());
    a.saw("execv", sys::exec(c"/proc/self/exe", &args));
}

/// What the program does that `exec` starts.
pub fn again(board: &Board, rest: &[String]) {
    let fd = rest.first().and_then(|fd| fd.parse().ok()).unwrap_or(-1);
    for piece in [&b"t"[..], b"wo"].iter().filter(|_| fd >= 0) {
        board.log(&sys::show(sys::write(fd, piece)));
    }
}

fn last_words(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.saw("write", sys::write(fd, b"last "));
    a.saw("write", sys::write(fd, b"words"));
}

fn full(a: &Actor) -> i32 {
    let fd = a.connection();
    a.turn(fd);
    a.fill(fd, 1000);
    fd
}
