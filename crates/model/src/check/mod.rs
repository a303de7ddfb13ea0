//! The checker: what must hold of each run (the named rules of [`Rule`]), and
//! what may differ between a run on the plain kernel and one under ESCA
//! (`compare.rs`).

mod compare;
mod facts;
mod races;
mod stream;

pub use compare::compare;

use crate::board::{Entry, FAULTS, Kind};
use crate::program::{End, How, Op, Program};
use crate::run::Outcome;
use facts::{Facts, facts};
use libc::{EAGAIN, ECONNRESET, EINVAL, EPIPE};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use stream::stream;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The actor ends as the program says.
    Exit,
    /// The actor found a fault itself: a lost event, an event of a closed
    /// connection, wrong input, a wrong SIGPIPE, a descriptor too many.
    Actor,
    /// A peer gets what the program was told was accepted: each writer's
    /// bytes in its order, and no other byte.
    Image,
    /// What one writer wrote before another began (a round before, before a
    /// fork, after the child's end) comes first.
    Order,
    /// The bytes of one call are in one piece, whoever else writes; not where
    /// another process does meanwhile (docs/semantics.md, 9).
    Whole,
    /// All that was accepted arrives, unless the peer broke the connection or
    /// the program closed it with input unread.
    Complete,
    /// Such a stream ends in good order.
    Ending,
    /// End of input and errors have a cause in the program.
    Cause,
    /// A program that writes all gets all accepted in the end.
    Finished,
    /// A result that the plain kernel gave differently, and that the contract
    /// does not allow to differ.
    Result,
}

/// A rule that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Where and how.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Exit status where the actor's log was full: the run is not judged.
const TOO_LONG: i32 = 95;

/// Whether the run can be judged.
#[must_use]
pub fn complete(run: &Outcome) -> bool {
    run.status.code() != Some(TOO_LONG)
}

fn ops(program: &Program) -> impl Iterator<Item = &Op> {
    program.rounds.iter().flat_map(|r| r.0.iter().flatten())
}

/// Whether a child may be at work while a thread of its parent is.
fn child_at_large(program: &Program) -> bool {
    let threads = program.threads() > 1;
    ops(program).any(|op| matches!(op, Op::Fork { wait, .. } if threads || !wait))
}

/// The operation that a step of the log stands for.
#[must_use]
pub fn operation(program: &Program, step: u32) -> Option<&Op> {
    let (round, thread) = (step >> 20, step >> 18 & 3);
    let (place, child) = (step >> 8 & 0x3ff, step & 0xff);
    let ops = program.rounds.get(round as usize)?.0.get(thread as usize)?;
    match ops.get((place as usize).checked_sub(1)?)? {
        Op::Fork { ops, .. } if child > 0 => ops.get(child as usize - 1),
        op => Some(op),
    }
}

/// What must hold of any run.
#[must_use]
pub fn judge(program: &Program, run: &Outcome) -> Vec<Violation> {
    let mut found = Vec::new();
    exit(program, run, &mut found);
    for e in run.entries.iter().filter(|e| e.kind == Kind::Fault) {
        let name = FAULTS.iter().find(|f| **f as i64 == e.result);
        let (at, said) = (step(program, e), run.said.trim());
        let what = format!("{name:?} on connection {} in {at} {said}", e.connection);
        found.push(Violation {
            rule: Rule::Actor,
            what,
        });
    }
    for (connection, seen) in run.peers.iter().enumerate() {
        let opened = run.entries.iter().any(|e| {
            usize::from(e.connection) == connection && e.kind == Kind::Step && e.result >= 0
        });
        if let (Some(seen), Some(facts), true) = (seen, facts(program, run, connection), opened) {
            stream(program, run, connection, seen, &facts, &mut found);
            causes(program, run, connection, &facts, &mut found);
        }
    }
    found
}

fn exit(program: &Program, run: &Outcome, found: &mut Vec<Violation>) {
    let status = run.status;
    let holds = run.hung.is_none()
        && match program.end {
            End::Return | End::Exec => status.code() == Some(0),
            End::Exit => status.code() == Some(7),
            End::Quick => status.code() == Some(8),
            End::Abort => status.signal() == Some(libc::SIGABRT),
        };
    if !holds {
        let hung = run.hung.as_ref();
        let hung = hung.map_or(String::new(), |h| format!(", killed because it hung:\n{h}"));
        found.push(Violation {
            rule: Rule::Exit,
            what: format!("{:?} ended: {status}{hung}\n{}", program.end, run.said),
        });
    }
}

/// Ends and errors need a cause.
fn causes(
    program: &Program,
    run: &Outcome,
    connection: usize,
    facts: &Facts,
    found: &mut Vec<Violation>,
) {
    for e in run
        .entries
        .iter()
        .filter(|e| usize::from(e.connection) == connection)
    {
        let error = -e.result as i32;
        let holds = match e.kind {
            Kind::Read if e.result == 0 => facts.half_closes || facts.breaks || facts.shut,
            Kind::Read if e.result < 0 => error == EAGAIN || facts.breaks,
            Kind::Wrote if e.result < 0 => {
                error == EAGAIN
                    || error == EPIPE && facts.shut
                    || facts.breaks && matches!(error, EPIPE | ECONNRESET)
                    || error == EINVAL && from_pipe(program, e)
            }
            _ => true,
        };
        if !holds {
            let what = format!(
                "{} gave {} without a cause",
                step(program, e),
                show(e.result)
            );
            let rule = Rule::Cause;
            found.push(Violation { rule, what });
        }
        let calm = !facts.breaks && !facts.stops && !facts.shut;
        if let (Kind::Step, Some(Op::WriteAll { n, how, .. }), true) =
            (e.kind, operation(program, e.step), calm)
            && e.result != i64::from(*n)
            && !matches!(how, How::PipeFile)
        {
            let what = format!("{} gave {}", step(program, e), show(e.result));
            let rule = Rule::Finished;
            found.push(Violation { rule, what });
        }
    }
}

fn from_pipe(program: &Program, e: &Entry) -> bool {
    matches!(
        operation(program, e.step),
        Some(
            Op::Write {
                how: How::PipeFile,
                ..
            } | Op::WriteAll {
                how: How::PipeFile,
                ..
            }
        )
    )
}

fn step(program: &Program, e: &Entry) -> String {
    let name = operation(program, e.step).map_or("the start or end".into(), |op| format!("{op:?}"));
    format!(
        "step {}.{}.{}.{} ({name}) by {}",
        e.step >> 20,
        e.step >> 18 & 3,
        e.step >> 8 & 0x3ff,
        e.step & 0xff,
        e.writer
    )
}

/// A result in words.
#[must_use]
pub fn show(result: i64) -> String {
    match i32::try_from(-result) {
        Ok(EAGAIN) => "EAGAIN".into(),
        Ok(EPIPE) => "EPIPE".into(),
        Ok(ECONNRESET) => "ECONNRESET".into(),
        Ok(e) if e > 0 => format!("errno {e}"),
        _ => result.to_string(),
    }
}
