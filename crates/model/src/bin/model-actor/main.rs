//! The actor: carries a program out through libc's functions, so that it can
//! be run with and without ESCA, and logs every call on the board.
//!
//! `model-actor PROGRAM BOARD PATIENCE_MS`

mod calls;
mod conn;
mod hand;
mod ops;

use esca_model::board::{Board, Fault, Kind, NOBODY};
use esca_model::program::{CONNECTIONS, End, How, Owner, Program, STREAMS, Waits};
use esca_suite::shared::Shared;
use hand::Hand;
use rustix::fs::{Mode, OFlags, RawDir};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};

/// Exit status where an event did not come.
pub(crate) const LOST: i32 = 96;
/// Exit status where the log was full.
pub(crate) const TOO_LONG: i32 = 95;
const PANICKED: i32 = 97;

/// What all threads share.
pub(crate) struct World {
    pub program: Program,
    pub board: Shared<Board>,
    pub listeners: Vec<i32>,
    /// How long a wait may last before the event counts as lost, in ms.
    pub patience: i32,
    pub forks: AtomicU32,
    /// Connections that were opened, and those that a child has too.
    pub opened: [AtomicBool; CONNECTIONS],
    pub inherited: [AtomicBool; CONNECTIONS],
    /// Children that nobody has waited for.
    pub loose: AtomicU32,
    arrived: AtomicUsize,
    rounds: AtomicUsize,
}

pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: it doesn't come back.
    unsafe { libc::_exit(status) }
}

fn main() {
    std::panic::set_hook(Box::new(|what| {
        eprintln!("model-actor: {what}");
        exit_now(PANICKED);
    }));
    // SAFETY: what was inherited is nobody's here.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    let args: Vec<String> = std::env::args().collect();
    let [_, program, board, patience] = args.as_slice() else {
        eprintln!("usage: model-actor PROGRAM BOARD PATIENCE_MS");
        std::process::exit(2);
    };
    // Nobody is left who would end a run that hangs.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let text = std::fs::read_to_string(program).expect("the program");
    let program = Program::from_text(&text).expect("a program");
    assert!(!program.streams.is_empty(), "a program without streams");
    let mut world = World {
        board: Shared::open(board.as_ref()),
        listeners: Vec::new(),
        patience: patience.parse().expect("a number"),
        program,
        forks: AtomicU32::new(0),
        opened: [const { AtomicBool::new(false) }; CONNECTIONS],
        inherited: [const { AtomicBool::new(false) }; CONNECTIONS],
        loose: AtomicU32::new(0),
        arrived: AtomicUsize::new(0),
        rounds: AtomicUsize::new(0),
    };
    calls::count_sigpipes();
    no_core();
    for (i, stream) in world.program.streams.iter().enumerate().take(STREAMS) {
        let (fd, port) = calls::listen(stream.accept4);
        world.listeners.push(fd);
        world.board.listening[i].store(port.into(), SeqCst);
    }
    world.board.ready.store(1, SeqCst);
    while world.board.ready.load(SeqCst) != 2 {
        rest();
    }
    run(&world);
}

fn run(world: &World) {
    let threads = world.program.threads();
    let mut hands: Vec<Hand> = (0..threads).map(|t| Hand::new(world, t)).collect();
    for hand in &mut hands {
        (0..world.program.streams.len()).for_each(|s| hand.open(s));
    }
    share(&mut hands);
    let mut hands = std::thread::scope(|scope| {
        let mut hands = hands.into_iter();
        let mut main = hands.next().expect("a first hand");
        let others: Vec<_> = hands
            .map(|mut hand| {
                scope.spawn(move || {
                    play(&mut hand);
                    hand
                })
            })
            .collect();
        play(&mut main);
        let joined = others.into_iter().map(|o| o.join().expect("a thread"));
        std::iter::once(main).chain(joined).collect::<Vec<_>>()
    });
    for hand in &mut hands {
        hand.step = u32::MAX;
        hand.reap();
        if !world.program.leave_input {
            (0..world.program.streams.len()).for_each(|s| hand.settle(s));
        }
    }
    check_descriptors(&hands.iter().collect::<Vec<_>>(), &[]);
    hands[0].log(Kind::End, usize::from(NOBODY), 0, 0, 0);
    end(world);
}

/// A short sleep that the library does not see.
fn rest() {
    let _ = rustix::thread::nanosleep(&rustix::thread::Timespec {
        tv_sec: 0,
        tv_nsec: 30_000,
    });
}

/// Gives the other threads the shared streams.
fn share(hands: &mut [Hand]) {
    let (main, others) = hands.split_first_mut().expect("a first hand");
    for (s, stream) in main.world.program.streams.iter().enumerate() {
        if stream.owner == Owner::Shared {
            for other in others.iter_mut() {
                other.conns[s] = main.conns[s].clone();
                other.watch(s);
            }
        }
    }
}

/// One thread's part of the program.
fn play(hand: &mut Hand) {
    let world = hand.world;
    let me = hand.writer;
    warm_up(hand);
    for (r, round) in world.program.rounds.iter().enumerate() {
        for (i, op) in round.0.get(me).into_iter().flatten().enumerate() {
            hand.step = (r as u32) << 20 | (me as u32) << 18 | (i as u32 + 1) << 8;
            hand.step(op);
        }
        meet(hand, r);
    }
}

/// Teaches the library that merging pays: what a server does in its first
/// milliseconds.
fn warm_up(hand: &mut Hand) {
    hand.glance(Waits::Level);
    let Some(s) = hand.conns.iter().position(Option::is_some) else {
        return;
    };
    for how in [How::Write, How::Writev, How::Send, How::Sendmsg] {
        for _ in 0..2 {
            let _ = hand.write(s, 0, 2, how);
        }
    }
    hand.glance(Waits::Level);
}

/// The end of a round: all threads meet, without a system call that the
/// library would see.
fn meet(hand: &Hand, round: usize) {
    let world = hand.world;
    let threads = world.program.threads();
    if world.arrived.fetch_add(1, SeqCst) + 1 == threads * (round + 1) {
        hand.next_epoch();
        world.rounds.fetch_add(1, SeqCst);
    }
    while world.rounds.load(SeqCst) <= round {
        rest();
    }
}

/// The process has the descriptors that the program knows of, and no others
/// but the library's own, far above.
pub(crate) fn check_descriptors(hands: &[&Hand], more: &[i32]) {
    let world = hands[0].world;
    let conns = hands.iter().flat_map(|h| h.conns.iter().flatten());
    let mut due: Vec<i32> = conns.flat_map(|c| c.fds.clone()).collect();
    due.extend([0, 1, 2].iter().chain(&world.listeners).chain(more));
    due.extend(hands.iter().map(|h| h.epoll));
    due.sort_unstable();
    due.dedup();
    let mut open = open_descriptors();
    open.retain(|fd| *fd < first_private());
    open.sort_unstable();
    if open != due {
        eprintln!("model-actor: open {open:?}, the program's {due:?}");
        hands[0].fault(Fault::Descriptors, usize::from(NOBODY));
    }
}

fn open_descriptors() -> Vec<i32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open("/proc/self/fd", flags, Mode::empty()).expect("/proc");
    let mut room = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&dir, &mut room);
    let mut open = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_str().unwrap_or("");
        open.extend(name.parse::<i32>().ok().filter(|fd| *fd != dir.as_raw_fd()));
    }
    open
}

/// The library keeps to the highest eighth (docs/semantics.md).
fn first_private() -> i32 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a local struct.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let soft = limit.rlim_cur.min(65_536) as i32;
    soft - soft / 8
}

fn no_core() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a local struct.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}

fn end(world: &World) {
    match world.program.end {
        End::Return => {}
        // SAFETY: no other thread runs.
        End::Exit => unsafe { libc::exit(7) },
        End::Quick => exit_now(8),
        End::Exec => {
            // What the kernel did not take is waited for: the peers that
            // stopped go on now.
            world.board.gone.store(1, SeqCst);
            let args = [c"/bin/true".as_ptr(), std::ptr::null()];
            // SAFETY: arguments that end with a null.
            unsafe { libc::execv(c"/bin/true".as_ptr(), args.as_ptr()) };
        }
        // SAFETY: it doesn't come back.
        End::Abort => unsafe { libc::abort() },
    }
}
