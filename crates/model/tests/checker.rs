//! Proof that the model's checker sees what is wrong, and only that: what was
//! seen of good runs is broken on purpose.
#![allow(missing_docs)]

use esca_model::board::{Entry, Fault, Kind};
use esca_model::check::{Rule, compare, judge, operation};
use esca_model::peer::Ended;
use esca_model::program::{Op, Opt, Program};
use esca_model::run::{Mode, Outcome, Runner};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

fn runner() -> Runner {
    Runner::new(Path::new(env!("CARGO_BIN_EXE_model-actor")))
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

/// What the one thread does with two streams, and whether it is a race that
/// TCP_CORK is asked for: then either answer is right.
const CORKS: &[(&str, bool, &str)] = &[
    (
        "a child sets it meanwhile",
        true,
        r#"{"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}],"wait":false}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "the parent sets it meanwhile",
        true,
        r#"{"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":"IsCorked"}}],"wait":false}}
           {"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}"#,
    ),
    (
        "one child sets it while another asks",
        true,
        r#"{"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}],"wait":false}}
           {"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":"IsCorked"}}],"wait":true}}"#,
    ),
    (
        "two children set it at once",
        true,
        r#"{"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}],"wait":false}}
           {"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":false}}}],"wait":true}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "nobody sets it",
        false,
        r#"{"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "the thread itself set it",
        false,
        r#"{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "a child set it that was waited for",
        false,
        r#"{"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}],"wait":true}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "a child set it that was waited for later",
        false,
        r#"{"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}],"wait":false}}
           {"Fork":{"ops":[],"wait":true}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "a child that comes later sets it",
        false,
        r#"{"Opt":{"s":0,"a":0,"opt":"IsCorked"}}
           {"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}],"wait":false}}"#,
    ),
    (
        "the parent set it before the child began",
        false,
        r#"{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}
           {"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":"IsCorked"}}],"wait":false}}"#,
    ),
    (
        "a child sets it on another stream",
        false,
        r#"{"Fork":{"ops":[{"Opt":{"s":1,"a":0,"opt":{"Cork":true}}}],"wait":false}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "a child sets another option",
        false,
        r#"{"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Nodelay":false}}}],"wait":false}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
    (
        "a child sets what was set before",
        false,
        r#"{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}
           {"Fork":{"ops":[{"Opt":{"s":0,"a":0,"opt":{"Cork":true}}}],"wait":false}}
           {"Opt":{"s":0,"a":0,"opt":"IsCorked"}}"#,
    ),
];

#[test]
fn the_checker_tells_a_race_for_an_option_from_a_wrong_answer() {
    let stream = r#"{"owner":{"Thread":0},"waits":"Level","accept4":true,"peers":[{"rcvbuf":null,"steps":[]}]}"#;
    let head = r#"{"seed":5,"streams":[],"rounds":[],"end":"Return","leave_input":false}"#;
    for (what, race, ops) in CORKS {
        let text = format!("{head}\n{stream}\n{stream}\nround\nthread\n{ops}\n");
        let program = Program::from_text(&text).unwrap_or_else(|e| panic!("{what}: {e}"));
        let plain = runner().run(&program, Mode::Plain).expect("a run");
        let asks = |e: &Entry| {
            let op = operation(&program, e.step);
            let asks = Opt::IsCorked;
            e.kind == Kind::Step && matches!(op, Some(Op::Opt { opt, .. }) if *opt == asks)
        };
        let mut other = plain.clone();
        let answer = &mut nth(&mut other, 0, asks).result;
        assert!(matches!(answer, 0 | 1), "{what}: {answer}");
        *answer = 1 - *answer;
        let found: Vec<_> = compare(&program, &plain, &other)
            .iter()
            .map(|v| v.rule)
            .collect();
        let due: &[Rule] = if *race { &[] } else { &[Rule::Result] };
        assert_eq!(found, due, "{what}");
    }
}
