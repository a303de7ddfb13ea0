//! The hot path takes no more than one lock a call and allocates nothing,
//! whatever the call does: defer, merge, flush, turn to another stream, pass
//! through. (Locks are counted in builds with debug assertions, as tests are;
//! system calls in the suite's hot_path.)
#![allow(missing_docs)]
#![cfg(debug_assertions)]
mod common;

use common::*;
use esca_abi::stats::Counter;
use esca_engine::locks_taken;
use esca_engine::settings::Policy;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::os::fd::AsRawFd;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does all of it (the defaults of the other
// methods ask these two).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Runs a call and asserts how many locks it took, and that it allocated
/// nothing.
fn at_most_one<R>(what: &str, call: impl FnOnce() -> R) -> R {
    let before = (locks_taken(), ALLOCATIONS.get());
    let answer = call();
    let taken = locks_taken() - before.0;
    assert!(taken <= 1, "{what} took {taken} locks");
    let made = ALLOCATIONS.get() - before.1;
    assert_eq!(made, 0, "{what} allocated");
    answer
}

#[test]
fn allocations_are_counted() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get(), before + 1);
}

/// The first deferral of a process starts the sweeper, under a lock.
fn warm(w: &World, h: &Hands) {
    let (fd, mut peer) = w.pair(None);
    h.more(fd, b"first").unwrap();
    h.wait(1);
    expect(&mut peer, b"first");
    assert!(locks_taken() > 0);
}

/// Locks are counted for the whole process: one test at a time.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Rounds as servers make them, of a few streams each.
fn rounds(w: &World, sends: impl Fn(&Hands, i32)) {
    let _alone = ALONE.lock();
    let h = w.hands();
    warm(w, &h);
    let mut pairs: Vec<_> = (0..4).map(|_| w.pair(None)).collect();
    let mut room = [0; 256];
    for _ in 0..50 {
        at_most_one("a wait", || h.wait(4));
        for (fd, peer) in &mut pairs {
            peer.write_all(b"request").unwrap();
            until(|| at_most_one("a read", || h.read(*fd, &mut room)) == Ok(7));
            sends(&h, *fd);
            at_most_one("a read", || h.read(*fd, &mut room)).unwrap_err();
        }
        at_most_one("a wait", || h.wait(0));
        for (_, peer) in &mut pairs {
            expect(peer, b"header");
            expect(peer, &[b'b'; 900]);
        }
    }
    assert!(w.count(Counter::Deferred) > 0);
}

#[test]
fn header_and_file() {
    for policy in [Policy::Coalesce, Policy::Batch] {
        let w = world(policy);
        let body = file(&[b'b'; 900]);
        rounds(&w, |h, fd| {
            at_most_one("a header", || h.write(fd, b"header")).unwrap();
            let mut at = 0;
            let sent = at_most_one("a file", || {
                h.sendfile(fd, body.as_raw_fd(), Some(&mut at), 900)
            });
            assert_eq!(sent, Ok(900));
        });
    }
}

#[test]
fn corked_writes() {
    for policy in [Policy::Coalesce, Policy::Batch] {
        let w = world(policy);
        rounds(&w, |h, fd| {
            let cork = |v| h.tcp_option(fd, libc::TCP_CORK, v);
            at_most_one("a cork", || cork(1)).unwrap();
            at_most_one("a header", || h.write(fd, b"header")).unwrap();
            at_most_one("a body", || h.write(fd, &[b'b'; 900])).unwrap();
            at_most_one("an uncork", || cork(0)).unwrap();
        });
    }
}

/// Each write turns to another stream than the one before.
#[test]
fn writes_in_turn() {
    let _alone = ALONE.lock();
    for policy in [Policy::Coalesce, Policy::Batch] {
        let w = world(policy);
        let h = w.hands();
        warm(&w, &h);
        let (a, mut pa) = w.pair(None);
        let (b, mut pb) = w.pair(None);
        for _ in 0..50 {
            at_most_one("a wait", || h.wait(4));
            for fd in [a, b, a, b] {
                at_most_one("a write", || h.more(fd, b"part")).unwrap();
            }
        }
        h.wait(1);
        expect(&mut pa, &b"part".repeat(100));
        expect(&mut pb, &b"part".repeat(100));
        assert!(w.count(Counter::Deferred) > 0);
    }
}
