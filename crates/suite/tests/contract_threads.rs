//! The contract for threads, signal handlers and long computations.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::http::dial;
use esca_suite::scenario::{Scenario, take, to_end};
use esca_suite::site::noise;

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name).needs(Counter::Deferred)
}

#[test]
fn two_threads_in_a_mutexs_order() {
    scenario("mutex").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let want: String = (0..4000).map(|n| format!("{n:07}\n")).collect();
        let got = take(&mut stream, want.len());
        assert_same("mutex", want.as_bytes(), &got);
    });
}

#[test]
fn a_stream_handed_to_another_thread_and_back() {
    scenario("hand-over").run(|run| {
        let mut stream = run.connect();
        for _ in 1..200 {
            run.go(&mut stream);
            assert_same("hand-over", b"12345", &take(&mut stream, 5));
        }
        run.go(&mut stream);
        let (got, end) = to_end(&mut stream);
        assert_same("hand-over", b"1234", &got);
        run.saw(end);
        drop(dial(run.port(), None));
    });
}

#[test]
fn nothing_is_promised_behind_the_back_of_a_send_under_way() {
    scenario("late").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let deferred = || run.stats.map(|s| s.get(Counter::Deferred));
        run.when(Flag::Actor);
        let before = deferred();
        run.tell();
        run.until(Flag::Actor, 2);
        assert_eq!(deferred(), before, "the kernel alone knows what has room");
        let (got, end) = to_end(&mut stream);
        assert_eq!(got.len() as u64, run.when(Flag::Accepted));
        run.saw(end);
    });
}

#[test]
fn a_signal_handler_writes_while_the_library_is_at_work() {
    scenario("handler").run(|run| {
        let (mut first, mut second) = (run.connect(), run.connect());
        run.go(&mut first);
        let reader = std::thread::spawn(move || to_end(&mut second).0);
        let (got, _) = to_end(&mut first);
        let records = reader.join().expect("the second stream");
        let accepted = run.when(Flag::Accepted) as usize;
        let all = noise(0, 1 << 20);
        let want = (0..accepted).step_by(7);
        let want: Vec<u8> = want
            .flat_map(|at| &all[at % (1 << 19)..][..7])
            .copied()
            .collect();
        assert_same("the loop's stream", &want, &got);
        let of = |mark: &[u8]| records.chunks(10).filter(|r| *r == mark).count();
        assert_eq!(of(b"the loop.\n"), 3000);
        assert_eq!(of(b"a handler\n") as u64, run.when(Flag::Other));
        assert_eq!(
            records.len(),
            10 * (of(b"the loop.\n") + of(b"a handler\n"))
        );
    });
}

#[test]
fn the_peer_has_the_bytes_before_a_computation_ends() {
    scenario("compute").run(|run| {
        let mut stream = run.connect();
        for _ in 0..5 {
            run.go(&mut stream);
            assert_same("compute", b"answer", &take(&mut stream, 6));
            run.tell();
        }
    });
}

#[test]
fn the_peer_has_the_bytes_while_other_threads_wait() {
    scenario("compute-other").run(|run| {
        let mut stream = run.connect();
        for _ in 0..5 {
            run.go(&mut stream);
            assert_same("compute", b"answer", &take(&mut stream, 6));
            run.tell();
        }
    });
}
