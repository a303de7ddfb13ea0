//! The engine and its sweeper under every interleaving (loom): what threads
//! share is loom's, the kernel's side is a record of what was sent. Run by
//! `make loom`; nothing of it is in an ordinary build.
#![allow(missing_docs)]
#![cfg(loom)]

use esca_abi::stats::Table;
use esca_engine::backend::{Backend, Op, OpCode};
use esca_engine::settings::{Policy, Settings};
use esca_engine::{Bytes, Engine, OpKind, Segment, Verdict, WriteCall};
use libc::{EAGAIN, MSG_MORE, SOCK_NONBLOCK};
use loom::sync::Arc;
use loom::thread;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

/// The socket as the kernel has it. No interleaving happens inside (a std
/// mutex is none of loom's).
struct Socket {
    /// A descriptor for the engine to duplicate.
    fd: OwnedFd,
    sent: Mutex<Vec<u8>>,
    open: AtomicBool,
    /// The next send finds no room.
    full: AtomicBool,
}

/// The kernel's side of every descriptor: there is one socket.
struct Kernel(std::sync::Arc<Socket>);

impl Socket {
    fn send(&self, bytes: &[u8]) -> i64 {
        // Bytes that were promised must find the socket they are for.
        assert!(self.open.load(Relaxed), "sent to a closed descriptor");
        if self.full.swap(false, Relaxed) {
            return -i64::from(EAGAIN);
        }
        self.sent.lock().unwrap().extend(bytes);
        bytes.len() as i64
    }

    fn sent(&self) -> String {
        String::from_utf8(self.sent.lock().unwrap().clone()).unwrap()
    }
}

impl Backend for Kernel {
    unsafe fn run(&self, ops: &mut [Op]) -> u32 {
        for op in ops.iter_mut() {
            assert_eq!(op.opcode, OpCode::Send as u32);
            // SAFETY: the caller's promise.
            let bytes = unsafe { std::slice::from_raw_parts(op.ptr as *const u8, op.len as usize) };
            op.result = self.0.send(bytes);
        }
        ops.len() as u32
    }
}

/// An engine with one stream, in policy batch so that bytes stay.
struct World {
    engine: Engine,
    socket: std::sync::Arc<Socket>,
    fd: i32,
}

fn world() -> Arc<World> {
    // A table for each run of the model; a process has one.
    // SAFETY: zeroes are a table.
    let table = unsafe { Box::<Table>::new_zeroed().assume_init() };
    let table: &'static Table = Box::leak(table);
    let settings = Settings {
        policy: Policy::Batch,
        ..Settings::default()
    };
    let fd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let socket = std::sync::Arc::new(Socket {
        fd,
        sent: Mutex::default(),
        open: AtomicBool::new(true),
        full: AtomicBool::new(false),
    });
    let fd = socket.fd.as_raw_fd();
    let kernel = || Box::new(Kernel(socket.clone()));
    let engine = Engine::new(settings, fd as usize + 1, table)
        .unwrap()
        .with_backends(kernel(), kernel());
    engine.made_socket(fd, libc::AF_INET, libc::SOCK_STREAM | SOCK_NONBLOCK, 0);
    let w = World { engine, socket, fd };
    w.accepted();
    // The sweeper counts as started.
    let seg = w.enter();
    assert!(w.more(seg, b"-"));
    w.flush(seg);
    w.engine.leave_thread(seg);
    Arc::new(w)
}

impl World {
    /// The number means a new connection. Its listener is itself.
    fn accepted(&self) {
        self.engine
            .made_socket(self.fd, libc::AF_INET, libc::SOCK_STREAM | SOCK_NONBLOCK, 0);
        self.engine.accepted(self.fd, self.fd, SOCK_NONBLOCK);
    }

    fn enter(&self) -> &Segment {
        self.engine.enter_thread().unwrap()
    }

    /// Sends bytes that more will follow; whether they were taken.
    fn more(&self, seg: &Segment, bytes: &[u8]) -> bool {
        let call = WriteCall {
            fd: self.fd,
            kind: OpKind::Send,
            flags: MSG_MORE,
            bytes: Bytes::One(bytes.as_ptr(), bytes.len()),
        };
        // SAFETY: a live slice.
        match unsafe { self.engine.write(seg, &call) } {
            Verdict::Ret(n) => {
                assert_eq!(n as usize, bytes.len());
                true
            }
            Verdict::Err(e) => {
                assert_eq!(e, EAGAIN);
                false
            }
            _ => {
                if !self.socket.open.load(Relaxed) {
                    return false; // EBADF
                }
                let n = self.socket.send(bytes);
                self.engine
                    .after_write(seg, self.fd, OpKind::Send, MSG_MORE, n as isize);
                n > 0
            }
        }
    }

    /// The kernel has no room for these bytes at their flush.
    fn leave_over(&self, seg: &Segment, bytes: &[u8]) {
        self.socket.full.store(true, Relaxed);
        assert!(self.more(seg, bytes));
        self.flush(seg);
    }

    fn flush(&self, seg: &Segment) {
        use esca_engine::segment::WaitKind;
        self.engine.before_wait(seg, WaitKind::Level);
        self.engine.after_wait(seg, 8);
    }
}

/// A thread with room for what the engine has on its stack.
fn hand<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    let words = 1 << 15;
    thread::Builder::new().stack_size(words).spawn(f).unwrap()
}

/// A thread that enters, acts and leaves.
fn aside<T: Send + 'static>(
    w: &Arc<World>,
    act: impl FnOnce(&World, &Segment) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let w = w.clone();
    hand(move || {
        let seg = w.enter();
        let came = act(&w, seg);
        w.engine.leave_thread(seg);
        came
    })
}

/// The sweeper's thread.
fn sweeper(w: &Arc<World>) -> thread::JoinHandle<()> {
    let w = w.clone();
    hand(move || w.engine.sweep())
}

/// Runs a model under all interleavings with so many changes of thread where
/// none was needed.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    // One at a time: a run must be like the one before, to the numbers of its
    // descriptors.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    let runs = std::sync::Arc::new(AtomicU64::new(0));
    let (model, counter) = (std::sync::Arc::new(model), runs.clone());
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        let model = model.clone();
        hand(move || model()).join().unwrap();
    });
    let runs = runs.load(Relaxed);
    println!("{runs} interleavings");
    assert!(runs > 10, "there was nothing to interleave");
}

/// Two threads send on one stream: each one's bytes in its order, all of them
/// once.
#[test]
fn two_threads_one_stream() {
    check(3, || {
        let w = world();
        let other = aside(&w, |w, seg| {
            assert!(w.more(seg, b"a"));
            assert!(w.more(seg, b"b"));
        });
        let seg = w.enter();
        assert!(w.more(seg, b"x"));
        assert!(w.more(seg, b"y"));
        w.flush(seg);
        other.join().unwrap();
        let sent = w.socket.sent();
        let only = |of: &[char]| sent.replace(of, "");
        assert_eq!(only(&['x', 'y']), "-ab", "{sent}");
        assert_eq!(only(&['a', 'b']), "-xy", "{sent}");
    });
}

/// A thread sends when another has: in that order, whoever hands it over.
#[test]
fn two_threads_in_turn() {
    check(3, || {
        let w = world();
        // A flag alone will not do: loom goes on with one who yields only when
        // nobody else can. (And a wait may return for nothing.)
        let turn = Arc::new((
            loom::sync::atomic::AtomicBool::new(false),
            loom::sync::Notify::new(),
        ));
        let done = turn.clone();
        let other = aside(&w, move |w, seg| {
            assert!(w.more(seg, b"a"));
            done.0.store(true, Release);
            done.1.notify();
        });
        let seg = w.enter();
        while !turn.0.load(Acquire) {
            turn.1.wait();
        }
        assert!(w.more(seg, b"x"));
        w.flush(seg);
        other.join().unwrap();
        assert_eq!(w.socket.sent(), "-ax");
    });
}

/// A thread closes, and gets the number again, while another sends: bytes that
/// were promised go to an open socket.
#[test]
fn a_close_and_a_send() {
    check(2, || {
        let w = world();
        let other = aside(&w, |w, seg| {
            let taken = w.more(seg, b"a");
            w.flush(seg);
            taken
        });
        let seg = w.enter();
        w.engine.close(seg, w.fd);
        // What the kernel does.
        w.socket.open.store(false, Relaxed);
        thread::yield_now();
        w.socket.open.store(true, Relaxed);
        w.accepted();
        let taken = other.join().unwrap();
        assert_eq!(w.socket.sent(), if taken { "-a" } else { "-" });
        assert!(!w.engine.in_custody(w.fd));
    });
}

/// A handler that computes for ever: the sweeper sends what it deferred,
/// whether it slept, was falling asleep or awake.
#[test]
fn the_sweeper_is_never_late() {
    check(3, || {
        let w = world();
        let sweeper = sweeper(&w);
        let seg = w.enter();
        // Time in which it may fall asleep.
        (0..5).for_each(|_| thread::yield_now());
        assert!(w.more(seg, b"a"));
        while w.socket.sent() != "-a" {
            thread::yield_now();
        }
        w.engine.stop_sweeping();
        sweeper.join().unwrap();
        assert!(!w.engine.in_custody(w.fd));
    });
}

/// The kernel has no room at the flush: the sweeper drains what is left, the
/// program's next send goes behind it, each byte once.
#[test]
fn a_residue_and_a_send() {
    check(4, || {
        let w = world();
        let seg = w.enter();
        w.leave_over(seg, b"a");
        assert!(w.engine.has_residues());
        let sweeper = sweeper(&w);
        while !w.more(seg, b"b") {
            thread::yield_now();
        }
        w.flush(seg);
        w.engine.stop_sweeping();
        sweeper.join().unwrap();
        assert_eq!(w.socket.sent(), "-ab");
        assert!(!w.engine.has_residues() && !w.engine.in_custody(w.fd));
    });
}

/// Its close, in place of a send.
#[test]
fn a_residue_and_a_close() {
    check(4, || {
        let w = world();
        let seg = w.enter();
        w.leave_over(seg, b"a");
        let sweeper = sweeper(&w);
        w.engine.close(seg, w.fd);
        w.accepted();
        assert!(!w.engine.in_custody(w.fd));
        w.engine.stop_sweeping();
        sweeper.join().unwrap();
        assert_eq!(w.socket.sent(), "-a");
        assert!(!w.engine.has_residues());
    });
}

/// Threads that come and go have segments of their own.
#[test]
fn segments_are_handed_out_once() {
    check(3, || {
        let w = world();
        let other = aside(&w, |_, seg| {
            let at = std::ptr::from_ref(seg).addr();
            thread::yield_now();
            at
        });
        let seg = w.enter();
        let mine = std::ptr::from_ref(seg).addr();
        assert!(w.more(seg, b"a"));
        w.flush(seg);
        let _ = other.join().unwrap();
        assert_eq!(std::ptr::from_ref(seg).addr(), mine);
        assert_eq!(w.socket.sent(), "-a");
    });
}
