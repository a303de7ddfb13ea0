//! Signals, and handlers of events that compute for long.

use crate::sys;
use crate::{Actor, LOST, Scene, numbered};
use esca_suite::board::Flag;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub const SCENES: &[(&str, Scene)] = &[
    ("handler", handler),
    ("compute", compute),
    ("compute-other", compute_other),
];

static PIPE: AtomicI32 = AtomicI32::new(-1);
static STREAM: AtomicI32 = AtomicI32::new(-1);
static RAN: AtomicU64 = AtomicU64::new(0);

static WROTE: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// Writes to the self-pipe and to a stream on which the program writes too.
/// The stream may be in the interrupted call's hands: EAGAIN then, which is
/// an answer; anything but that or all of it is a fault.
extern "C" fn on_alarm(_: i32) {
    sys::keeping_errno(|| {
        if sys::write(PIPE.load(Relaxed), b"!") == Ok(1) {
            RAN.fetch_add(1, Relaxed);
        }
        match sys::write(STREAM.load(Relaxed), b"a handler\n") {
            Ok(10) => WROTE.fetch_add(1, Relaxed),
            Err(libc::EAGAIN) => 0,
            _ => FAULTS.fetch_add(1, Relaxed),
        };
    });
}

/// A signal handler interrupts the library again and again.
fn handler(a: &Actor) {
    let mut pipe = [0; 2];
    a.saw("pipe", sys::pipe(&mut pipe));
    let (first, second) = (a.connection(), a.connection());
    a.turn(first);
    PIPE.store(pipe[1], Relaxed);
    STREAM.store(second, Relaxed);
    sys::on_signal(libc::SIGALRM, on_alarm, libc::SA_RESTART);
    sys::every(300);
    let all = numbered(1 << 20);
    let (mut at, mut records) = (0, 0);
    let end = Instant::now() + Duration::from_millis(LOST as u64);
    while records < 3000 || (WROTE.load(Relaxed) < 30 && Instant::now() < end) {
        let piece = &all[at % (1 << 19)..][..7];
        a.write_all(first, piece);
        at += 7;
        if records < 3000 {
            a.check("a record", sys::write(second, b"the loop.\n") == Ok(10));
            records += 1;
        }
        if at % 700 == 0 {
            // Segments end too, now and then.
            sys::epoll_wait(a.epoll, 0);
        }
    }
    sys::every(0);
    let (ran, wrote) = (RAN.load(Relaxed), WROTE.load(Relaxed));
    a.check("the handler wrote", wrote >= 30);
    a.check("no faults", FAULTS.load(Relaxed) == 0);
    let mut marks = vec![0; 1 << 17];
    let marked = sys::read(pipe[0], &mut marks);
    a.check("the self-pipe", marked == Ok(ran as usize));
    a.board.set(Flag::Accepted, at as u64);
    a.board.set(Flag::Other, wrote);
    a.saw("close", sys::close(first));
    a.saw("close", sys::close(second));
}

/// A write, then a long computation: the peer has the bytes before its end.
fn compute(a: &Actor) {
    let fd = a.connection();
    for round in 1..=5 {
        a.turn(fd);
        a.saw("write", sys::write(fd, b"answer"));
        a.log(format_args!("before the end: {}", a.compute_until(round)));
    }
    a.until_closed(fd);
}

/// The same, computing in another thread's stead: the thread that wrote
/// neither waits nor makes a call, and another waits all the time.
fn compute_other(a: &Actor) {
    let fd = a.connection();
    let quiet = sys::epoll_create().unwrap_or(0) as i32;
    std::thread::scope(|s| {
        s.spawn(|| {
            for _ in 0..5 {
                a.check("nothing comes", sys::epoll_wait(quiet, 20).is_none());
            }
        });
        for round in 1..=5 {
            a.turn(fd);
            a.saw("write", sys::write(fd, b"ans"));
            a.saw("write", sys::write(fd, b"wer"));
            a.log(format_args!("before the end: {}", a.compute_until(round)));
        }
    });
    a.until_closed(fd);
}
