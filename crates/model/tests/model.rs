//! The differential model in the test suite: programs from a fixed seed, the
//! programs that once failed, and shrinking. The checker has tests of its own.
#![allow(missing_docs)]

use esca_model::hunt::{Catch, Plan, Tally, Until, examine, hunt};
use esca_model::program::Program;
use esca_model::run::{Mode, Outcome, Runner};
use std::path::Path;
use std::time::Duration;

/// Programs, each run on the plain kernel and under every policy and backend.
const PROGRAMS: u64 = 2400;
/// A program that fails counts if it fails again in so many runs: what one
/// moment of a loaded machine brings is the soak's to find, where every failure
/// counts.
const AGAIN: usize = 30;
/// Programs that may fail without failing again.
const ONCE: usize = 1;
/// How often each program that once failed is run.
const TIMES: usize = 5;

fn runner() -> Runner {
    Runner::new(Path::new(env!("CARGO_BIN_EXE_model-actor")))
}

fn report(catch: &Catch) -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    catch.report(dir).expect("a file for the program")
}

#[test]
fn programs_come_out_as_on_the_plain_kernel() {
    let plan = Plan {
        seed: 0xe5ca,
        jobs: 8,
        until: Until::Programs(PROGRAMS),
        most: 3,
        shrink: Duration::from_secs(40),
        again: AGAIN,
    };
    let (tally, caught) = hunt(runner, &plan).expect("the runs");
    let (again, once): (Vec<_>, Vec<_>) = caught.iter().partition(|c| c.again);
    let show = |all: &[&Catch]| -> String { all.iter().map(|c| report(c)).collect() };
    assert!(again.is_empty(), "{}", show(&again));
    assert!(
        once.len() <= ONCE,
        "failed, and not again:\n{}",
        show(&once)
    );
    if !once.is_empty() {
        println!("failed once, and not again:\n{}", show(&once));
    }
    assert!(tally.programs >= PROGRAMS, "{tally:?}");
    assert!(tally.unjudged * 100 <= tally.runs, "{tally:?}");
    let esca = |of: &[(Mode, u64)]| {
        let mut of = of.iter().filter(|(m, _)| *m != Mode::Plain);
        of.all(|(_, n)| *n > 0)
    };
    assert!(esca(&tally.aggregated), "nothing was aggregated: {tally:?}");
    // A promise has room in the socket's buffer: only another process that
    // fills it in the same moment (a forked child) makes a flush short.
    let sum = |of: &[(Mode, u64)]| of.iter().map(|(_, n)| n).sum::<u64>();
    assert!(
        sum(&tally.short) * 1000 <= sum(&tally.aggregated),
        "flushes were short: {tally:?}"
    );
}

#[test]
fn what_failed_once_stays_right() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let runner = runner();
    let mut done = 0;
    for entry in std::fs::read_dir(dir).expect("the programs") {
        let path = entry.expect("a file").path();
        let name = path.display();
        let text = std::fs::read_to_string(&path).expect("a program");
        let program = Program::from_text(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        for _ in 0..TIMES {
            let failure = examine(&runner, &program, &mut Tally::default()).expect("a run");
            assert!(failure.is_none(), "{name}: {failure:?}");
        }
        done += 1;
    }
    assert!(done > 0, "no program was run");
}

/// A fault that any program with some output shows.
fn loses_its_last_byte(o: &mut Outcome) {
    for seen in o.peers.iter_mut().flatten() {
        if seen.bytes.len() > 300 {
            seen.bytes.pop();
        }
    }
}

#[test]
fn a_failure_is_shrunk_to_a_short_program_and_printed() {
    let plan = Plan {
        seed: 1,
        jobs: 1,
        until: Until::Programs(50),
        most: 1,
        shrink: Duration::from_secs(40),
        again: 0,
    };
    let broken = || {
        let mut runner = runner();
        runner.spoil = Some(loses_its_last_byte);
        runner
    };
    let (_, caught) = hunt(broken, &plan).expect("the runs");
    let [catch] = &caught[..] else {
        panic!("{} failures", caught.len());
    };
    let text = report(catch);
    let ops = catch.program.rounds.iter().flat_map(|r| &r.0).flatten();
    assert!(ops.count() <= 4, "not short:\n{text}");
    assert!(text.contains("Complete: connection"), "{text}");
    assert!(text.contains("replay"), "{text}");
    assert_eq!(
        Program::from_text(&catch.program.to_text()),
        Ok(catch.program.clone())
    );
}
