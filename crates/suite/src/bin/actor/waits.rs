//! Waits and reads: the drained read's EAGAIN, ends of streams, poll, select,
//! socket options, and what ESCA must not touch.

use crate::sys;
use crate::{Actor, LOST, Scene, numbered};
use esca_suite::board::Flag;
use libc::{EPOLLET, EPOLLIN, EPOLLRDHUP, TCP_CORK, TCP_NODELAY};

pub const SCENES: &[(&str, Scene)] = &[
    ("drained-lt", |a| drained(a, EPOLLIN)),
    ("drained-et", |a| drained(a, EPOLLIN | EPOLLET)),
    ("drained-et-rdhup", |a| {
        drained(a, EPOLLIN | EPOLLET | EPOLLRDHUP)
    }),
    ("fin-lt", |a| fin_between(a, EPOLLIN)),
    ("fin-et", |a| fin_between(a, EPOLLIN | EPOLLET)),
    ("fin-et-rdhup", |a| {
        fin_between(a, EPOLLIN | EPOLLET | EPOLLRDHUP)
    }),
    ("more-lt", |a| more_between(a, EPOLLIN)),
    ("more-et", |a| more_between(a, EPOLLIN | EPOLLET)),
    ("exact", exact),
    ("poll", poll),
    ("poll-full", poll_full),
    ("select", |a| {
        echo(a, |fd| a.check("select", sys::select_read(fd, 20, false)))
    }),
    ("pselect", |a| {
        echo(a, |fd| a.check("pselect", sys::select_read(fd, 20, true)))
    }),
    ("ppoll", |a| {
        echo(a, |fd| a.check("ppoll", sys::ppoll_read(fd, 20)))
    }),
    ("epoll-pwait", |a| echo_epoll(a, false)),
    ("epoll-pwait2", |a| echo_epoll(a, true)),
    ("options", options),
    ("others", others),
];

/// Reads until EAGAIN each time, as edge-triggered servers must. At the end
/// bytes and FIN arrive together: the end must be seen.
fn drained(a: &Actor, interest: i32) {
    let fd = a.connection();
    a.watch(fd, interest);
    let mut buf = [0; 256];
    for round in 0..100 {
        let (ready, bits) = a.next();
        a.check("the event", (ready, bits) == (fd, EPOLLIN));
        // The library may come to watch for hang-ups only when it has seen
        // that such reads occur: streams registered from then on count.
        if round == 1 {
            a.watch(fd, interest);
        }
        let (n, end) = until_again(a, fd, &mut buf);
        a.check("a message", n == 10 && !end);
        a.check("he", sys::write(fd, b"he") == Ok(2));
        a.check("ad", sys::write(fd, b"ad") == Ok(2));
    }
    a.check("the peer ends", a.compute_until(1));
    // Two writes that nobody reads any more, so that something is in custody.
    a.check("la", sys::write(fd, b"la") == Ok(2));
    a.check("st", sys::write(fd, b"st") == Ok(2));
    let mut got = 0;
    loop {
        let (ready, _) = a.next();
        a.check("the last event", ready == fd);
        let (n, end) = until_again(a, fd, &mut buf);
        got += n;
        if end {
            break;
        }
    }
    a.log(format_args!("{got} bytes and the end"));
}

/// Reads until EAGAIN or the end; the bytes, and whether it was the end.
fn until_again(a: &Actor, fd: i32, buf: &mut [u8]) -> (usize, bool) {
    let mut got = 0;
    loop {
        match sys::recv(fd, buf, 0) {
            Ok(0) => return (got, true),
            Ok(n) => got += n,
            Err(libc::EAGAIN) => return (got, false),
            Err(e) => {
                a.log(format_args!("FAIL read: errno {e}"));
                return (got, true);
            }
        }
    }
}

/// FIN arrives between a short read and the read after it.
fn fin_between(a: &Actor, interest: i32) {
    let fd = a.connection();
    a.watch(fd, interest);
    let mut buf = [0; 256];
    a.check("the event", a.next().0 == fd);
    a.saw("read", sys::read(fd, &mut buf));
    a.board.set(Flag::Actor, 1);
    a.check("the peer ends", a.compute_until(1));
    loop {
        match sys::read(fd, &mut buf) {
            Ok(n) => break a.log(format_args!("then {n}")),
            Err(libc::EAGAIN) => a.check("an event", a.next().0 == fd),
            Err(e) => break a.log(format_args!("FAIL errno {e}")),
        }
    }
}

/// More arrives between a short read and the read after it.
fn more_between(a: &Actor, interest: i32) {
    let fd = a.connection();
    a.watch(fd, interest);
    let mut buf = [0; 256];
    for round in 1..=50 {
        a.check("the event", a.next().0 == fd);
        a.check("read", sys::read(fd, &mut buf) == Ok(4));
        a.board.set(Flag::Actor, round);
        a.check("the peer sends more", a.compute_until(round));
        let mut got = 0;
        while got < 6 {
            match sys::read(fd, &mut buf) {
                Ok(n) if n > 0 => got += n,
                Err(libc::EAGAIN) => a.check("an event", a.next().0 == fd),
                other => return a.log(format_args!("FAIL {other:?}")),
            }
        }
        // Drain, then answer.
        let (rest, end) = until_again(a, fd, &mut buf);
        a.check("no more", rest == 0 && !end);
        a.check("he", sys::write(fd, b"he") == Ok(2));
        a.check("ad", sys::write(fd, b"ad") == Ok(2));
    }
    a.until_closed(fd);
}

/// A read that is filled to the last byte says nothing about the next one.
fn exact(a: &Actor) {
    let fd = a.connection();
    a.check("the event", a.next().0 == fd);
    // The peer has sent 20 bytes at once.
    let mut buf = [0; 10];
    a.saw("read", sys::read(fd, &mut buf));
    a.saw("read", sys::read(fd, &mut buf));
    a.saw("read", sys::read(fd, &mut buf));
    a.saw("read", sys::read(fd, &mut buf));
    a.saw("peek", sys::recv(fd, &mut buf, libc::MSG_PEEK));
    a.saw("write", sys::write(fd, b"don"));
    a.saw("write", sys::write(fd, b"e"));
    a.until_closed(fd);
}

fn poll_for(a: &Actor, fd: i32, events: i16) {
    let mut p = [libc::pollfd {
        fd,
        events,
        revents: 0,
    }];
    a.check("poll", sys::poll(&mut p, LOST) == Ok(1));
    a.check("revents", p[0].revents & events != 0);
}

/// A server around poll.
fn poll(a: &Actor) {
    echo(a, |fd| poll_for(a, fd, libc::POLLIN));
}

/// A server around the newer epoll waits.
fn echo_epoll(a: &Actor, precise: bool) {
    echo(a, |fd| {
        a.watch(fd, EPOLLIN);
        a.check("the event", sys::epoll_pwait(a.epoll, 20, precise) == fd);
    });
}

fn echo(a: &Actor, wait: impl Fn(i32)) {
    wait(a.listener);
    let fd = a.accept();
    let mut buf = [0; 256];
    loop {
        wait(fd);
        let (n, end) = until_again(a, fd, &mut buf);
        for piece in buf[..n].chunks(4) {
            a.check("echo", sys::write(fd, piece) == Ok(piece.len()));
        }
        if end {
            break;
        }
    }
    a.log("the end");
}

/// A full buffer and poll.
fn poll_full(a: &Actor) {
    poll_for(a, a.listener, libc::POLLIN);
    let fd = a.accept();
    poll_for(a, fd, libc::POLLIN);
    a.saw("read", sys::read(fd, &mut [0; 64]));
    let mut at = a.fill(fd, 1000);
    let all = numbered(at + (1 << 20));
    a.board.set(Flag::Other, all.len() as u64);
    while at < all.len() {
        let end = all.len().min(at + 1000);
        match sys::write(fd, &all[at..end]) {
            Ok(n) => at += n,
            Err(libc::EAGAIN) => poll_for(a, fd, libc::POLLOUT),
            Err(e) => return a.log(format_args!("FAIL errno {e}")),
        }
    }
    a.saw("close", sys::close(fd));
}

/// TCP_CORK and TCP_NODELAY: what was set is what is in force.
fn options(a: &Actor) {
    let fd = a.connection();
    let set = |option, on| a.saw("set", sys::set_tcp(fd, option, on));
    let get = |what, option| a.saw(what, sys::get_option(fd, libc::IPPROTO_TCP, option));
    for _ in 0..10 {
        a.turn(fd);
        get("nodelay", TCP_NODELAY);
        set(TCP_NODELAY, 1);
        get("nodelay", TCP_NODELAY);
        set(TCP_NODELAY, 1);
        set(TCP_CORK, 1);
        a.saw("write", sys::write(fd, b"one "));
        get("cork", TCP_CORK);
        a.saw("write", sys::write(fd, b"two "));
        set(TCP_CORK, 0);
        get("cork", TCP_CORK);
        set(TCP_CORK, 0);
        set(TCP_CORK, 1);
        a.saw("write", sys::write(fd, b"three"));
        set(TCP_CORK, 0);
        get("nodelay", TCP_NODELAY);
        set(TCP_NODELAY, 0);
        get("nodelay", TCP_NODELAY);
    }
    a.until_closed(fd);
}

/// Pipes, files and UNIX sockets: what is written is there at once.
fn others(a: &Actor) {
    let (mut pipe, mut unix) = ([0; 2], [0; 2]);
    a.saw("pipe", sys::pipe(&mut pipe));
    a.saw("socketpair", sys::unix_pair(&mut unix));
    let path = format!("{}/file", a.dir);
    let file = std::fs::File::create(&path).expect("a file");
    let file = std::os::fd::IntoRawFd::into_raw_fd(file);
    let fd = a.connection();
    let mut buf = [0; 256];
    for _ in 0..5 {
        a.turn(fd);
        a.saw("stream", sys::write(fd, b"he"));
        a.saw("pipe", sys::write(pipe[1], b"a"));
        a.saw("pipe", sys::write(pipe[1], b"b"));
        a.saw("pipe", sys::read(pipe[0], &mut buf));
        a.saw("pipe", sys::read(pipe[0], &mut buf));
        a.saw("unix", sys::write(unix[0], b"abc"));
        a.saw("unix", sys::recv(unix[1], &mut buf, libc::MSG_DONTWAIT));
        a.saw("file", sys::write(file, b"line"));
        let len = std::fs::metadata(&path).map_or(0, |m| m.len());
        a.log(format_args!("file {len}"));
        a.saw("stream", sys::write(fd, b"ad"));
    }
    let mut room = 0;
    while let Ok(n) = sys::write(pipe[1], &[0; 4096]) {
        room += n;
    }
    a.log(format_args!("the pipe takes {room}"));
    a.until_closed(fd);
}
