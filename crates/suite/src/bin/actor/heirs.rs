//! A child that serves the connection its parent accepted, as servers do that
//! have a process for each; the parent closes its copy, or does not, or others
//! got one as well.

use crate::sys;
use crate::{Actor, Scene};
use esca_suite::board::Flag;

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
        a.check("the parent is ready", a.compute_until(1));
        for _ in 0..ROUNDS {
            a.turn(fd);
            for piece in [b"an", b"sw", b"er"] {
                a.check("a write", sys::write(fd, piece) == Ok(2));
            }
        }
        a.until_closed(fd);
        sys::exit_now(4);
    }
    after(a, fd);
    a.board.add(Flag::Actor, 1);
    a.saw("child", sys::wait(child));
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
