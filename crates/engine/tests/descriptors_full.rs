//! A program that has used up its descriptors. One test, in a process of its
//! own: the limit is the process's.
#![allow(missing_docs)]
mod common;
#[path = "common/full.rs"]
mod full;
#[path = "common/plan.rs"]
mod plan;

use common::*;
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
    limit(SOFT, was.maximum);
    // A listener and a connection: the library needs no number.
    let filler = fill(3);
    let Full {
        h,
        fd,
        mut peer,
        sent,
        drain,
        w,
    } = Full::new(Policy::Coalesce);
    let more = fill(0);
    assert_eq!(h.write(fd, b"no"), Err(libc::EAGAIN));
    // The end of the stream follows the bytes although no number is free.
    h.close(fd);
    drain.stop(None);
    expect(&mut peer, &sent);
    expect_end(&mut peer);
    until(|| !w.engine.has_residues());
    drop((filler, more, peer));

    // Needs the right to, which the tests of a container's root have.
    let _ = setrlimit(Resource::Nofile, was);
}
