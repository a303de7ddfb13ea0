//! Policy watch: what it counts is what policy coalesce does to the same
//! calls, and the calls themselves go straight through.

mod common;

use common::{World, expect, file, world};
use esca_abi::stats::Counter::{self, *};
use esca_engine::settings::Policy;
use libc::{EAGAIN, TCP_CORK, TCP_NODELAY};
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};

/// What both policies must count alike.
const ALIKE: &[Counter] = &[
    Deferred,
    Merged,
    Elided,
    Direct,
    RuleMerge,
    RuleFileHead,
    RuleSmallFile,
    RuleCork,
    RuleNodelay,
    RuleDrained,
    Answered,
    Saved,
];

/// Waits until bytes are there.
fn readable(fd: RawFd) {
    let mut p = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one local entry.
    assert_eq!(unsafe { libc::poll(&raw mut p, 1, 20_000) }, 1);
}

/// Rounds like nginx's: a request, the read that says EAGAIN, options, header
/// and file or a second write; small files and large ones, corked and not.
fn rounds(w: &World) {
    let page = vec![b'x'; 40_000];
    let f = file(&page);
    let (fd, mut peer) = w.pair(None);
    let h = w.hands();
    for round in 0..40 {
        peer.write_all(b"GET /").unwrap();
        h.wait(1);
        readable(fd);
        let mut room = [0; 64];
        assert_eq!(h.read(fd, &mut room), Ok(5));
        assert_eq!(h.read(fd, &mut room), Err(EAGAIN));
        h.tcp_option(fd, TCP_NODELAY, 1).unwrap();
        let corked = round % 2 == 1;
        if corked {
            h.tcp_option(fd, TCP_CORK, 1).unwrap();
        }
        h.write(fd, b"header").unwrap();
        let size = match round % 8 {
            0 | 1 => 40_000,
            2 | 3 => h.write(fd, &page[..1000]).unwrap(),
            _ => 1000,
        };
        if !matches!(round % 8, 2 | 3) {
            let sent = h.sendfile(fd, f.as_raw_fd(), Some(&mut 0), size);
            assert_eq!(sent, Ok(size));
        }
        if corked {
            h.tcp_option(fd, TCP_CORK, 0).unwrap();
        }
        h.wait(1);
        expect(&mut peer, &[b"header", &page[..size]].concat());
    }
}

#[test]
fn counts_what_coalesce_does() {
    let (real, watch) = (world(Policy::Coalesce), world(Policy::Watch));
    rounds(&real);
    rounds(&watch);
    for c in ALIKE {
        assert_eq!(watch.count(*c), real.count(*c), "{c:?}");
        assert!(watch.count(*c) > 0, "{c:?}: the rounds have none");
    }
    assert_eq!(watch.count(Answered), 40);
}

#[test]
fn every_call_goes_to_the_kernel() {
    let w = world(Policy::Watch);
    let (fd, mut peer) = w.pair(None);
    let h = w.hands();
    for _ in 0..8 {
        h.wait(1);
        h.write(fd, b"one ").unwrap();
        // There already: nothing waits for the next call.
        expect(&mut peer, b"one ");
        h.write(fd, b"two ").unwrap();
        expect(&mut peer, b"two ");
    }
    assert_eq!(w.count(Made), 16 + 8);
    // The predictor believes the third train.
    assert_eq!(w.count(Merged), 6);
    // Rounds with something in them that had ended by then.
    assert_eq!(w.count(FlushWait), 7);
}
