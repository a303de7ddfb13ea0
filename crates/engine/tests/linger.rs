//! Streams with SO_LINGER are deferred like others; how they close is the
//! option's to say (socket(7)).
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
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::RawFd;

fn linger(h: &Hands, fd: RawFd, seconds: i32) {
    let v = libc::linger {
        l_onoff: 1,
        l_linger: seconds,
    };
    assert_eq!(h.socket_option(fd, libc::SO_LINGER, &v), Ok(0));
}

fn is_reset(peer: &mut TcpStream) {
    let mut all = Vec::new();
    let end = peer.read_to_end(&mut all).expect_err("a reset");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_lingering_stream_is_deferred() {
    let w = world(Policy::Coalesce);
    let (h, fd, mut peer) = w.stream();
    linger(&h, fd, 1);
    h.more(fd, b"one ").unwrap();
    h.write(fd, b"two").unwrap();
    h.close(fd);
    expect(&mut peer, b"one two");
    expect_end(&mut peer);
    assert_eq!(w.count(Counter::Deferred), 2);
}

#[test]
fn custody_of_others_does_not_wait_for_a_lingering_close() {
    let w = world(Policy::Batch);
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    linger(&h, b, 1);
    h.wait(2);
    h.more(a, b"a").unwrap();
    h.more(b, b"b").unwrap();
    w.engine.close(h.seg, b);
    // Before the plain close, which may wait.
    expect(&mut pa, b"a");
    expect(&mut pb, b"b");
}

#[test]
fn without_time_a_close_resets_and_drops_the_rest() {
    let Full {
        w, h, fd, mut peer, ..
    } = Full::new(Policy::Coalesce);
    linger(&h, fd, 0);
    h.close(fd);
    is_reset(&mut peer);
    until(|| !w.engine.has_residues());
}

#[test]
fn without_time_a_shared_stream_is_delivered_first() {
    let Full {
        h,
        fd,
        mut peer,
        sent,
        drain,
        ..
    } = Full::new(Policy::Coalesce);
    let other = h.dup(fd);
    linger(&h, fd, 0);
    h.close(fd);
    drain.stop(None);
    expect(&mut peer, &sent);
    h.close(other);
    is_reset(&mut peer);
}

#[test]
fn with_time_a_close_waits_for_the_reader() {
    let Full {
        w,
        h,
        fd,
        mut peer,
        sent,
        drain,
    } = Full::new(Policy::Coalesce);
    linger(&h, fd, 60);
    let reader = std::thread::spawn(move || {
        expect(&mut peer, &sent);
        expect_end(&mut peer);
    });
    drain.stop(None);
    h.close(fd);
    until(|| !w.engine.has_residues());
    reader.join().unwrap();
}

#[test]
fn when_the_time_is_over_the_rest_follows() {
    let Full {
        w,
        h,
        fd,
        mut peer,
        sent,
        drain,
    } = Full::new(Policy::Coalesce);
    linger(&h, fd, 1);
    h.close(fd);
    assert!(w.engine.has_residues());
    drain.stop(None);
    expect(&mut peer, &sent);
    expect_end(&mut peer);
}
