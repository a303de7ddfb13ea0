//! The contract for waits and reads: no lost event and no lost end, whatever
//! the program waits with; options; what isn't touched.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::http::dial;
use esca_suite::scenario::{Run, Scenario, take, to_end};
use esca_suite::site::noise;
use std::io::Write;
use std::net::{Shutdown, TcpStream};

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name)
}

fn put(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("sent");
}

fn drained(name: &'static str, counter: Counter) {
    scenario(name).needs(counter).run(|run| {
        let mut stream = run.connect();
        for _ in 0..100 {
            put(&mut stream, b"ten bytes.");
            assert_same(name, b"head", &take(&mut stream, 4));
        }
        // The actor leaves its wait by the first; what follows lies ready
        // together at its next.
        put(&mut stream, b"the last message");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        run.tell();
        let (got, _) = to_end(&mut stream);
        assert_same(name, b"last", &got);
    });
}

#[test]
fn drained_level_triggered() {
    drained("drained-lt", Counter::Elided);
}

#[test]
fn drained_edge_triggered() {
    // Whether anything is elided without EPOLLRDHUP is the library's choice.
    drained("drained-et", Counter::Deferred);
}

#[test]
fn drained_edge_triggered_with_rdhup() {
    drained("drained-et-rdhup", Counter::Elided);
}

fn fin_between(name: &'static str) {
    scenario(name).run(|run| {
        let mut stream = run.connect();
        put(&mut stream, b"word");
        run.when(Flag::Actor);
        stream.shutdown(Shutdown::Write).expect("shutdown");
        run.tell();
        run.saw(to_end(&mut stream).1);
    });
}

#[test]
fn an_end_between_two_reads_level_triggered() {
    fin_between("fin-lt");
}

#[test]
fn an_end_between_two_reads_edge_triggered() {
    fin_between("fin-et");
}

#[test]
fn an_end_between_two_reads_with_rdhup() {
    fin_between("fin-et-rdhup");
}

fn more_between(name: &'static str) {
    scenario(name).run(|run| {
        let mut stream = run.connect();
        for round in 1..=50 {
            put(&mut stream, b"word");
            esca_suite::eventually("the first read", || {
                (run.board.get(Flag::Actor) == round).then_some(())
            });
            put(&mut stream, b"more..");
            run.tell();
            assert_same(name, b"head", &take(&mut stream, 4));
        }
    });
}

#[test]
fn more_between_two_reads_level_triggered() {
    more_between("more-lt");
}

#[test]
fn more_between_two_reads_edge_triggered() {
    more_between("more-et");
}

#[test]
fn a_read_filled_to_the_last_byte() {
    scenario("exact").run(|run| {
        let mut stream = run.connect();
        put(&mut stream, b"twenty bytes in all.");
        assert_same("exact", b"done", &take(&mut stream, 4));
    });
}

fn echo(run: &mut Run) {
    let mut stream = dial(run.port(), None);
    let message = noise(1, 40);
    for _ in 0..100 {
        put(&mut stream, &message);
        assert_same("echo", &message, &take(&mut stream, 40));
    }
    stream.shutdown(Shutdown::Write).expect("shutdown");
    run.saw(to_end(&mut stream).1);
}

#[test]
fn a_server_around_poll() {
    scenario("poll").needs(Counter::Deferred).run(echo);
}

#[test]
fn a_server_around_select() {
    scenario("select").needs(Counter::Deferred).run(echo);
}

#[test]
fn servers_around_the_other_waits() {
    for name in ["pselect", "ppoll", "epoll-pwait", "epoll-pwait2"] {
        scenario(name).needs(Counter::Deferred).run(echo);
    }
}

#[test]
fn a_full_buffer_and_poll() {
    scenario("poll-full").needs(Counter::Deferred).run(|run| {
        let mut stream = dial(run.port(), Some(4096));
        run.go(&mut stream);
        let total = run.when(Flag::Other) as usize;
        let (got, _) = to_end(&mut stream);
        assert_same("poll-full", &noise(0, total), &got);
    });
}

#[test]
fn options_are_what_was_set() {
    scenario("options").needs(Counter::Deferred).run(|run| {
        let mut stream = run.connect();
        for _ in 0..10 {
            run.go(&mut stream);
            assert_same("options", b"one two three", &take(&mut stream, 13));
        }
    });
}

#[test]
fn pipes_files_and_unix_sockets_are_not_touched() {
    scenario("others").needs(Counter::Deferred).run(|run| {
        let mut stream = run.connect();
        for _ in 0..5 {
            run.go(&mut stream);
            assert_same("others", b"head", &take(&mut stream, 4));
        }
    });
}

#[test]
fn the_edges_of_read_and_write_are_the_plain_calls() {
    scenario("edges")
        .needs(Counter::RuleSocketCalls)
        .run(|run| {
            let mut stream = run.connect();
            run.when(Flag::Actor);
            run.go(&mut stream);
            assert_same("edges", b"whole", &take(&mut stream, 5));
            run.when(Flag::Other);
            stream.shutdown(Shutdown::Write).expect("shutdown");
            run.saw(to_end(&mut stream).1);
        });
}
