//! A child promises on a stream that it inherited once its parent has closed
//! its copy, if nobody else can have one; and never otherwise.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::scenario::{Scenario, take};

/// Bytes that the child deferred of what it sent, under ESCA.
fn deferred_by_the_child(name: &'static str, expect: impl Fn(u64) -> bool) {
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
            assert!(expect(n), "{name}: {n} bytes deferred by the child");
        }
    });
}

#[test]
fn a_stream_that_the_parent_has_closed_is_the_childs() {
    deferred_by_the_child("heir", |n| n >= 60);
}

#[test]
fn one_that_others_may_have_is_not() {
    for name in [
        "heir-kept",
        "heir-two",
        "heir-spawn-before",
        "heir-spawn",
        "heir-dup",
        "heir-passed",
        "heir-thread",
    ] {
        deferred_by_the_child(name, |n| n == 0);
    }
}
