//! A program that makes calls with arguments that no program means. It is
//! another than the actor because it has no `main` of Rust's: that polls the
//! standard descriptors, and a poll is a wait.
//!
//! `arguments SCENARIO BOARD DIR`
#![no_main]

mod calls;
mod cases;

use esca_suite::board::{Board, Flag};
use esca_suite::shared::Shared;
use std::fmt::Display;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};

/// What the scenes share.
pub struct Actor {
    board: Shared<Board>,
    dir: String,
    listener: TcpListener,
}

/// One scenario.
type Scene = fn(&Actor);

#[unsafe(no_mangle)]
extern "C" fn main() -> libc::c_int {
    let args: Vec<String> = std::env::args().collect();
    let [_, name, board, dir] = args.as_slice() else {
        return 2;
    };
    let scene = cases::SCENES.iter().find(|(n, _)| n == name);
    let Some((_, scene)) = scene else { return 2 };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let actor = Actor {
        board: Shared::open(board.as_ref()),
        dir: dir.clone(),
        listener,
    };
    let port = actor.listener.local_addr().expect("an address").port();
    actor.board.set(Flag::Port, port.into());
    scene(&actor);
    0
}

impl Actor {
    /// Notes what must be the same in every run.
    fn log(&self, line: impl Display) {
        self.board.log(&line.to_string());
    }

    /// A fault, where something must hold in every run.
    fn check(&self, what: &str, holds: bool) {
        if !holds {
            self.log(format_args!("FAIL {what}"));
        }
    }

    /// A TCP connection inside the process: its non-blocking end, and the
    /// other.
    fn pair(&self) -> (libc::c_int, libc::c_int) {
        let port = self.listener.local_addr().expect("an address").port();
        let far = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        far.set_nodelay(true).expect("nodelay");
        let at = self.listener.as_raw_fd();
        let none = std::ptr::null_mut();
        // SAFETY: no address is asked for.
        let near = unsafe { libc::accept4(at, none, none.cast(), libc::SOCK_NONBLOCK) };
        assert!(near >= 0, "a connection");
        let on = 1;
        // SAFETY: a local int.
        let set = unsafe {
            let on = (&raw const on).cast();
            libc::setsockopt(near, libc::IPPROTO_TCP, libc::TCP_NODELAY, on, 4)
        };
        assert_eq!(set, 0);
        (near, far.into_raw_fd())
    }
}
