//! The differential model in the test suite: programs from a fixed seed, the
//! programs that once failed, and proof that the checker sees what is wrong.
#![allow(missing_docs)]

use esca_model::board::{Entry, Fault, Kind};
use esca_model::check::{Rule, compare, judge};
use esca_model::hunt::{Catch, Plan, Tally, Until, examine, hunt};
use esca_model::peer::Ended;
use esca_model::program::Program;
use esca_model::run::{Mode, Outcome, Runner};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
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
    assert!(esca(&tally.short), "no flush was short: {tally:?}");
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

/// A stream of one thread, and one that two threads write to.
const ALONE: &str = r#"
{"seed":7,"streams":[],"rounds":[],"end":"Exit","leave_input":false}
{"owner":{"Thread":0},"waits":"Level","accept4":true,"peers":[{"rcvbuf":null,"steps":[{"Send":300}]}]}
round
thread
{"Write":{"s":0,"a":0,"n":500,"how":"Write"}}
{"WriteAll":{"s":0,"a":0,"n":700,"how":"Writev"}}
{"Input":{"s":0,"n":100,"take":"Read"}}
round
thread
{"Write":{"s":0,"a":0,"n":900,"how":"Send"}}
"#;
const SHARED: &str = r#"
{"seed":8,"streams":[],"rounds":[],"end":"Return","leave_input":false}
{"owner":"Shared","waits":"Poll","accept4":true,"peers":[{"rcvbuf":null,"steps":[]}]}
round
thread
{"Write":{"s":0,"a":0,"n":500,"how":"Write"}}
thread
{"Write":{"s":0,"a":0,"n":500,"how":"Write"}}
"#;

/// A fault put into what was seen of a run, and the rule that must name it.
type Spoilt = (&'static str, Rule, fn(&mut Outcome));

fn bytes(o: &mut Outcome) -> &mut Vec<u8> {
    &mut o.peers[0].as_mut().expect("the peer").bytes
}

fn nth(o: &mut Outcome, n: usize, holds: impl Fn(&Entry) -> bool) -> &mut Entry {
    let found = o.entries.iter_mut().filter(|e| holds(e)).nth(n);
    found.expect("such an entry")
}

/// The call that wrote `n` bytes.
fn wrote(n: u32) -> impl Fn(&Entry) -> bool {
    move |e| e.kind == Kind::Wrote && e.asked == n
}

fn came(n: u32) -> impl Fn(&Entry) -> bool {
    move |e| e.kind == Kind::Step && e.asked == n
}

/// Two neighbours that differ change places.
fn swap(o: &mut Outcome) {
    let all = bytes(o);
    let at = (600..).find(|&k| all[k] != all[k + 1]).expect("two bytes");
    all.swap(at, at + 1);
}

const SPOILT: &[Spoilt] = &[
    ("the last byte is lost", Rule::Complete, |o| {
        bytes(o).pop();
    }),
    ("all bytes are lost", Rule::Complete, |o| bytes(o).clear()),
    ("a byte is lost", Rule::Image, |o| {
        bytes(o).remove(800);
    }),
    ("a call's bytes are lost", Rule::Image, |o| {
        bytes(o).drain(100..600);
    }),
    ("two bytes change places", Rule::Image, swap),
    ("a byte comes twice", Rule::Image, |o| {
        let last = *bytes(o).last().expect("a byte");
        bytes(o).push(last);
    }),
    ("a byte is another", Rule::Image, |o| bytes(o)[900] ^= 1),
    ("the stream is reset", Rule::Ending, |o| {
        o.peers[0].as_mut().expect("the peer").ended = Ended::Reset;
    }),
    ("the stream never ends", Rule::Ending, |o| {
        o.peers[0].as_mut().expect("the peer").ended = Ended::Never;
    }),
    ("a write says EPIPE", Rule::Cause, |o| {
        nth(o, 0, wrote(900)).result = -i64::from(libc::EPIPE);
    }),
    ("a write says ENOTCONN", Rule::Cause, |o| {
        nth(o, 0, wrote(500)).result = -i64::from(libc::ENOTCONN);
    }),
    ("a read says that the peer is gone", Rule::Cause, |o| {
        nth(o, 0, |e| e.kind == Kind::Read).result = 0;
    }),
    ("a read says ECONNRESET", Rule::Cause, |o| {
        nth(o, 0, |e| e.kind == Kind::Read).result = -i64::from(libc::ECONNRESET);
    }),
    ("a write counts less than it sent", Rule::Image, |o| {
        nth(o, 0, wrote(500)).result -= 1;
    }),
    ("a write counts more than it sent", Rule::Complete, |o| {
        nth(o, 0, wrote(900)).result += 1;
    }),
    ("a step comes to something else", Rule::Result, |o| {
        nth(o, 0, came(500)).result -= 1;
    }),
    ("a step says EAGAIN", Rule::Result, |o| {
        nth(o, 0, came(900)).result = -i64::from(libc::EAGAIN);
    }),
    ("a step is missing", Rule::Result, |o| {
        let at = o.entries.iter().position(came(700)).expect("the step");
        o.entries.remove(at);
    }),
    ("not all is written", Rule::Finished, |o| {
        nth(o, 0, came(700)).result = 10;
    }),
    ("an earlier write comes later", Rule::Order, |o| {
        nth(o, 0, wrote(500)).epoch = 9;
    }),
    ("the actor found a fault", Rule::Actor, |o| {
        let end = *o.entries.last().expect("an entry");
        o.entries.push(Entry {
            kind: Kind::Fault,
            result: Fault::Lost as i64,
            ..end
        });
    }),
    ("another exit status", Rule::Exit, |o| {
        o.status = ExitStatus::from_raw(0);
    }),
    ("a signal", Rule::Exit, |o| {
        o.status = ExitStatus::from_raw(libc::SIGSEGV);
    }),
    ("a hang", Rule::Exit, |o| o.hung = Some(String::new())),
];

#[test]
fn the_checker_sees_what_is_wrong() {
    let program = Program::from_text(ALONE).expect("a program");
    let plain = runner().run(&program, Mode::Plain).expect("a run");
    let rules = |o: &Outcome| -> Vec<Rule> {
        let all = judge(&program, o).into_iter();
        let all = all.chain(compare(&program, &plain, o));
        all.map(|v| v.rule).collect()
    };
    assert_eq!(rules(&plain), []);
    for (what, rule, spoil) in SPOILT {
        let mut spoilt = plain.clone();
        spoil(&mut spoilt);
        let found = rules(&spoilt);
        assert!(
            found.contains(rule),
            "{what}: {found:?} instead of {rule:?}"
        );
    }
}

#[test]
fn the_checker_sees_a_call_that_comes_apart() {
    let program = Program::from_text(SHARED).expect("a program");
    let mut seen = runner().run(&program, Mode::Plain).expect("a run");
    assert!(judge(&program, &seen).is_empty());
    // The second thread's bytes in the middle of the first's.
    let all = bytes(&mut seen);
    let (mut first, second): (Vec<u8>, Vec<u8>) = all.iter().partition(|b| **b >> 6 == 0);
    let end = first.split_off(200);
    *all = [first, second, end].concat();
    let found: Vec<_> = judge(&program, &seen).iter().map(|v| v.rule).collect();
    assert_eq!(found, [Rule::Whole]);
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
