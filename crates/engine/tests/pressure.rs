//! The contract where the kernel does not take all, or fails: back-pressure,
//! errors, ends of streams, shared descriptors, threads, time.
#![allow(missing_docs)]
mod common;
#[path = "common/full.rs"]
mod full;
#[path = "common/plan.rs"]
mod plan;

use common::*;
use esca_abi::stats::Counter;
use esca_engine::settings::Policy;
use full::Full;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

#[test]
fn what_the_kernel_did_not_take_drains_by_itself() {
    for policy in [Policy::Coalesce, Policy::Batch] {
        let Full {
            w,
            h,
            fd,
            mut peer,
            sent,
            drain,
        } = Full::new(policy);
        assert_eq!(h.write(fd, b"no"), Err(libc::EAGAIN));
        drain.stop(None);
        // The program does nothing more; the peer reads all the same.
        expect(&mut peer, &sent);
        until(|| !w.engine.in_custody(fd));
        assert_eq!(h.send(fd, b"again"), Ok(5));
        h.wait(1);
        expect(&mut peer, b"again");
    }
}

#[test]
fn the_program_is_told_when_it_is_writable() {
    let Full {
        h,
        fd,
        mut peer,
        sent,
        drain,
        ..
    } = Full::new(Policy::Coalesce);
    drain.stop(None);
    let reader = std::thread::spawn(move || {
        expect(&mut peer, &sent);
        expect(&mut peer, b"after");
    });
    // Edge-triggered: the edge must come although the sweeper drains too.
    // SAFETY: local values.
    unsafe {
        let ep = libc::epoll_create1(0);
        let mut ev = libc::epoll_event {
            events: (libc::EPOLLOUT | libc::EPOLLET) as u32,
            u64: 0,
        };
        assert_eq!(libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, fd, &raw mut ev), 0);
        while h.write(fd, b"after") == Err(libc::EAGAIN) {
            let n = libc::epoll_wait(ep, &raw mut ev, 1, 20_000);
            assert_eq!(n, 1, "no edge came");
        }
        libc::close(ep);
    }
    h.wait(1);
    reader.join().unwrap();
}

#[test]
fn a_stuck_reader_costs_bounded_memory_and_stalls_nobody() {
    let Full { w, h, fd, .. } = &Full::new(Policy::Coalesce);
    for _ in 0..1000 {
        assert_eq!(h.write(*fd, &[0; 1000]), Err(libc::EAGAIN));
    }
    assert!(w.count(Counter::ResidueBytes) <= 64 * 1024);
    let (other, mut peer) = w.pair(None);
    for _ in 0..50 {
        h.more(other, b"served").unwrap();
        h.wait(1);
        expect(&mut peer, b"served");
    }
}

#[test]
fn close_delivers_what_was_promised() {
    let Full {
        h,
        fd,
        mut peer,
        sent,
        drain,
        ..
    } = Full::new(Policy::Coalesce);
    h.close(fd);
    // SAFETY: the number is free at once.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, -1);
    drain.stop(None);
    expect(&mut peer, &sent);
    expect_end(&mut peer);
}

#[test]
fn shutdown_goes_behind_the_bytes() {
    let Full {
        h,
        fd,
        mut peer,
        sent,
        drain,
        ..
    } = Full::new(Policy::Coalesce);
    assert_eq!(h.shutdown(fd, libc::SHUT_WR), Ok(0));
    assert_eq!(h.send(fd, b"x"), Err(libc::EPIPE));
    drain.stop(None);
    expect(&mut peer, &sent);
    expect_end(&mut peer);
}

#[test]
fn an_end_keeps_its_place_behind_custody() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    h.more(fd, b"last words").unwrap();
    assert_eq!(h.shutdown(fd, libc::SHUT_WR), Ok(0));
    expect(&mut peer, b"last words");
    expect_end(&mut peer);
    // What the kernel refuses is not promised, however likely it would be.
    assert_eq!(h.more(fd, b"late"), Err(libc::EPIPE));
    assert!(w.count(Counter::Deferred) >= 1);
    let (fd, mut peer) = w.pair(None);
    h.more(fd, b"bye").unwrap();
    h.close(fd);
    expect(&mut peer, b"bye");
    expect_end(&mut peer);
}

/// A peer that resets: closing with unread bytes sends RST.
fn reset(h: &Hands, fd: RawFd, peer: TcpStream) {
    h.more(fd, b"unread").unwrap();
    h.wait(1);
    until(|| peer.peek(&mut [0; 1]).is_ok());
    drop(peer);
    until(|| {
        let mut p = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: a local struct.
        unsafe { libc::poll(&raw mut p, 1, 100) };
        p.revents & libc::POLLHUP != 0
    });
}

#[test]
fn a_reset_is_reported_by_the_next_call() {
    let w = world(Policy::Coalesce);
    let (h, fd, peer) = w.stream();
    reset(&h, fd, peer);
    assert_eq!(h.more(fd, b"lost"), Ok(4));
    h.wait(1);
    assert_eq!(w.count(Counter::AsyncErrors), 1);
    let e = h.get_option(fd, libc::SOL_SOCKET, libc::SO_ERROR);
    assert_eq!(e, libc::ECONNRESET);
    assert_eq!(h.get_option(fd, libc::SOL_SOCKET, libc::SO_ERROR), 0);
    assert_eq!(h.send(fd, b"x"), Err(libc::EPIPE));

    let (fd, peer) = w.pair(None);
    reset(&h, fd, peer);
    h.more(fd, b"lost").unwrap();
    h.wait(1);
    assert_eq!(h.send(fd, b"x"), Err(libc::ECONNRESET));
    assert_eq!(h.send(fd, b"x"), Err(libc::EPIPE));

    let (fd, peer) = w.pair(None);
    reset(&h, fd, peer);
    h.more(fd, b"lost").unwrap();
    h.wait(1);
    assert_eq!(h.read(fd, &mut [0; 8]), Err(libc::ECONNRESET));
    assert_eq!(h.read(fd, &mut [0; 8]), Ok(0));
}

#[test]
fn a_reset_ends_a_residue() {
    let Full {
        w,
        h,
        fd,
        peer,
        drain,
        ..
    } = Full::new(Policy::Coalesce);
    drain.stop(None);
    drop(peer);
    until(|| h.send(fd, b"x") != Err(libc::EAGAIN));
    let e = h.send(fd, b"x");
    assert!(e == Err(libc::ECONNRESET) || e == Err(libc::EPIPE), "{e:?}");
    assert!(!w.engine.in_custody(fd));
}

#[test]
fn duplicated_descriptors_keep_the_order() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    h.more(fd, b"1").unwrap();
    let other = h.dup(fd);
    h.send(other, b"2").unwrap();
    h.more(fd, b"3").unwrap();
    h.send(other, b"4").unwrap();
    h.close(fd);
    h.send(other, b"5").unwrap();
    h.close(other);
    expect(&mut peer, b"12345");
    expect_end(&mut peer);
    assert!(w.count(Counter::Deferred) >= 1);
}

#[test]
fn a_duplicate_waits_behind_a_residue() {
    let Full {
        h,
        fd,
        mut peer,
        sent,
        drain,
        ..
    } = Full::new(Policy::Coalesce);
    let other = h.dup(fd);
    assert_eq!(h.send(other, b"x"), Err(libc::EAGAIN));
    h.close(fd);
    assert_eq!(h.send(other, b"x"), Err(libc::EAGAIN));
    drain.stop(None);
    expect(&mut peer, &sent);
    until(|| h.send(other, b"tail") == Ok(4));
    expect(&mut peer, b"tail");
}

#[test]
fn two_threads_on_one_stream_keep_the_programs_order() {
    let w = world(Policy::Coalesce);
    let (fd, mut peer) = w.pair(None);
    let turn = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let hands: Vec<_> = (0..2u32)
        .map(|me| {
            let (engine, turn) = (w.engine, turn.clone());
            let h = w.hands();
            let h = Hands { engine, seg: h.seg };
            std::thread::spawn(move || {
                use std::sync::atomic::Ordering::*;
                for i in (me..2000).step_by(2) {
                    while turn.load(Acquire) != i {
                        std::thread::yield_now();
                    }
                    h.more(fd, &i.to_le_bytes()).unwrap();
                    turn.store(i + 1, Release);
                }
                h.wait(1);
            })
        })
        .collect();
    hands.into_iter().for_each(|t| t.join().unwrap());
    for i in 0..2000u32 {
        expect(&mut peer, &i.to_le_bytes());
    }
    // One that finds the other's bytes in custody sends at once behind them.
    assert!(w.count(Counter::Deferred) >= 500);
}

#[test]
fn a_close_in_another_thread_sees_the_custody() {
    let w = world(Policy::Coalesce);
    let (a, b) = (w.hands(), w.hands());
    for _ in 0..200 {
        let (fd, mut peer) = w.pair(None);
        a.more(fd, b"from a").unwrap();
        b.close(fd);
        expect(&mut peer, b"from a");
        expect_end(&mut peer);
    }
    assert!(w.count(Counter::Deferred) >= 200);
}

#[test]
fn a_handler_that_computes_does_not_hold_its_bytes() {
    let w = aging(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    for _ in 0..20 {
        h.more(fd, b"now").unwrap();
        // No further call: the sweeper hands it over.
        expect(&mut peer, b"now");
    }
    assert!(w.count(Counter::FlushAge) >= 20);
}

#[test]
fn a_thread_that_ends_leaves_nothing_behind() {
    let w = world(Policy::Coalesce);
    let (fd, mut peer) = w.pair(None);
    let h = w.hands();
    h.more(fd, b"end").unwrap();
    h.engine.leave_thread(h.seg);
    expect(&mut peer, b"end");
    let again = w.hands();
    assert!(std::ptr::eq(again.seg, h.seg));
}

#[test]
fn bytes_the_program_changes_afterwards_are_not_seen() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let mut buf = *b"before";
    h.more(fd, &buf).unwrap();
    buf.copy_from_slice(b"AFTER!");
    h.wait(1);
    expect(&mut peer, b"before");
    assert_eq!(&buf, b"AFTER!");
}

#[test]
fn a_number_that_is_no_stream_any_more_still_gets_its_bytes() {
    let w = world(Policy::Coalesce);
    let (h, fd, _peer) = w.stream();
    let (mut reader, writer) = std::io::pipe().unwrap();
    h.more(fd, b"to the file").unwrap();
    // Behind the engine's back, as a raw system call would.
    // SAFETY: the test's own descriptors.
    unsafe { libc::dup2(writer.as_raw_fd(), fd) };
    h.wait(1);
    let mut got = [0; 11];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"to the file");
}
