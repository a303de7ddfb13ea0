//! The contract for streams that change their ways, and for sendfile.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::scenario::{Scenario, take, to_end};
use esca_suite::site::noise;
use std::io::Write;

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name).needs(Counter::Deferred)
}

#[test]
fn blocking_and_back() {
    const ROUND: usize = (1 << 20) + 1500;
    scenario("blocking").run(|run| {
        let mut stream = run.connect_with(Some(4096));
        let mut got = Vec::new();
        for _ in 0..4 {
            run.go(&mut stream);
            got.extend(take(&mut stream, ROUND));
        }
        assert_same("blocking", &noise(0, 4 * ROUND), &got);
    });
}

#[test]
fn accepted_bytes_drain_during_a_blocking_read() {
    scenario("residue-blocking").fills().run(|run| {
        let mut stream = run.connect_with(Some(4096));
        let mut other = run.connect();
        run.go(&mut stream);
        let accepted = run.when(Flag::Accepted) as usize;
        let got = take(&mut stream, accepted);
        assert_same("residue", &noise(0, accepted), &got);
        other.write_all(b"on").expect("a word");
    });
}

#[test]
fn a_close_that_resets() {
    scenario("linger").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        run.when(Flag::Actor);
        assert_same("linger", b"last", &take(&mut stream, 4));
        run.tell();
        let (got, end) = to_end(&mut stream);
        assert_same("after", b"", &got);
        run.saw(end);
    });
}

#[test]
fn sendfile_from_files_that_change() {
    scenario("files").run(|run| {
        let all = noise(0, 3000);
        let mut stream = run.connect();
        let mut want = Vec::new();
        for part in [900..1000, 0..300, 300..600] {
            want.extend(&all[part]);
        }
        let want = [b"head ", &want[..], b"head ", &all[100..900]].concat();
        for _ in 0..3 {
            run.go(&mut stream);
            assert_same("files", &want, &take(&mut stream, want.len()));
        }
        run.go(&mut stream);
        let want = [b"head ", &all[500..]].concat();
        assert_same("a file that grows", &want, &take(&mut stream, want.len()));
    });
}

#[test]
fn a_stream_that_does_not_linger_is_deferred() {
    scenario("linger-off").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let (got, end) = to_end(&mut stream);
        assert_same("no linger", b"onetwothree", &got);
        run.saw(end);
    });
}
