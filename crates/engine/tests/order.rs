//! The order of sends between streams in policy coalesce, as a backend sees
//! it: the answers of a round leave back to back, never before an earlier one.
#![allow(missing_docs)]
mod common;

use common::*;
use esca_abi::stats::Counter;
use esca_engine::Engine;
use esca_engine::backend::{Backend, Direct, Op};
use esca_engine::settings::{Policy, RuleSet};
use std::sync::{Arc, Mutex};

/// Carries out and notes the descriptor of each operation.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<i32>>>);

impl Backend for Witness {
    unsafe fn run(&self, ops: &mut [Op]) -> u32 {
        self.0.lock().unwrap().extend(ops.iter().map(|o| o.fd));
        // SAFETY: the caller's promise.
        unsafe { Direct.run(ops) }
    }
}

impl Witness {
    fn world(&self) -> World {
        let (me, drain) = (Box::new(self.clone()), Box::new(Direct));
        world_on(Policy::Coalesce, RuleSet::all(), |e: Engine| {
            e.without_age().with_backends(me, drain)
        })
    }

    fn take(&self) -> Vec<i32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn answers_of_a_round_leave_together_in_their_order() {
    let seen = Witness::default();
    let w = seen.world();
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    h.wait(2);
    h.more(b, b"b1 ").unwrap();
    h.write(b, b"b2").unwrap();
    h.more(a, b"a1 ").unwrap();
    h.write(a, b"a2").unwrap();
    assert_eq!(seen.take(), [], "the round goes on");
    h.wait(2);
    assert_eq!(seen.take(), [b, a]);
    expect(&mut pa, b"a1 a2");
    expect(&mut pb, b"b1 b2");
    assert_eq!(w.count(Counter::Merged), 2);
}

#[test]
fn a_lone_answer_is_not_held() {
    let seen = Witness::default();
    let w = seen.world();
    let (h, a, mut pa) = w.stream();
    h.wait(1);
    h.more(a, b"1 ").unwrap();
    h.write(a, b"2").unwrap();
    assert_eq!(seen.take(), [a]);
    expect(&mut pa, b"1 2");
}

#[test]
fn a_second_train_does_not_overtake() {
    let seen = Witness::default();
    let w = seen.world();
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    h.wait(2);
    h.more(a, b"a1").unwrap();
    h.more(b, b"b1").unwrap();
    // Joining a1 would put it before b1.
    h.more(a, b"a2").unwrap();
    assert_eq!(seen.take(), [a, b]);
    h.wait(2);
    assert_eq!(seen.take(), [a]);
    expect(&mut pa, b"a1a2");
    expect(&mut pb, b"b1");
}

#[test]
fn what_goes_straight_through_goes_behind() {
    let seen = Witness::default();
    let w = seen.world();
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    let big = pattern(40_000, 3);
    h.wait(2);
    h.more(a, b"a").unwrap();
    // Nothing says that more follows: a plain call.
    assert_eq!(h.write(b, b"b"), Ok(1));
    assert_eq!(seen.take(), [a]);
    expect(&mut pa, b"a");
    expect(&mut pb, b"b");
    // Too large to copy: gathered with its own head, behind the other stream.
    h.more(a, b"a").unwrap();
    h.more(b, b"head ").unwrap();
    let reader = std::thread::spawn(move || {
        expect(&mut pb, b"head ");
        expect(&mut pb, &pattern(40_000, 3));
        pb
    });
    assert_eq!(h.write(b, &big), Ok(big.len()));
    assert_eq!(seen.take(), [a, b]);
    reader.join().unwrap();
    expect(&mut pa, b"a");
}

#[test]
fn a_closed_stream_takes_the_earlier_ones_along() {
    let seen = Witness::default();
    let w = seen.world();
    let (h, (a, mut pa), (b, mut pb)) = w.two_streams();
    h.wait(2);
    h.more(a, b"a").unwrap();
    h.more(b, b"b").unwrap();
    h.close(b);
    assert_eq!(seen.take(), [a, b]);
    expect(&mut pa, b"a");
    expect(&mut pb, b"b");
    expect_end(&mut pb);
}

/// The kernel holds back what it is asked to, and nothing before that.
#[test]
fn nothing_before_a_cork_or_more_is_held_back() {
    for policy in [Policy::Coalesce, Policy::Batch] {
        let w = world(policy);
        let (h, fd, mut peer) = w.stream();
        h.learn(fd, &mut peer);
        assert_eq!(h.write(fd, b"sent"), Ok(4));
        assert_eq!(h.more(fd, b"held"), Ok(4));
        h.wait(1);
        expect(&mut peer, b"sent");
        expect_nothing(&peer);
        assert_eq!(h.tcp_option(fd, libc::TCP_NODELAY, 1), Ok(0));
        expect(&mut peer, b"held");

        assert_eq!(h.write(fd, b"sent"), Ok(4));
        assert_eq!(h.tcp_option(fd, libc::TCP_CORK, 1), Ok(0));
        assert_eq!(h.write(fd, b"held"), Ok(4));
        h.wait(1);
        expect(&mut peer, b"sent");
        expect_nothing(&peer);
        // On again, and under the cork: it pushes (tcp(7)).
        assert_eq!(h.tcp_option(fd, libc::TCP_NODELAY, 1), Ok(0));
        expect(&mut peer, b"held");
        assert_eq!(h.write(fd, b"more"), Ok(4));
        h.wait(1);
        expect_nothing(&peer);
        assert_eq!(h.tcp_option(fd, libc::TCP_CORK, 0), Ok(0));
        expect(&mut peer, b"more");
    }
}
