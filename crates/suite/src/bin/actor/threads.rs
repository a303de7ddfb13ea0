//! Threads: one stream from two of them, in the order that the program's own
//! means make.

use crate::sys;
use crate::{Actor, LOST, Scene, numbered};
use esca_suite::board::Flag;
use esca_suite::scenario::LATE_BYTES;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::*};

pub const SCENES: &[(&str, Scene)] = &[("mutex", mutex), ("hand-over", hand_over), ("late", late)];

/// Records that a mutex numbers, from two threads.
fn mutex(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    let next = Mutex::new(0);
    let work = || {
        loop {
            let mut number = next.lock().expect("the lock");
            if *number == 4000 {
                return;
            }
            let record = format!("{:07}\n", *number);
            // In two pieces: there is something to merge.
            for piece in [&record[..3], &record[3..]] {
                put(a, fd, piece.as_bytes());
            }
            *number += 1;
        }
    };
    std::thread::scope(|s| {
        s.spawn(work);
        s.spawn(work);
    });
    a.until_closed(fd);
}

/// Writes all of it, waiting with poll.
fn put(a: &Actor, fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match sys::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(libc::EAGAIN) => {
                let mut p = [libc::pollfd {
                    fd,
                    events: libc::POLLOUT,
                    revents: 0,
                }];
                a.check("room", sys::poll(&mut p, LOST) == Ok(1));
            }
            Err(e) => return a.log(format_args!("FAIL put: errno {e}")),
        }
    }
}

/// A descriptor that goes from the event loop to another thread and back,
/// and is closed by the other one.
fn hand_over(a: &Actor) {
    const ROUNDS: u32 = 200;
    // Whose turn it is: odd, the other thread's.
    let turn = AtomicU32::new(0);
    let until = |n| {
        while turn.load(Acquire) != n {
            std::hint::spin_loop();
        }
    };
    let fd = a.connection();
    std::thread::scope(|s| {
        s.spawn(|| {
            for round in 0..ROUNDS {
                until(2 * round + 1);
                a.check("3", sys::write(fd, b"3") == Ok(1));
                a.check("4", sys::write(fd, b"4") == Ok(1));
                if round + 1 == ROUNDS {
                    a.saw("close", sys::close(fd));
                }
                turn.store(2 * round + 2, Release);
            }
        });
        for round in 0..ROUNDS {
            a.turn(fd);
            a.check("1", sys::write(fd, b"1") == Ok(1));
            a.check("2", sys::write(fd, b"2") == Ok(1));
            turn.store(2 * round + 1, Release);
            until(2 * round + 2);
            if round + 1 < ROUNDS {
                a.check("5", sys::write(fd, b"5") == Ok(1));
            }
        }
        a.saw("write to it", sys::write(fd, b"no"));
        a.saw(
            "its number",
            sys::open(c"/dev/null").map(|n| usize::from(n as i32 == fd)),
        );
    });
    a.check("the second call", a.next().0 == a.listener);
}

/// A thread whose first call comes while a send of the thread that started it
/// is in the kernel and waits there for the peer; it sends on the same stream.
fn late(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.saw("blocking", sys::set_flags(fd, 0));
    let bytes = numbered(LATE_BYTES);
    std::thread::scope(|s| {
        s.spawn(|| {
            // Not by libc's poll: the library hears nothing of this thread yet.
            while has_room(fd) {
                std::hint::spin_loop();
            }
            a.saw("not", sys::set_flags(fd, libc::O_NONBLOCK));
            a.saw("a wait", sys::poll(&mut [], 0));
            a.board.add(Flag::Actor, 1);
            a.check("the peer looks", a.compute_until(1));
            // How much room there is depends on the moment.
            let sent = match sys::send(fd, b"x", libc::MSG_MORE) {
                Ok(1) => 1,
                Err(libc::EAGAIN) => 0,
                r => return a.saw("FAIL send", r),
            };
            a.board.set(Flag::Accepted, LATE_BYTES as u64 + sent);
            a.board.add(Flag::Actor, 1);
        });
        a.check("the send", sys::write(fd, &bytes) == Ok(bytes.len()));
    });
    a.saw("close", sys::close(fd));
}

/// Whether poll(2) says that there is room to write, by a system call
/// instruction of our own.
fn has_room(fd: i32) -> bool {
    // SAFETY: the descriptor is open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut p = [PollFd::new(&fd, PollFlags::OUT)];
    rustix::event::poll(&mut p, Some(&Timespec::default())) == Ok(1)
}
