//! Custody on streams that take everything: merging, order, files, limits.
#![allow(missing_docs)]
mod common;

use common::*;
use esca_abi::stats::Counter;
use esca_engine::settings::{Policy, RuleSet};
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

#[test]
fn neighbouring_writes_leave_at_the_wait() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    h.learn(fd, &mut peer);
    assert_eq!(h.write(fd, b"one "), Ok(4));
    assert_eq!(h.write(fd, b"two"), Ok(3));
    expect_nothing(&peer);
    h.wait(1);
    expect(&mut peer, b"one two");
    assert!(w.count(Counter::Merged) >= 1);
    assert!(w.count(Counter::RuleMerge) >= 1);
}

#[test]
fn a_single_writer_is_left_alone() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    for _ in 0..200 {
        assert_eq!(h.write(fd, b"pong"), Ok(4));
        h.wait(1);
        expect(&mut peer, b"pong");
    }
    assert_eq!(w.count(Counter::Deferred), 0);
}

#[test]
fn the_order_between_streams_stays() {
    let w = world(Policy::Coalesce);
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    h.learn(a, &mut pa);
    h.write(a, b"first").unwrap();
    h.write(b, b"second").unwrap();
    // The stream sent to before went out when the other was sent to.
    expect(&mut pa, b"first");
    h.wait(2);
    expect(&mut pb, b"second");
    assert!(w.count(Counter::FlushStream) >= 1);
}

#[test]
fn batch_keeps_all_streams_until_the_wait() {
    let w = world(Policy::Batch);
    let h = w.hands();
    let mut peers: Vec<_> = (0..4).map(|_| w.pair(None)).collect();
    h.wait(4);
    for (i, (fd, _)) in peers.iter().enumerate() {
        assert_eq!(h.write(*fd, &[i as u8; 5]), Ok(5));
    }
    for (i, (fd, _)) in peers.iter().enumerate() {
        assert_eq!(h.write(*fd, &[i as u8 + 100; 3]), Ok(3));
    }
    peers.iter().for_each(|(_, p)| expect_nothing(p));
    h.wait(4);
    for (i, (_, p)) in peers.iter_mut().enumerate() {
        expect(p, &[i as u8; 5]);
        expect(p, &[i as u8 + 100; 3]);
    }
    assert_eq!(w.count(Counter::Deferred), 8);
    assert_eq!(w.count(Counter::Merged), 4);
    assert_eq!(w.count(Counter::FlushWait), 1);
}

#[test]
fn a_stream_that_is_let_go_leaves_no_gap_in_another() {
    let w = world(Policy::Batch);
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    h.wait(2);
    assert_eq!(h.write(a, b"before "), Ok(7));
    assert_eq!(h.write(b, b"between"), Ok(7));
    // What is asked of the kernel about one stream hands that one over.
    h.get_option(b, libc::SOL_SOCKET, libc::SO_SNDBUF);
    expect(&mut pb, b"between");
    expect_nothing(&pa);
    assert_eq!(h.write(a, b"behind"), Ok(6));
    h.wait(2);
    expect(&mut pa, b"before behind");
    expect_nothing(&pa);
    expect_nothing(&pb);
    assert_eq!(w.count(Counter::Deferred), 3);
}

#[test]
fn answers_that_need_more_room_than_there_is_stay_whole() {
    for policy in [Policy::Coalesce, Policy::Batch] {
        let w = world(policy);
        let h = w.hands();
        let mut peers: Vec<_> = (0..40).map(|_| w.pair(None)).collect();
        let body = pattern(10 * 1024, 3);
        let file = file(&body);
        h.wait(200);
        for (i, (fd, _)) in peers.iter().enumerate() {
            assert_eq!(h.more(*fd, &[i as u8; 200]), Ok(200));
            let sent = h.sendfile(*fd, file.as_raw_fd(), Some(&mut 0), body.len());
            assert_eq!(sent, Ok(body.len()));
        }
        h.wait(200);
        for (i, (_, p)) in peers.iter_mut().enumerate() {
            expect(p, &[i as u8; 200]);
            expect(p, &body);
            expect_nothing(p);
        }
        assert_eq!(w.count(Counter::Merged), 40, "{policy:?}");
        assert_eq!(w.count(Counter::RuleFileHead), 0, "{policy:?}");
    }
}

#[test]
fn batch_does_not_let_the_first_answer_wait_for_the_last() {
    let w = world(Policy::Batch);
    let h = w.hands();
    let mut peers: Vec<_> = (0..12).map(|_| w.pair(None)).collect();
    h.wait(12);
    for (fd, _) in &peers {
        h.write(*fd, b"x").unwrap();
    }
    expect(&mut peers[0].1, b"x");
    expect_nothing(&peers[11].1);
    h.wait(12);
    expect(&mut peers[11].1, b"x");
}

#[test]
fn a_full_arena_is_handed_over() {
    let w = world(Policy::Batch);
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    h.wait(2);
    let big = pattern(16 * 1024, 7);
    let reader = std::thread::spawn(move || {
        for _ in 0..40 {
            expect(&mut pa, &pattern(16 * 1024, 7));
            expect(&mut pb, b"b");
        }
    });
    for _ in 0..40 {
        assert_eq!(h.write(a, &big), Ok(big.len()));
        assert_eq!(h.write(b, b"b"), Ok(1));
        // Nothing promised may be lost when the reader is slow.
        until(|| {
            h.wait(2);
            w.table.total(Counter::ResidueBytes) == 0 || !w.engine.in_custody(a)
        });
    }
    h.wait(2);
    reader.join().unwrap();
    assert!(w.count(Counter::Deferred) >= 40);
}

#[test]
fn header_and_small_file_are_one_send() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let body = pattern(1024, 1);
    let f = file(&body);
    h.learn(fd, &mut peer);
    let mut at = 24;
    assert_eq!(h.write(fd, b"header "), Ok(7));
    assert_eq!(h.sendfile(fd, f.as_raw_fd(), Some(&mut at), 900), Ok(900));
    assert_eq!(at, 924);
    // The file may be closed, or its number reused, before the flush.
    drop(f);
    // Nothing is known to follow a file: the train leaves with it.
    assert_eq!(w.count(Counter::FlushDone), 1);
    expect(&mut peer, b"header ");
    expect(&mut peer, &body[24..924]);
    assert_eq!(w.count(Counter::RuleSmallFile), 1);
}

#[test]
fn a_null_offset_moves_the_file_and_the_end_is_short() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let body = pattern(1000, 2);
    let f = file(&body);
    h.learn(fd, &mut peer);
    h.write(fd, b"h").unwrap();
    assert_eq!(h.sendfile(fd, f.as_raw_fd(), None, 600), Ok(600));
    assert_eq!(h.sendfile(fd, f.as_raw_fd(), None, 600), Ok(400));
    assert_eq!(h.sendfile(fd, f.as_raw_fd(), None, 600), Ok(0));
    h.wait(1);
    expect(&mut peer, b"h");
    expect(&mut peer, &body);
    assert!(w.count(Counter::RuleSmallFile) >= 1);
}

#[test]
fn a_large_file_follows_its_header() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let body = pattern(60_000, 3);
    let f = file(&body);
    h.learn(fd, &mut peer);
    let mut at = 0;
    h.write(fd, b"header").unwrap();
    let n = h
        .sendfile(fd, f.as_raw_fd(), Some(&mut at), body.len())
        .unwrap();
    assert_eq!(at, n as i64);
    expect(&mut peer, b"header");
    expect(&mut peer, &body[..n]);
    assert_eq!(w.count(Counter::RuleFileHead), 1);
}

#[test]
fn a_file_that_cannot_be_sent_pushes_the_header() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    h.learn(fd, &mut peer);
    h.write(fd, b"header").unwrap();
    let empty = file(b"");
    assert_eq!(h.sendfile(fd, empty.as_raw_fd(), None, 100_000), Ok(0));
    expect(&mut peer, b"header");
    let bad = h.sendfile(fd, -1, None, 10);
    assert_eq!(bad, Err(libc::EBADF));
}

#[test]
fn a_large_write_takes_custody_along() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let body = pattern(40_000, 4);
    h.learn(fd, &mut peer);
    h.write(fd, b"header").unwrap();
    let n = h.write(fd, &body).unwrap();
    expect(&mut peer, b"header");
    expect(&mut peer, &body[..n]);
    assert!(w.count(Counter::FlushCall) >= 1);
}

#[test]
fn rules_can_be_switched_off() {
    let w = world_with(Policy::Coalesce, RuleSet::parse("-merge").unwrap());
    let (h, fd, mut peer) = w.stream();
    for _ in 0..20 {
        h.write(fd, b"a").unwrap();
        h.write(fd, b"b").unwrap();
        h.wait(1);
        expect(&mut peer, b"ab");
    }
    assert_eq!(w.count(Counter::RuleMerge), 0);
    assert_eq!(w.count(Counter::Merged), 0);
}

#[test]
fn off_is_off() {
    let w = world(Policy::Off);
    let (h, fd, mut peer) = w.stream();
    h.learn(fd, &mut peer);
    h.more(fd, b"x").unwrap();
    h.write(fd, b"y").unwrap();
    h.wait(1);
    expect(&mut peer, b"xy");
    assert_eq!(w.count(Counter::Deferred), 0);
}

#[test]
fn corking_is_a_mark_while_custody_does_it() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let cork = |v| h.tcp_option(fd, libc::TCP_CORK, v);
    assert_eq!(cork(1), Ok(0));
    assert_eq!(kernel_option(fd, libc::IPPROTO_TCP, libc::TCP_CORK), 0);
    assert_eq!(h.get_option(fd, libc::IPPROTO_TCP, libc::TCP_CORK), 1);
    h.write(fd, b"a").unwrap();
    h.write(fd, b"b").unwrap();
    assert_eq!(cork(0), Ok(0));
    assert_eq!(h.get_option(fd, libc::IPPROTO_TCP, libc::TCP_CORK), 0);
    h.wait(1);
    expect(&mut peer, b"ab");
    assert_eq!(w.count(Counter::RuleCork), 2);
    // A cork that stands over a wait holds back, and the uncork pushes.
    cork(1).unwrap();
    h.write(fd, b"held").unwrap();
    h.wait(1);
    cork(0).unwrap();
    expect(&mut peer, b"held");
    // What is shared is told to the kernel.
    cork(1).unwrap();
    let other = h.dup(fd);
    assert_eq!(kernel_option(other, libc::IPPROTO_TCP, libc::TCP_CORK), 1);
}

#[test]
fn repeated_nodelay_is_not_said_again() {
    let w = world(Policy::Coalesce);
    let (h, fd, _peer) = w.stream();
    for _ in 0..3 {
        assert_eq!(h.tcp_option(fd, libc::TCP_NODELAY, 1), Ok(0));
    }
    assert_eq!(w.count(Counter::RuleNodelay), 2);
    assert_eq!(h.tcp_option(fd, libc::TCP_NODELAY, 0), Ok(0));
    assert_eq!(kernel_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY), 0);
    assert_eq!(h.tcp_option(fd, libc::TCP_NODELAY, 1), Ok(0));
    assert_eq!(kernel_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
}

/// A segment begins with a request that is shorter than the room for it.
fn short_read(h: &Hands, fd: RawFd, peer: &mut TcpStream, room: &mut [u8]) {
    h.wait(1);
    peer.write_all(b"request").unwrap();
    until(|| h.read(fd, room) == Ok(7));
}

#[test]
fn a_drained_read_is_not_made_once() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let mut room = [0; 64];
    short_read(&h, fd, &mut peer, &mut room);
    // More arrives; the one EAGAIN is as if it had come a moment later.
    peer.write_all(b"next").unwrap();
    assert_eq!(h.read(fd, &mut room), Err(libc::EAGAIN));
    assert_eq!(w.count(Counter::RuleDrained), 1);
    until(|| h.read(fd, &mut room) == Ok(4));
    h.wait(1);
    assert_eq!(h.read(fd, &mut room), Err(libc::EAGAIN));
    assert_eq!(w.count(Counter::RuleDrained), 1);
    drop(peer);
    until(|| h.read(fd, &mut room) == Ok(0));
    assert_eq!(h.read(fd, &mut room), Ok(0));
}

#[test]
fn what_fionread_saw_can_be_read() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let mut room = [0; 64];
    short_read(&h, fd, &mut peer, &mut room);
    peer.write_all(b"next").unwrap();
    until(|| {
        let mut n = 0;
        w.engine.looks_at_input(fd);
        // SAFETY: a local int.
        assert_eq!(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut n) }, 0);
        n == 4
    });
    assert_eq!(h.read(fd, &mut room), Ok(4));
    assert_eq!(w.count(Counter::RuleDrained), 0);
}

#[test]
fn a_blocking_socket_never_says_eagain() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    let mut room = [0; 64];
    short_read(&h, fd, &mut peer, &mut room);
    // The short read is remembered, but the program makes the socket block.
    // SAFETY: the test's own descriptor.
    unsafe { libc::fcntl(fd, libc::F_SETFL, 0) };
    h.engine.nonblocking(h.seg, fd, false);
    peer.write_all(b"next").unwrap();
    assert_eq!(h.read(fd, &mut room), Ok(4));
    assert_eq!(w.count(Counter::RuleDrained), 0);
}

#[test]
fn explicit_segments_give_each_result() {
    let w = world(Policy::Coalesce);
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    assert!(h.engine.begin(h.seg, 4));
    assert!(!h.engine.begin(h.seg, 4));
    h.write(a, b"abc").unwrap();
    h.write(b, b"de").unwrap();
    h.write(a, b"f").unwrap();
    expect_nothing(&pa);
    assert_eq!(h.engine.end(h.seg), Some(3));
    assert_eq!(h.engine.end(h.seg), None);
    let mut got = Vec::new();
    h.engine.results(h.seg, |_, r| got.push((r.fd, r.result)));
    assert_eq!(got, [(a, 3), (b, 2), (a, 1)]);
    expect(&mut pa, b"abcf");
    expect(&mut pb, b"de");
}
