//! The contract on process life: fork, spawn, exec, and every way to end.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::board::Flag;
use esca_suite::scenario::{Scenario, take, to_end};
use esca_suite::site::noise;

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_actor"), name).needs(Counter::Deferred)
}

#[test]
fn parent_and_child_write_in_turn() {
    scenario("fork").run(|run| {
        let mut stream = run.connect();
        for _ in 0..6 {
            run.go(&mut stream);
            let want = b"head child tail ";
            assert_same("fork", want, &take(&mut stream, want.len()));
        }
    });
}

#[test]
fn parent_and_child_write_at_once() {
    scenario("fork-both").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let got = take(&mut stream, 1008);
        assert_same("before", b"head", &got[..4]);
        assert_same("after", b"tail", &got[1004..]);
        let of = |mark| got[4..1004].iter().filter(|&&b| b == mark).count();
        assert_eq!((of(b'c'), of(b'p')), (500, 500));
    });
}

#[test]
fn a_forked_worker_has_its_own_loop() {
    scenario("fork-loop").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        assert_same("worker", b"worker", &take(&mut stream, 6));
    });
}

#[test]
fn a_child_that_closes_its_copy_takes_no_event_from_the_parent() {
    scenario("fork-close").fills().run(|run| {
        let mut stream = run.connect_with(Some(4096));
        run.go(&mut stream);
        let total = run.when(Flag::Other) as usize;
        let got = take(&mut stream, total);
        assert_same("fork-close", &noise(0, total), &got);
    });
}

#[test]
fn a_parent_writes_behind_what_its_child_wrote_to_a_full_buffer() {
    scenario("fork-full").run(|run| {
        let mut stream = run.connect_with(Some(4096));
        run.go(&mut stream);
        run.when(Flag::Actor);
        let accepted = run.when(Flag::Accepted) as usize;
        let mut want = b"head".to_vec();
        want.extend(noise(0, accepted));
        want.extend(b"tail");
        assert_same("fork-full", &want, &take(&mut stream, want.len()));
        // A residue of the child's would be one that the parent knows nothing
        // of. Its writes are thousands, what the parent wrote are a few.
        let deferred = run.stats.map_or(0, |s| s.get(Counter::Deferred));
        assert!(deferred < 100, "the child promised: {deferred}");
    });
}

#[test]
fn a_spawned_program_writes_in_turn() {
    scenario("spawn").run(|run| {
        let mut stream = run.connect();
        for _ in 0..3 {
            run.go(&mut stream);
            let want = b"before\nspawned\nafter\n";
            assert_same("spawn", want, &take(&mut stream, want.len()));
        }
    });
}

#[test]
fn exec_takes_nothing_along() {
    scenario("exec").run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let (got, end) = to_end(&mut stream);
        assert_same("exec", b"one two", &got);
        run.saw(end);
    });
}

fn last_words(scenario: Scenario) {
    scenario.run(|run| {
        let mut stream = run.connect();
        run.go(&mut stream);
        let (got, end) = to_end(&mut stream);
        assert_same("the end", b"last words", &got);
        run.saw(end);
    });
}

#[test]
fn returning_from_main() {
    last_words(scenario("return"));
}

#[test]
fn exit() {
    last_words(scenario("exit").exits(7));
}

#[test]
fn exit_without_handlers() {
    last_words(scenario("exit-now").exits(7));
}

#[test]
fn quick_exit() {
    last_words(scenario("exit-quickly").exits(7));
}

#[test]
fn abort() {
    last_words(scenario("abort").dies(libc::SIGABRT));
}

#[test]
fn a_signal_to_oneself() {
    last_words(scenario("kill-self").dies(libc::SIGTERM));
}

/// More was accepted than the kernel takes at once, and the program ends.
fn full(scenario: Scenario) {
    scenario.fills().run(|run| {
        let mut stream = run.connect_with(Some(4096));
        run.go(&mut stream);
        let accepted = run.when(Flag::Accepted) as usize;
        let (got, end) = to_end(&mut stream);
        assert_same("all that was accepted", &noise(0, accepted), &got);
        run.saw(end);
    });
}

#[test]
fn exit_with_a_full_buffer() {
    full(scenario("exit-full"));
}

#[test]
fn exit_without_handlers_with_a_full_buffer() {
    full(scenario("exit-now-full"));
}

#[test]
fn close_and_exit_with_a_full_buffer() {
    full(scenario("close-exit-full"));
}

#[test]
fn abort_with_a_full_buffer() {
    full(scenario("abort-full").dies(libc::SIGABRT));
}

#[test]
fn exec_with_a_full_buffer() {
    full(scenario("exec-full"));
}
