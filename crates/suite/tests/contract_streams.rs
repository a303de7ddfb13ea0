//! The contract on one stream: order, back-pressure, errors, shutdown, close.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::http::dial;
use esca_suite::scenario::{Run, STREAM_BYTES, STREAMS, Scenario, take, to_end};
use esca_suite::site::noise;
use rustix::net::sockopt::set_socket_linger;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A receive buffer that is full soon.
const TINY: Option<usize> = Some(4096);

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name)
}

fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("SO_LINGER");
}

/// What is in custody is bounded, whatever the peer does.
fn bounded(run: &Run) {
    if let Some(stats) = run.stats {
        let peak = stats.get(Counter::PeakBytes);
        assert!(peak < 8 << 20, "{peak} bytes in custody");
    }
}

#[test]
fn pieces_by_every_call_arrive_in_order() {
    scenario("pieces").needs(Counter::Deferred).run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let got = take(&mut stream, 200_000);
        assert_same("pieces", &noise(0, 200_000), &got);
    });
}

fn full_buffer(name: &'static str) {
    scenario(name).fills().run(|run| {
        let mut stream = run.connect_with(TINY);
        run.go(&mut stream);
        // Nothing is read before the actor has met EAGAIN.
        run.when(Flag::Accepted);
        bounded(run);
        let (got, end) = to_end(&mut stream);
        let total = run.when(Flag::Other) as usize;
        assert_same(name, &noise(0, total), &got);
        run.saw(end);
    });
}

#[test]
fn full_buffer_then_the_rest_in_order() {
    full_buffer("short");
}

#[test]
fn full_buffer_then_the_rest_edge_triggered() {
    full_buffer("short-et");
}

#[test]
fn accepted_bytes_drain_while_the_program_waits_for_input() {
    scenario("residue").fills().run(|run| {
        let mut stream = run.connect_with(TINY);
        run.go(&mut stream);
        let accepted = run.when(Flag::Accepted) as usize;
        let got = take(&mut stream, accepted);
        assert_same("residue", &noise(0, accepted), &got);
        stream.write_all(b"d").expect("the last word");
    });
}

#[test]
fn the_librarys_own_closes_are_not_the_programs() {
    scenario("own-close").fills().run(|run| {
        let closes = |run: &Run| run.stats.map_or(0, |s| s.get(Counter::CallClose));
        let mut stream = run.connect_with(TINY);
        let before = closes(run);
        run.go(&mut stream);
        let accepted = run.when(Flag::Accepted) as usize;
        assert_same(
            "own-close",
            &noise(0, accepted),
            &take(&mut stream, accepted),
        );
        run.when(Flag::Actor);
        // The sweeper closes with a lock held: a close of its own that took
        // the program's way was a deadlock with a fork.
        assert_eq!(closes(run), before, "the program has closed nothing");
        run.tell();
    });
}

#[test]
fn a_reader_that_stops_for_good_stalls_nobody_else() {
    scenario("stuck").fills().run(|run| {
        let mut first = run.connect_with(TINY);
        let mut second = run.connect();
        run.go(&mut first);
        run.when(Flag::Accepted);
        for _ in 0..50 {
            run.go(&mut second);
            assert_eq!(take(&mut second, 4), b"head");
        }
        bounded(run);
        reset(first);
        run.when(Flag::Actor);
        run.saw("the second was served");
    });
}

#[test]
fn a_reset_arrives_once() {
    scenario("reset").needs(Counter::AsyncErrors).run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        run.when(Flag::Actor);
        reset(stream);
        run.tell();
    });
}

#[test]
fn sigpipe_comes_and_can_be_declined() {
    scenario("sigpipe").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        run.when(Flag::Actor);
        reset(stream);
        run.tell();
    });
}

#[test]
fn close_delivers_what_was_written() {
    scenario("close").needs(Counter::Deferred).run(|run| {
        for _ in 0..5 {
            let mut stream = run.connect();
            run.go(&mut stream);
            let (got, end) = to_end(&mut stream);
            assert_same("close", b"last", &got);
            run.saw(end);
        }
    });
}

#[test]
fn close_delivers_more_than_the_kernel_takes_at_once() {
    scenario("close-full").fills().run(|run| {
        let mut stream = run.connect_with(TINY);
        run.go(&mut stream);
        let accepted = run.when(Flag::Accepted) as usize;
        let (got, end) = to_end(&mut stream);
        assert_same("close-full", &noise(0, accepted), &got);
        run.saw(end);
        drop(dial(run.port(), None));
    });
}

#[test]
fn shutdown_follows_what_was_written() {
    scenario("shutdown").needs(Counter::Deferred).run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let (got, end) = to_end(&mut stream);
        assert_same("shutdown", b"last", &got);
        run.saw(end);
        stream.write_all(b"bye").expect("the peer's last word");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0);
    });
}

#[test]
fn shutdown_follows_a_full_buffer() {
    scenario("shutdown-full")
        .needs(Counter::Deferred)
        .run(|run| {
            let mut stream = run.connect_with(TINY);
            run.go(&mut stream);
            let accepted = run.when(Flag::Accepted) as usize;
            let (got, end) = to_end(&mut stream);
            assert_same("shutdown-full", &noise(0, accepted), &got);
            run.saw(end);
            stream.write_all(b"bye").expect("the peer's last word");
        });
}

fn interleaved(name: &'static str) {
    scenario(name).needs(Counter::Deferred).run(|run| {
        let mut streams: Vec<_> = (0..STREAMS).map(|_| run.connect()).collect();
        run.go(&mut streams[0]);
        let readers = streams
            .into_iter()
            .map(|mut stream| std::thread::spawn(move || to_end(&mut stream)));
        let readers: Vec<_> = readers.collect();
        for (i, reader) in readers.into_iter().enumerate() {
            let (got, end) = reader.join().expect("a reader");
            let want = noise(100 + i as u64, STREAM_BYTES);
            assert_same(&format!("{name}, stream {i}"), &want, &got);
            run.saw(end);
        }
    });
}

#[test]
fn several_streams_in_turns() {
    interleaved("interleaved");
}

#[test]
fn several_streams_in_turns_larger_pieces() {
    interleaved("interleaved-larger");
}
