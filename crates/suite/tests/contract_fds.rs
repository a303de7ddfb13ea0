//! The contract on descriptors: duplicates, numbers, ranges, passing on.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::http::dial;
use esca_suite::scenario::{Scenario, take, to_end};

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name).needs(Counter::Deferred)
}

#[test]
fn duplicates_are_one_stream() {
    scenario("dup").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let (got, end) = to_end(&mut stream);
        assert_same("dup", b"abcdefg", &got);
        run.saw(end);
    });
}

#[test]
fn the_lowest_free_number_is_given_out() {
    scenario("lowest").run(|run| {
        let mut first = run.connect();
        let mut second = dial(run.port(), None);
        run.go(&mut first);
        let (got, end) = to_end(&mut first);
        assert_same("first", b"onetwo", &got);
        run.saw(end);
        let (got, end) = to_end(&mut second);
        assert_same("second", b"threefour", &got);
        run.saw(end);
    });
}

#[test]
fn close_range_delivers_what_was_written() {
    scenario("close-range").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let (got, end) = to_end(&mut stream);
        assert_same("close_range", b"last", &got);
        run.saw(end);
        drop(dial(run.port(), None));
    });
}

#[test]
fn a_passed_descriptor_keeps_the_order() {
    scenario("pass").run(|run| {
        let mut stream = run.connect();
        for _ in 0..5 {
            run.go(&mut stream);
            let got = take(&mut stream, 19);
            assert_same("pass", b"parent child after ", &got);
        }
    });
}
