//! The actor: a program that does one thing a server might do, through
//! libc's functions, so that it can be run with and without ESCA.
//!
//! `actor SCENARIO BOARD DIR`

mod edges;
mod fds;
mod heirs;
mod jail;
mod many;
mod modes;
mod process;
mod signals;
mod streams;
mod sys;
mod threads;
mod waits;

use esca_suite::board::{Board, Flag};
use esca_suite::scenario::{WARM_ANSWER, WARM_UP};
use esca_suite::shared::Shared;
use std::fmt::Display;
use std::net::TcpListener;
use std::os::fd::IntoRawFd;
use std::time::{Duration, Instant};
use sys::Ret;

/// How long a wait may last before it counts as lost, in milliseconds.
const LOST: i32 = 90_000;

/// One scenario.
type Scene = fn(&Actor);

/// The actor's state.
pub struct Actor {
    board: Shared<Board>,
    dir: String,
    epoll: i32,
    listener: i32,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [program, name, board, dir, rest @ ..] = args.as_slice() else {
        eprintln!("usage: actor SCENARIO BOARD DIR");
        std::process::exit(2);
    };
    let board = Shared::open(board.as_ref());
    if name == "exec-again" {
        return process::again(&board, rest);
    }
    if name == "exec-heir" {
        return heirs::again(board, rest);
    }
    let scenes = [
        streams::SCENES,
        many::SCENES,
        modes::SCENES,
        edges::SCENES,
        fds::SCENES,
        heirs::SCENES,
        jail::SCENES,
        process::SCENES,
        threads::SCENES,
        signals::SCENES,
        waits::SCENES,
    ];
    let scene = scenes.concat().into_iter().find(|(n, _)| n == name);
    let (_, scene) = scene.unwrap_or_else(|| panic!("{program}: no scenario {name}"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("non-blocking");
    let actor = Actor {
        board,
        dir: dir.clone(),
        epoll: sys::epoll_create().expect("epoll") as i32,
        listener: listener.into_raw_fd(),
    };
    actor.watch(actor.listener, libc::EPOLLIN);
    actor.board.set(Flag::Port, port.into());
    scene(&actor);
}

impl Actor {
    /// Notes what must be the same in every run.
    fn log(&self, line: impl Display) {
        self.board.log(&line.to_string());
    }

    /// Notes a call's result.
    fn saw(&self, what: &str, r: Ret) {
        self.log(format_args!("{what}: {}", sys::show(r)));
    }

    /// A fault, where something must hold in every run.
    fn check(&self, what: &str, holds: bool) {
        if !holds {
            self.log(format_args!("FAIL {what}"));
        }
    }

    /// Watches a descriptor for these events.
    fn watch(&self, fd: i32, interest: i32) {
        let done = sys::epoll_set(self.epoll, fd, interest);
        self.check("epoll_ctl", done == Ok(0));
    }

    /// Waits for the next event.
    fn next(&self) -> (i32, i32) {
        let event = sys::epoll_wait(self.epoll, LOST);
        self.check("an event comes", event.is_some());
        event.unwrap_or_else(|| sys::exit_now(3))
    }

    /// Accepts the next connection and goes through its warm-up: rounds of a
    /// byte and an answer in two writes. It is watched for EPOLLIN then.
    fn connection(&self) -> i32 {
        self.check("a connection comes", self.next().0 == self.listener);
        let fd = self.accept();
        self.warm_up(fd);
        fd
    }

    fn warm_up(&self, fd: i32) {
        self.watch(fd, libc::EPOLLIN);
        for _ in 0..WARM_UP {
            self.turn(fd);
            for piece in WARM_ANSWER {
                self.check("a warm-up write", sys::write(fd, piece) == Ok(piece.len()));
            }
        }
    }

    /// Accepts; without Nagle's algorithm, as servers have it (else each of
    /// our answers in two writes would wait for the peer's delayed ACK).
    fn accept(&self) -> i32 {
        let fd = sys::accept(self.listener).expect("a connection") as i32;
        self.check("nodelay", sys::set_tcp(fd, libc::TCP_NODELAY, 1) == Ok(0));
        fd
    }

    /// Waits for the peer's byte: a segment begins when this returns.
    fn turn(&self, fd: i32) {
        let (ready, bits) = self.next();
        self.check("the turn's event", (ready, bits) == (fd, libc::EPOLLIN));
        let mut byte = [0; 64];
        self.check("the turn's byte", sys::read(fd, &mut byte) == Ok(1));
    }

    /// Computes until the peer has counted up to `n` on the board: no system
    /// call is made meanwhile. False when it takes too long.
    fn compute_until(&self, n: u64) -> bool {
        let end = Instant::now() + Duration::from_millis(LOST as u64);
        while self.board.get(Flag::Peer) < n {
            if Instant::now() > end {
                return false;
            }
            std::hint::spin_loop();
        }
        true
    }

    /// Writes all of it, waiting for room where there is none; leaves the
    /// descriptor watched for EPOLLIN.
    fn write_all(&self, fd: i32, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match sys::write(fd, bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(libc::EAGAIN) => self.room(fd),
                Err(e) => return self.log(format_args!("FAIL write_all: errno {e}")),
            }
        }
    }

    /// Waits until there is room to write.
    fn room(&self, fd: i32) {
        self.watch(fd, libc::EPOLLIN | libc::EPOLLOUT);
        while self.next().1 & libc::EPOLLOUT == 0 {}
        self.watch(fd, libc::EPOLLIN);
    }

    /// Writes numbered pieces of `size` until EAGAIN; returns the bytes that
    /// were accepted, which are those of `numbered`.
    fn fill(&self, fd: i32, size: usize) -> usize {
        let all = numbered(FILL_MOST);
        let mut at = 0;
        loop {
            match sys::write(fd, &all[at..at + size]) {
                Ok(n) => at += n,
                Err(libc::EAGAIN) => break,
                Err(e) => {
                    self.log(format_args!("FAIL fill: errno {e}"));
                    break;
                }
            }
            if at + size > FILL_MOST {
                self.log("FAIL fill: no back-pressure");
                break;
            }
        }
        self.board.set(Flag::Accepted, at as u64);
        at
    }

    /// Waits until the peer has closed.
    fn until_closed(&self, fd: i32) {
        let mut rest = [0; 64];
        loop {
            self.next();
            match sys::read(fd, &mut rest) {
                Ok(0) | Err(libc::ECONNRESET) => return,
                Ok(_) | Err(libc::EAGAIN) => {}
                Err(e) => return self.log(format_args!("FAIL until_closed: errno {e}")),
            }
        }
    }
}

/// More than any socket buffer takes.
const FILL_MOST: usize = 16 << 20;

/// What streams carry where every byte is compared.
fn numbered(n: usize) -> Vec<u8> {
    esca_suite::site::noise(0, n)
}
