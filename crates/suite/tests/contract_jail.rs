//! A program that has its system calls filtered, by filters that kill: the
//! library steps aside before, and loses nothing.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::scenario::{Run, Scenario, take, to_end};
use esca_suite::site::noise;
use std::net::{Shutdown, TcpStream};

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name).needs(Counter::Deferred)
}

/// The actor's rounds in jail.
fn served(run: &mut Run, stream: &mut TcpStream) {
    for _ in 0..8 {
        run.go(stream);
        assert_same("in jail", b"in jail ", &take(stream, 8));
    }
    stream.shutdown(Shutdown::Write).expect("shutdown");
}

fn jail(name: &'static str) {
    scenario(name).run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        assert_same("before", b"before ", &take(&mut stream, 7));
        served(run, &mut stream);
    });
}

#[test]
fn bytes_in_custody_leave_before_the_filter() {
    jail("jail");
}

#[test]
fn also_where_it_is_set_by_number() {
    jail("jail-by-number");
}

#[test]
fn asking_for_filters_changes_nothing() {
    scenario("jail-asked").run(|run| drop(run.connect()));
}

#[test]
fn what_a_slow_reader_left_is_delivered_before() {
    scenario("jail-full").run(|run| {
        let mut stream = run.connect_with(Some(4096));
        run.go(&mut stream);
        let total = run.when(Flag::Accepted) as usize;
        let got = take(&mut stream, total);
        assert_same("all that was accepted", &noise(0, total), &got);
        run.when(Flag::Actor);
        stream.shutdown(Shutdown::Write).expect("shutdown");
        let (rest, end) = to_end(&mut stream);
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
        run.saw(end);
    });
}

#[test]
fn a_child_that_has_no_sweeper() {
    scenario("jail-child").run(|run| {
        let mut stream = run.connect();
        served(run, &mut stream);
    });
}

#[test]
fn a_process_that_never_waited() {
    scenario("jail-before-any-wait").run(|run| {
        let mut stream = run.connect();
        served(run, &mut stream);
        drop(run.connect());
    });
}
