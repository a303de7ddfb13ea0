//! One stream: pieces, a full buffer, a peer that doesn't read or resets,
//! shutdown and close.

use crate::sys::{self, Ret};
use crate::{Actor, LOST, Scene, numbered};
use esca_suite::board::Flag;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub const SCENES: &[(&str, Scene)] = &[
    ("pieces", pieces),
    ("short", short),
    ("short-et", short_et),
    ("residue", residue),
    ("own-close", own_close),
    ("stuck", stuck),
    ("reset", reset),
    ("sigpipe", sigpipe),
    ("close", close),
    ("close-full", close_full),
    ("shutdown", shutdown),
    ("shutdown-full", shutdown_full),
];

/// Many small pieces, by every call that sends, from a buffer that is
/// overwritten as soon as the call returns.
fn pieces(a: &Actor) {
    let all = numbered(200_000);
    let path = format!("{}/pieces", a.dir);
    std::fs::write(&path, &all).expect("a file");
    let file = std::fs::File::open(&path).expect("a file");
    let mut pipe = [0; 2];
    a.saw("pipe", sys::pipe(&mut pipe));
    let fd = a.connection();
    let (mut at, mut k) = (0, 0);
    a.turn(fd);
    while at < all.len() {
        // A new segment every thousand pieces.
        if k % 1000 == 999 {
            sys::epoll_wait(a.epoll, 0);
        }
        let n = (k * 7 % 97 + 1).min(all.len() - at);
        let mut buf = [0; 100];
        buf[..n].copy_from_slice(&all[at..at + n]);
        let piece = &buf[..n];
        let halves = || [&piece[..n / 2], &piece[n / 2..]];
        let sent = match k % 10 {
            0 => sys::write(fd, piece),
            1 => sys::writev(fd, halves()),
            2 => sys::send(fd, piece, libc::MSG_NOSIGNAL),
            // Never the last: nothing would push it out.
            3 if at + n < all.len() => sys::send(fd, piece, libc::MSG_MORE),
            4 => sys::sendto(fd, piece),
            5 => sys::sendmsg(fd, [piece], None),
            6 => {
                let mut offset = at as i64;
                let sent = sys::sendfile(fd, file.as_raw_fd(), &mut offset, n);
                let moved = offset as usize - at;
                a.check("sendfile's offset", moved == sent.unwrap_or(0));
                sent
            }
            7 => sys::sendmmsg(fd, halves()),
            8 => sys::write_by_number(fd, piece),
            9 => {
                a.check("into the pipe", sys::write(pipe[1], piece) == Ok(n));
                let sent = sys::splice(pipe[0], fd, n);
                // What didn't go is written again by another call.
                let mut rest = [0; 100];
                let _ = sys::read(pipe[0], &mut rest);
                sent
            }
            _ => sys::write(fd, piece),
        };
        buf.fill(b'!');
        match sent {
            Ok(n) => {
                at += n;
                k += 1;
            }
            Err(libc::EAGAIN) => a.room(fd),
            Err(e) => return a.log(format_args!("FAIL piece {k}: errno {e}")),
        }
    }
    a.log(format_args!("{at} bytes"));
    a.until_closed(fd);
}

/// Fills the buffer, waits for room, goes on.
fn short(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    let at = a.fill(fd, 1000);
    a.room(fd);
    rest(a, fd, at, |fd| a.room(fd));
}

/// The same with one edge-triggered registration for everything.
fn short_et(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.watch(fd, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET);
    let at = a.fill(fd, 1000);
    let edge = |_| while a.next().1 & libc::EPOLLOUT == 0 {};
    edge(fd);
    rest(a, fd, at, edge);
}

fn rest(a: &Actor, fd: i32, at: usize, room: impl Fn(i32)) {
    let total = at + (1 << 20);
    a.board.set(Flag::Other, total as u64);
    let all = numbered(total);
    let mut at = at;
    while at < total {
        let end = total.min(at + 700);
        match sys::write(fd, &all[at..end]) {
            Ok(n) => at += n,
            Err(libc::EAGAIN) => room(fd),
            Err(e) => return a.log(format_args!("FAIL rest: errno {e}")),
        }
    }
    a.saw("shutdown", sys::shutdown_write(fd));
    a.until_closed(fd);
}

/// Fills the buffer and waits for input alone: all that was accepted goes
/// out, and no event is seen but the peer's word at the end.
fn residue(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.fill(fd, 1000);
    let (ready, bits) = a.next();
    a.log(format_args!("own {} bits {bits:#x}", ready == fd));
    let mut word = [0; 64];
    a.saw("read", sys::read(fd, &mut word));
    a.until_closed(fd);
}

/// Fills the buffer and closes nothing, until nothing is left over and the
/// library has closed what it had for that.
fn own_close(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.fill(fd, 1000);
    let end = Instant::now() + Duration::from_millis(LOST as u64);
    while private_socket() && Instant::now() < end {
        sys::epoll_wait(a.epoll, 1);
    }
    a.check("the private duplicate is closed", !private_socket());
    a.board.set(Flag::Actor, 1);
    a.check("the peer has looked", a.compute_until(1));
    a.until_closed(fd);
}

/// Whether there is a socket above all numbers that a program this small is
/// given.
fn private_socket() -> bool {
    let all = std::fs::read_dir("/proc/self/fd").expect("/proc");
    all.flatten().any(|e| {
        let number = e.file_name().to_string_lossy().parse().unwrap_or(0);
        let what = std::fs::read_link(e.path()).unwrap_or_default();
        number > 500 && what.to_string_lossy().starts_with("socket")
    })
}

/// One reader stops for good; another is served.
fn stuck(a: &Actor) {
    let (first, second) = (a.connection(), a.connection());
    a.turn(first);
    a.fill(first, 1000);
    for _ in 0..50 {
        a.turn(second);
        a.check("he", sys::write(second, b"he") == Ok(2));
        a.check("ad", sys::write(second, b"ad") == Ok(2));
    }
    // The stuck reader goes, with bytes unread: a reset.
    let (ready, _) = a.next();
    a.log(format_args!("the first's event: {}", ready == first));
    a.board.set(Flag::Actor, 1);
    let mut byte = [0; 8];
    a.saw("read", sys::read(first, &mut byte));
    a.until_closed(second);
}

/// The peer resets while the server computes. The error arrives once, at
/// whatever asks first; after it the stream is broken.
fn reset(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.board.set(Flag::Actor, 1);
    a.check("the peer resets", a.compute_until(1));
    let mut seen: Vec<Ret> = vec![sys::write(fd, b"first"), sys::write(fd, b"second")];
    let (ready, bits) = a.next();
    a.check("the event's descriptor", ready == fd);
    a.check("EPOLLHUP", bits & libc::EPOLLHUP != 0);
    seen.push(
        match sys::get_option(fd, libc::SOL_SOCKET, libc::SO_ERROR) {
            Ok(0) => Ok(0),
            Ok(e) => Err(e as i32),
            fault => fault,
        },
    );
    let mut byte = [0; 8];
    seen.push(sys::read(fd, &mut byte));
    seen.push(sys::write(fd, b"third"));
    seen.push(sys::write(fd, b"fourth"));
    a.next();
    let last = sys::write(fd, b"fifth");
    let first = seen.iter().find(|r| r.is_err()).copied();
    a.saw("the first error", first.unwrap_or(Ok(0)));
    let resets = seen.iter().filter(|r| **r == Err(libc::ECONNRESET));
    a.log(format_args!("resets reported: {}", resets.count()));
    a.saw("the last write", last);
    a.saw("close", sys::close(fd));
}

/// SIGPIPE comes where the program goes on writing.
fn sigpipe(a: &Actor) {
    static PIPES: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: i32) {
        PIPES.fetch_add(1, Relaxed);
    }
    sys::on_signal(libc::SIGPIPE, count, libc::SA_RESTART);
    let fd = a.connection();
    a.turn(fd);
    a.board.set(Flag::Actor, 1);
    a.check("the peer resets", a.compute_until(1));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(sys::show(sys::write(fd, b"more")));
        a.check("the event", a.next().0 == fd);
    }
    if PIPES.load(Relaxed) == 0 {
        a.log(format_args!("FAIL no SIGPIPE: {seen:?}"));
    }
    a.log(format_args!("SIGPIPE: {}", PIPES.load(Relaxed) > 0));
    let before = PIPES.load(Relaxed);
    let _ = sys::send(fd, b"silent", libc::MSG_NOSIGNAL);
    a.next();
    a.log(format_args!(
        "by MSG_NOSIGNAL: {}",
        PIPES.load(Relaxed) - before
    ));
}

/// close right after the writes.
fn close(a: &Actor) {
    for _ in 0..5 {
        let fd = a.connection();
        a.turn(fd);
        a.saw("write", sys::write(fd, b"la"));
        a.saw("write", sys::write(fd, b"st"));
        a.saw("close", sys::close(fd));
        a.saw("close again", sys::close(fd));
        a.saw("write to it", sys::write(fd, b"no"));
    }
}

/// close with more than the kernel takes: all of it arrives.
fn close_full(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.fill(fd, 1000);
    a.saw("close", sys::close(fd));
    a.saw("write to it", sys::write(fd, b"no"));
    // The peer has everything when it calls again.
    a.check("the second call", a.next().0 == a.listener);
}

/// shutdown, then the peer's last word.
fn shutdown(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.saw("write", sys::write(fd, b"la"));
    a.saw("write", sys::write(fd, b"st"));
    after_shutdown(a, fd);
}

/// The same with a full buffer.
fn shutdown_full(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.fill(fd, 1000);
    after_shutdown(a, fd);
}

fn after_shutdown(a: &Actor, fd: i32) {
    a.saw("shutdown", sys::shutdown_write(fd));
    a.saw("write", sys::send(fd, b"no", libc::MSG_NOSIGNAL));
    let mut word = [0; 64];
    a.check("input", sys::epoll_wait(a.epoll, LOST).is_some());
    a.saw("read", sys::read(fd, &mut word));
    a.saw("close", sys::close(fd));
}
