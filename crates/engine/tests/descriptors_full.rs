//! A program that has used up its descriptors. One test, in a process of its
//! own: the limit is the process's.
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
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::{FromRawFd, OwnedFd};

const SOFT: u64 = 512;

fn limit(soft: u64, hard: Option<u64>) {
    let (current, maximum) = (Some(soft), hard);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
}

/// Takes numbers until there are only `spare`.
fn fill(spare: usize) -> Vec<OwnedFd> {
    let mut all = Vec::new();
    loop {
        // SAFETY: a number.
        match unsafe { libc::dup(0) } {
            -1 => break,
            // SAFETY: just made, and nobody else's.
            fd => all.push(unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }
    all.truncate(all.len() - spare);
    all
}

#[test]
fn a_full_table_stops_nobody_and_loses_nothing() {
    let was = getrlimit(Resource::Nofile);
    let hard = was.maximum;

    // The soft limit may be raised: a residue finds a number above it.
    limit(SOFT, hard);
    // A listener, a connection and the epoll set and eventfd of the sweeper.
    let filler = fill(5);
    let Full {
        h,
        fd,
        mut peer,
        sent,
        drain,
        w,
    } = Full::new(Policy::Coalesce);
    assert_eq!(getrlimit(Resource::Nofile).current, Some(SOFT));
    assert_eq!(h.write(fd, b"no"), Err(libc::EAGAIN));
    drain.stop(None);
    expect(&mut peer, &sent);
    until(|| !w.engine.in_custody(fd));
    h.close(fd);
    drop((filler, peer));

    // It may not: nothing is promised while numbers are short.
    limit(SOFT, Some(SOFT));
    let w = world(Policy::Coalesce);
    let h = w.hands();
    let filler = fill(10);
    let (fd, mut peer) = w.pair(None);
    let mut round = || {
        assert_eq!(h.more(fd, b"head"), Ok(4));
        assert_eq!(h.write(fd, b"tail"), Ok(4));
        h.wait(1);
        expect(&mut peer, b"headtail");
    };
    round();
    assert_eq!(w.count(Counter::Deferred), 0);
    drop(filler);
    let mut rounds = 0;
    while w.count(Counter::Deferred) == 0 {
        round();
        rounds += 1;
        assert!(rounds < 2000, "it never promised again");
    }
    // Needs the right to, which the tests of a container's root have.
    let _ = setrlimit(Resource::Nofile, was);
}
