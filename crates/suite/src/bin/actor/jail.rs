//! System call filters that kill: a program that jails itself, with bytes in
//! custody and in a child that never waited.

use crate::sys;
use crate::{Actor, Scene};
use esca_suite::board::{Board, Flag};
use esca_suite::shared::Shared;

pub const SCENES: &[(&str, Scene)] = &[
    ("jail", |a| jail(a, sys::jail)),
    ("jail-by-number", |a| jail(a, sys::jail_by_number)),
    ("jail-asked", asked),
    ("jail-full", full),
    ("jail-child", child),
    ("jail-before-any-wait", before_any_wait),
];

/// Serves a few rounds as in the warm-up, with what the jail allows, and
/// leaves by a call that it allows.
fn serve(a: &Actor, fd: i32) -> ! {
    for _ in 0..8 {
        a.turn(fd);
        a.check("a write", sys::write(fd, b"in ") == Ok(3));
        a.check("a write", sys::write(fd, b"jail ") == Ok(5));
    }
    a.until_closed(fd);
    sys::exit_now(0)
}

/// Jails itself with bytes in custody and a sweeper.
fn jail(a: &Actor, shut: fn() -> sys::Ret) {
    let fd = a.connection();
    a.turn(fd);
    a.check("a write", sys::write(fd, b"before ") == Ok(7));
    a.saw("jail", shut());
    serve(a, fd)
}

/// Asks whether the kernel knows filters, which jails nobody.
fn asked(a: &Actor) {
    a.saw("asked", sys::ask_for_jail());
    let fd = a.connection();
    a.until_closed(fd);
}

/// Jails itself while a slow reader has not taken what was promised.
fn full(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.fill(fd, 4000);
    a.saw("jail", sys::jail());
    a.board.set(Flag::Actor, 1);
    a.until_closed(fd);
    sys::exit_now(0)
}

/// A child that has no sweeper yet.
fn child(a: &Actor) {
    let fd = a.connection();
    let pid = sys::fork().unwrap_or(0);
    if pid == 0 {
        a.saw("jail", sys::jail());
        serve(a, fd);
    }
    a.saw("child", sys::wait(pid));
    a.until_closed(fd);
}

/// A child of a process that never waited, so that there is no engine; its
/// parent goes on without a jail.
fn before_any_wait(a: &Actor) {
    let pid = sys::fork().unwrap_or(0);
    if pid == 0 {
        let epoll = sys::epoll_create().unwrap_or(0) as i32;
        let own = Actor {
            board: Shared::<Board>::open(a.board.path()),
            dir: a.dir.clone(),
            epoll,
            listener: a.listener,
        };
        own.watch(own.listener, libc::EPOLLIN);
        own.saw("jail", sys::jail());
        let fd = own.connection();
        serve(&own, fd);
    }
    a.saw("child", sys::wait(pid));
    let fd = a.connection();
    a.until_closed(fd);
}
