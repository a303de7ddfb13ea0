//! A child promises on a stream that it inherited once its parent has closed
//! its copy, if nobody else can have one; and never otherwise. So does a
//! program on a stream that was there before the library looked: if it made it.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::scenario::{Run, Scenario, take};

/// Bytes that were deferred of the last rounds' answers, under ESCA.
fn deferred(name: &'static str, expect: impl Fn(u64) -> bool) {
    deferred_before(name, expect, |_| ());
}

/// The same, where the peer has something to do after them.
fn deferred_before(name: &'static str, expect: impl Fn(u64) -> bool, then: impl Fn(&Run)) {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name).run(|run| {
        let mut stream = run.connect();
        run.when(Flag::Actor);
        let count = || run.stats.map(|s| s.get(Counter::DeferredBytes));
        let before = count();
        run.tell();
        for _ in 0..20 {
            run.go(&mut stream);
            assert_same(name, b"answer", &take(&mut stream, 6));
        }
        if let (Some(before), Some(after)) = (before, count()) {
            let n = after - before;
            assert!(expect(n), "{name}: {n} bytes deferred");
        }
        then(run);
    });
}

#[test]
fn a_stream_that_the_parent_has_closed_is_the_childs() {
    deferred("heir", |n| n >= 60);
}

#[test]
fn one_that_others_may_have_is_not() {
    for name in [
        "heir-kept",
        "heir-two",
        "heir-spawn-before",
        "heir-spawn",
        "heir-dup",
        "heir-exec",
        "heir-passed",
        "heir-thread",
    ] {
        deferred(name, |n| n == 0);
    }
}

#[test]
fn one_that_the_program_made_before_its_first_wait_is_its_own() {
    deferred("early", |n| n >= 60);
}

#[test]
fn one_that_it_duplicated_before_its_first_wait_is_not() {
    deferred_before("early-dup", |n| n == 0, |run| drop(run.connect()));
}
