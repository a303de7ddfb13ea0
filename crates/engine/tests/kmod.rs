//! Backend `kmod` without the module: the module's own walker over plain
//! calls stands in for the device.

mod common;

use common::world_on;
use esca_abi::op::NOT_DONE;
use esca_abi::stats::{Counter, Table};
use esca_engine::backend::{Absent, Backend, Context, Device, Direct, F_LINK, Kmod, Op, OpCode};
use esca_engine::settings::{Policy, RuleSet};
use esca_kmod::walk::{self, Kernel};
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::*};

const ENTRIES: u32 = 8;

/// What the fake device did, and what it is told to do.
#[derive(Default)]
struct State {
    opened: AtomicU32,
    closed: AtomicU32,
    copies: AtomicU32,
    runs: AtomicU32,
    /// End every run after so many operations, 0 for never.
    stop_after: AtomicU32,
    /// The errno of the next runs, 0 for none.
    fail: AtomicI32,
    /// Who opens: a context of another process is refused.
    pid: AtomicU32,
}

#[derive(Clone, Default)]
struct Fake(Arc<State>);

impl Device for Fake {
    fn open(&self) -> Result<Context, Absent> {
        self.0.opened.fetch_add(1, Relaxed);
        self.0.pid.store(std::process::id(), Relaxed);
        let table = vec![Op::nop(); ENTRIES as usize].leak();
        Ok(Context {
            fd: 1_000_000,
            table: table.as_mut_ptr(),
            entries: ENTRIES,
            number: 0,
        })
    }

    unsafe fn run(&self, context: &Context, n: u32) -> rustix::io::Result<u32> {
        self.0.runs.fetch_add(1, Relaxed);
        if self.0.pid.load(Relaxed) != std::process::id() {
            return Err(Errno::PERM);
        }
        match self.0.fail.load(Relaxed) {
            0 => {}
            e => return Err(Errno::from_raw_os_error(e)),
        }
        let mut k = Calls {
            stop_after: self.0.stop_after.load(Relaxed),
            made: 0.into(),
        };
        // SAFETY: a leaked table of ENTRIES entries, and n is at most that.
        Ok(unsafe { walk::run(context.table, n.min(ENTRIES), &mut k) })
    }

    fn close(&self, _: Context, copy: bool) {
        let count = if copy { &self.0.copies } else { &self.0.closed };
        count.fetch_add(1, Relaxed);
    }
}

/// The sends as plain calls.
struct Calls {
    stop_after: u32,
    made: std::cell::Cell<u32>,
}

fn answer(n: isize) -> i64 {
    match n {
        -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap()),
        n => n as i64,
    }
}

impl Kernel for Calls {
    fn send(&mut self, fd: i32, ptr: u64, len: u64, flags: u32) -> i64 {
        assert_ne!(flags as i32 & libc::MSG_DONTWAIT, 0);
        assert_ne!(flags as i32 & libc::MSG_NOSIGNAL, 0);
        // SAFETY: the operation's bytes (Backend::run).
        answer(unsafe { libc::send(fd, ptr as *const _, len as usize, flags as i32) })
    }
    fn send_msg(&mut self, fd: i32, ptr: u64, len: u64, flags: u32, want: &mut u64) -> i64 {
        // SAFETY: a header of zeroes is an empty one.
        let mut h: libc::msghdr = unsafe { std::mem::zeroed() };
        h.msg_iov = ptr as *mut libc::iovec;
        h.msg_iovlen = len as usize;
        // SAFETY: the operation's pieces (Backend::run).
        unsafe {
            let pieces = std::slice::from_raw_parts(h.msg_iov, h.msg_iovlen);
            *want = pieces.iter().map(|p| p.iov_len as u64).sum();
            answer(libc::sendmsg(fd, &raw const h, flags as i32))
        }
    }
    fn write(&mut self, _: i32, _: u64, _: u64) -> i64 {
        unreachable!()
    }
    fn writev(&mut self, _: i32, _: u64, _: u64, _: &mut u64) -> i64 {
        unreachable!()
    }
    fn send_file(&mut self, _: i32, _: i32, _: Option<u64>, _: u64, _: u32) -> i64 {
        unreachable!()
    }
    fn send_file_copy(&mut self, _: i32, _: i32, _: u64, _: u64, _: u32) -> i64 {
        unreachable!()
    }
    fn recv(&mut self, _: i32, _: u64, _: u64, _: u32) -> i64 {
        unreachable!()
    }
    fn read(&mut self, _: i32, _: u64, _: u64, _: Option<u64>) -> i64 {
        unreachable!()
    }
    fn shutdown(&mut self, _: i32, _: i32) -> i64 {
        unreachable!()
    }
    fn close(&mut self, _: i32) -> i64 {
        unreachable!()
    }
    fn set_option(&mut self, _: i32, _: i32, _: i32, _: u64, _: u32) -> i64 {
        unreachable!()
    }
    fn wanted(&self) -> bool {
        self.made.set(self.made.get() + 1);
        self.stop_after != 0 && self.made.get().is_multiple_of(self.stop_after)
    }
    fn pause(&mut self) -> bool {
        true
    }
}

fn backend() -> (Kmod<Fake>, Arc<State>, &'static Table) {
    let table: &'static Table = Box::leak(Box::new(Table::new()));
    table.backend.store(2, Relaxed);
    let device = Fake::default();
    let state = device.0.clone();
    let kmod = Kmod::new(device, table).unwrap();
    assert_eq!(
        (state.opened.load(Relaxed), state.runs.swap(0, Relaxed)),
        (1, 1)
    );
    (kmod, state, table)
}

fn send(fd: i32, bytes: &'static [u8], flags: u32) -> Op {
    Op {
        opcode: OpCode::Send as u32,
        flags,
        fd,
        ptr: bytes.as_ptr() as u64,
        len: bytes.len() as u64,
        ..Op::nop()
    }
}

fn run(b: &impl Backend, ops: &mut [Op]) -> u32 {
    // SAFETY: the tests' operations point to literals.
    unsafe { b.run(ops) }
}

fn results(ops: &[Op]) -> Vec<i64> {
    ops.iter().map(|o| o.result).collect()
}

/// Operations on three streams, one of which is closed by its peer.
fn mixed(a: i32, b: i32, broken: i32) -> Vec<Op> {
    vec![
        send(a, b"one ", F_LINK),
        send(broken, b"x", F_LINK),
        send(b, b"three ", 0),
        send(broken, b"y", 0),
        send(a, b"two", 0),
        send(-1, b"z", F_LINK),
        send(broken, b"w", F_LINK),
        send(b, b"four", F_LINK),
        send(-1, b"z", 0),
        Op { fd: 1, ..Op::nop() },
    ]
}

fn text(mut s: UnixStream) -> String {
    let mut got = String::new();
    s.read_to_string(&mut got).unwrap();
    got
}

#[test]
fn results_are_those_of_plain_calls_wherever_a_run_ends() {
    for stop in 0..6 {
        let (kmod, state, _) = backend();
        state.stop_after.store(stop, Relaxed);
        let outcome = |backend: &dyn Backend| {
            let (a, a2) = UnixStream::pair().unwrap();
            let (b, b2) = UnixStream::pair().unwrap();
            let (c, _) = UnixStream::pair().unwrap();
            let mut ops = mixed(a.as_raw_fd(), b.as_raw_fd(), c.as_raw_fd());
            // SAFETY: literals.
            let entries = unsafe { backend.run(&mut ops) };
            drop((a, b));
            (results(&ops), text(a2), text(b2), entries)
        };
        let (r, a, b, entries) = outcome(&kmod);
        let (plain, pa, pb, _) = outcome(&Direct);
        assert_eq!((&r, &a, &b), (&plain, &pa, &pb), "stopping after {stop}");
        assert_eq!(r, [4, -32, 6, -125, 3, -9, -125, 4, -125, 0]);
        assert_eq!(entries, state.runs.load(Relaxed));
        // Ten operations in a table of eight, or in pieces.
        if stop == 0 {
            assert_eq!(entries, 2);
        }
    }
}

#[test]
fn a_lone_operation_is_a_plain_call() {
    let (kmod, state, _) = backend();
    let (a, a2) = UnixStream::pair().unwrap();
    let mut one = [send(a.as_raw_fd(), b"lone", 0)];
    assert_eq!(run(&kmod, &mut one), 1);
    assert_eq!(state.runs.load(Relaxed), 0);
    drop(a);
    assert_eq!((one[0].result, text(a2).as_str()), (4, "lone"));
}

#[test]
fn a_device_that_fails_for_good_is_left_and_nothing_is_lost() {
    for errno in [libc::EACCES, libc::EPERM, libc::ENODEV] {
        let (kmod, state, table) = backend();
        assert!(kmod.gathers() && kmod.is_private(1_000_000));
        let (a, a2) = UnixStream::pair().unwrap();
        let fd = a.as_raw_fd();
        state.fail.store(errno, Relaxed);
        let mut ops = [send(fd, b"1", 0), send(fd, b"2", 0)];
        assert_eq!(run(&kmod, &mut ops), 2);
        assert_eq!(results(&ops), [1, 1]);
        assert!(!kmod.gathers());
        assert_eq!(table.backend.load(Relaxed), 0, "the statistics say so");
        state.fail.store(0, Relaxed);
        let mut ops = [send(fd, b"3", 0), send(fd, b"4", 0)];
        assert_eq!(run(&kmod, &mut ops), 2);
        assert_eq!(state.runs.load(Relaxed), 1, "not asked again");
        drop(a);
        assert_eq!(text(a2), "1234");
    }
}

#[test]
fn a_descriptor_closed_by_the_program_is_opened_again() {
    let (kmod, state, _) = backend();
    let (a, a2) = UnixStream::pair().unwrap();
    let fd = a.as_raw_fd();
    state.fail.store(libc::EBADF, Relaxed);
    let mut ops = [send(fd, b"1", 0), send(fd, b"2", 0)];
    assert_eq!(run(&kmod, &mut ops), 2);
    state.fail.store(0, Relaxed);
    assert_eq!(run(&kmod, &mut ops), 1);
    assert!(kmod.gathers());
    assert_eq!(state.opened.load(Relaxed), 2);
    drop(a);
    assert_eq!(text(a2), "1212");
}

#[test]
fn each_thread_has_a_table_of_its_own() {
    let (kmod, state, _) = backend();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let (a, a2) = UnixStream::pair().unwrap();
                let fd = a.as_raw_fd();
                for _ in 0..100 {
                    let mut ops = [send(fd, b"a", 0), send(fd, b"b", 0)];
                    assert_eq!(run(&kmod, &mut ops), 1);
                    assert_eq!(results(&ops), [1, 1]);
                }
                drop(a);
                assert_eq!(text(a2), "ab".repeat(100));
            });
        }
    });
    assert!(state.opened.load(Relaxed) > 1);
    assert_eq!(state.runs.load(Relaxed), 400);
}

#[test]
fn a_forked_child_opens_its_own() {
    let (kmod, state, _) = backend();
    let (a, a2) = UnixStream::pair().unwrap();
    let fd = a.as_raw_fd();
    // A raw fork: no handler tells the backend.
    // SAFETY: the child makes calls and leaves by _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mut ops = [send(fd, b"child", 0), send(fd, b" ", 0)];
        let entries = run(&kmod, &mut ops);
        let fine = entries == 1
            && ops[0].result == 5
            && state.opened.load(Relaxed) == 2
            && state.copies.load(Relaxed) == 1
            && state.closed.load(Relaxed) == 0;
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!fine)) };
    }
    let mut status = -1;
    // SAFETY: a local int.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(status, 0);
    let mut ops = [send(fd, b"par", 0), send(fd, b"ent", 0)];
    assert_eq!(run(&kmod, &mut ops), 1);
    assert_eq!(state.opened.load(Relaxed), 1);
    drop(a);
    assert_eq!(text(a2), "child parent");
}

#[test]
fn stale_results_do_not_hide_operations() {
    let (kmod, _, _) = backend();
    let (a, a2) = UnixStream::pair().unwrap();
    let mut ops = [send(a.as_raw_fd(), b"1", 0), send(a.as_raw_fd(), b"2", 0)];
    ops[1].result = NOT_DONE;
    assert_eq!(run(&kmod, &mut ops), 1);
    ops[0].result = -125;
    ops[1].result = -125;
    assert_eq!(run(&kmod, &mut ops), 1);
    drop(a);
    assert_eq!(text(a2), "1212");
}

#[test]
fn policy_batch_needs_one_kernel_entry_a_segment() {
    let device = Fake::default();
    let state = device.0.clone();
    let w = world_on(Policy::Batch, RuleSet::all(), |engine| {
        let table: &'static Table = Box::leak(Box::new(Table::new()));
        let kmod = Kmod::new(device, table).unwrap();
        engine
            .without_age()
            .with_backends(Box::new(kmod), Box::new(Direct))
    });
    state.runs.store(0, Relaxed);
    let h = w.hands();
    let mut pairs: Vec<_> = (0..ENTRIES).map(|_| w.pair(None)).collect();
    for round in 0..3 {
        h.wait(ENTRIES);
        let before = w.count(Counter::Made);
        for (fd, _) in &pairs {
            assert_eq!(h.write(*fd, b"head "), Ok(5));
            assert_eq!(h.write(*fd, b"body;"), Ok(5));
        }
        assert_eq!(w.count(Counter::Made), before, "all are in custody");
        assert_eq!(state.runs.load(Relaxed), round);
        h.engine
            .before_wait(h.seg, esca_engine::segment::WaitKind::Level);
        assert_eq!(state.runs.load(Relaxed), round + 1);
        // The table, and the wait.
        assert_eq!(w.count(Counter::Made), before + 2);
    }
    for (fd, peer) in &mut pairs {
        h.close(*fd);
        let mut got = String::new();
        peer.read_to_string(&mut got).unwrap();
        assert_eq!(got, "head body;".repeat(3));
    }
    assert!(w.count(Counter::Deferred) >= u64::from(ENTRIES) * 6);
}
