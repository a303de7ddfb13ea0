//! The checker: what must hold of each run, and what may differ between a run
//! on the plain kernel and one under ESCA. What the contract allows stands
//! here as the named rules of [`Rule`] and in [`allowed`].

use crate::board::{Entry, FAULTS, Kind};
use crate::bytes;
use crate::peer::{Ended, Seen};
use crate::program::{End, How, Op, Opt, Program, THREADS, WRITERS, Way};
use crate::run::Outcome;
use libc::{EAGAIN, ECONNRESET, EINVAL, ENOTCONN, EPIPE};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;

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

/// Bytes of a stream below which neither buffer can ever be full.
const ROOMY: u64 = 48 * 1024;

/// Whether the run can be judged.
#[must_use]
pub fn complete(run: &Outcome) -> bool {
    run.status.code() != Some(TOO_LONG)
}

/// What the judge knows of one connection from the program and the log.
struct Facts {
    /// Something may reset the connection before its end.
    breaks: bool,
    stops: bool,
    half_closes: bool,
    shut: bool,
    /// Nothing of what the peer sent was left unread.
    input_taken: bool,
    /// The buffers were never full.
    roomy: bool,
    /// A child writes while the parent shuts down.
    racing: bool,
}

fn facts(program: &Program, run: &Outcome, connection: usize) -> Option<Facts> {
    let peer = program.peer(connection)?;
    let mine = || {
        run.entries
            .iter()
            .filter(|e| usize::from(e.connection) == connection)
    };
    let of = |e: &Entry| operation(program, e.step);
    let ways = || {
        mine().filter_map(|e| match of(e) {
            Some(Op::Shutdown { way, .. }) => Some(*way),
            _ => None,
        })
    };
    let shut = ways().next().is_some();
    // What another process does to the stream is seen by the next call of the
    // kernel's: a write that was deferred has its error told later.
    let abroad = mine()
        .any(|e| usize::from(e.writer) >= THREADS && matches!(of(e), Some(Op::Shutdown { .. })));
    // Input that comes for a socket that was shut down in both directions is
    // answered by a reset.
    let refuses = ways().any(|w| w != Way::Write) && ways().any(|w| w != Way::Read);
    let read: i64 = mine()
        .filter(|e| e.kind == Kind::Read && e.asked > 0)
        .map(|e| e.result.max(0))
        .sum();
    let asked: u64 = mine()
        .filter(|e| e.kind == Kind::Wrote)
        .map(|e| u64::from(e.asked))
        .sum();
    let small = |e: &Entry| {
        matches!(
            of(e),
            Some(Op::Opt {
                opt: Opt::Sndbuf(_),
                ..
            })
        )
    };
    let leaves = |op: &Op| matches!(op, Op::Fork { wait: false, .. });
    Some(Facts {
        breaks: peer.breaks() || abroad || refuses && peer.sends() > 0,
        stops: peer.stops(),
        half_closes: peer.half_closes(),
        shut,
        input_taken: read as u64 >= peer.sends(),
        roomy: peer.rcvbuf.is_none() && asked <= ROOMY && !mine().any(small),
        racing: shut && ops(program).any(leaves),
    })
}

fn ops(program: &Program) -> impl Iterator<Item = &Op> {
    program.rounds.iter().flat_map(|r| r.0.iter().flatten())
}

/// The operation that a step of the log stands for.
fn operation(program: &Program, step: u32) -> Option<&Op> {
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
    let holds = !run.killed
        && match program.end {
            End::Return | End::Exec => status.code() == Some(0),
            End::Exit => status.code() == Some(7),
            End::Quick => status.code() == Some(8),
            End::Abort => status.signal() == Some(libc::SIGABRT),
        };
    if !holds {
        let killed = if run.killed { ", killed: it hung" } else { "" };
        found.push(Violation {
            rule: Rule::Exit,
            what: format!("{:?} ended: {status}{killed}\n{}", program.end, run.said),
        });
    }
}

/// One connection's bytes against the log.
fn stream(
    program: &Program,
    run: &Outcome,
    connection: usize,
    seen: &Seen,
    facts: &Facts,
    found: &mut Vec<Violation>,
) {
    let mut fail = |rule, what: String| {
        let what = format!("connection {connection}: {what}");
        found.push(Violation { rule, what });
    };
    let mut writes = vec![Vec::new(); WRITERS];
    let mut accepted = [0_u64; WRITERS];
    for e in &run.entries {
        if e.kind == Kind::Wrote && usize::from(e.connection) == connection && e.result > 0 {
            let writer = usize::from(e.writer);
            writes[writer].push((accepted[writer], e));
            accepted[writer] += e.result as u64;
        }
    }
    let due: Vec<_> = (0..WRITERS)
        .map(|w| bytes::make(program.seed, connection, w, 0, accepted[w] as usize))
        .collect();
    let mut at = [0; WRITERS];
    let mut nth = [0; WRITERS];
    let (mut epoch, mut last) = (0, None);
    for (place, &byte) in seen.bytes.iter().enumerate() {
        let w = bytes::writer(byte);
        if due[w].get(at[w]) != Some(&byte) {
            let where_ = find(&due[w], &seen.bytes[place..]);
            fail(
                Rule::Image,
                format!(
                    "byte {place} is not byte {} of the {} that writer {w} had accepted{where_}",
                    at[w],
                    due[w].len()
                ),
            );
            return;
        }
        while let Some((_, next)) = writes[w]
            .get(nth[w] + 1)
            .filter(|(s, _)| *s <= at[w] as u64)
        {
            let _: &&Entry = next;
            nth[w] += 1;
        }
        let (start, entry) = &writes[w][nth[w]];
        if entry.epoch < epoch {
            fail(
                Rule::Order,
                format!("byte {place}, of {}, comes too late", step(program, entry)),
            );
            return;
        }
        epoch = entry.epoch;
        let inside = at[w] as u64 > *start;
        if inside && last != Some(w) && one_piece(program, entry) {
            fail(
                Rule::Whole,
                format!("byte {place}, of {}, comes apart", step(program, entry)),
            );
            return;
        }
        last = Some(w);
        at[w] += 1;
    }
    if facts.breaks || facts.racing || !facts.input_taken {
        return;
    }
    for w in 0..WRITERS {
        if at[w] < due[w].len() {
            fail(
                Rule::Complete,
                format!(
                    "{} of the {} bytes of writer {w} came; {:?}",
                    at[w],
                    due[w].len(),
                    seen.ended
                ),
            );
        }
    }
    if seen.ended != Ended::Eof {
        fail(Rule::Ending, format!("the stream ended: {:?}", seen.ended));
    }
}

/// Where bytes that came at a wrong place belong.
fn find(due: &[u8], came: &[u8]) -> String {
    let some = &came[..came.len().min(16)];
    match due.windows(some.len().max(1)).position(|w| w == some) {
        Some(place) => format!("; it may be byte {place}"),
        None => String::new(),
    }
}

/// Whether a call hands its bytes to the kernel at once (tcp_sendmsg holds
/// the socket; a blocking one gives it up while it waits).
fn one_piece(program: &Program, e: &Entry) -> bool {
    let how = match operation(program, e.step) {
        Some(Op::Write { how, .. } | Op::WriteAll { how, .. }) => *how,
        _ => return false,
    };
    let blocks = |op: &Op| {
        matches!(
            op,
            Op::Opt {
                opt: Opt::Nonblock(_) | Opt::Fionbio(_),
                ..
            } | Op::Fork { wait: false, .. }
        )
    };
    let apart = [
        How::File,
        How::FileHere,
        How::ShortFile,
        How::Splice,
        How::Sendmmsg,
    ];
    !apart.contains(&how) && !ops(program).any(blocks)
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

/// What each step came to must be the same in both runs, but for what
/// [`allowed`] says. Only for programs of one thread: with more, the kernel
/// itself gives other answers each time.
#[must_use]
pub fn compare(program: &Program, plain: &Outcome, esca: &Outcome) -> Vec<Violation> {
    let mut found = Vec::new();
    if program.threads() > 1 {
        return found;
    }
    let by_step = |run: &Outcome| {
        let mut steps = BTreeMap::<_, Vec<Entry>>::new();
        for e in run.entries.iter().filter(|e| e.kind == Kind::Step) {
            steps.entry((e.step, e.writer)).or_default().push(*e);
        }
        steps
    };
    let (mut ours, theirs) = (by_step(esca), by_step(plain));
    for (key, theirs) in theirs {
        let ours = ours.remove(&key).unwrap_or_default();
        let pairs = theirs.iter().zip(&ours);
        let differ = pairs.clone().find(|(p, e)| !allowed(program, plain, p, e));
        if let Some((p, e)) = differ {
            found.push(Violation {
                rule: Rule::Result,
                what: format!(
                    "{}: {} on the plain kernel, {} under ESCA",
                    step(program, p),
                    show(p.result),
                    show(e.result)
                ),
            });
        } else if theirs.len() != ours.len() {
            found.push(Violation {
                rule: Rule::Result,
                what: format!("{}: other steps under ESCA", step(program, &theirs[0])),
            });
        }
    }
    found
}

/// Whether ESCA may give `ours` where the plain kernel gave `plain`.
fn allowed(program: &Program, run: &Outcome, plain: &Entry, ours: &Entry) -> bool {
    if plain.result == ours.result {
        return plain.connection == ours.connection;
    }
    let Some(facts) = facts(program, run, plain.connection.into()) else {
        return false;
    };
    // A peer that breaks the connection does so at another moment each time,
    // and an error of a deferred write is told later.
    let torn = facts.breaks || facts.racing;
    let of = |e: &Entry, errors: &[i32]| e.result >= 0 || errors.contains(&(-e.result as i32));
    let both = |errors: &[i32]| of(plain, errors) && of(ours, errors);
    match operation(program, plain.step) {
        Some(Op::Write { .. } | Op::WriteAll { .. } | Op::Input { .. }) if torn => {
            both(&[EAGAIN, EPIPE, ECONNRESET, EINVAL])
        }
        // Where the buffers are never full, every count is the full one.
        Some(Op::Write { .. } | Op::WriteAll { .. }) if facts.roomy => false,
        // A write of nothing says nothing of the buffers.
        Some(Op::Write { n: 0, .. }) => false,
        // What was taken into custody counts as taken; what is left over is
        // said by EAGAIN at a later write. An error waits behind it.
        Some(Op::Write { .. }) => {
            of(ours, &[EAGAIN])
                && (of(plain, &[EAGAIN])
                    || matches!(-plain.result as i32, EPIPE | EINVAL)
                        && ours.result == -i64::from(EAGAIN))
        }
        // Given up at the first EAGAIN.
        Some(Op::WriteAll { .. }) => facts.stops && both(&[EPIPE]),
        // How much has come by now is the peer's affair.
        Some(Op::Read { .. } | Op::ReadAll { .. }) => {
            torn && both(&[EAGAIN, ECONNRESET, EPIPE]) || both(&[EAGAIN])
        }
        // After the end of both directions the connection is gone, at a
        // moment that the peer has a part in.
        Some(Op::Shutdown { .. }) => (torn || facts.shut) && both(&[ENOTCONN]),
        Some(Op::Opt {
            opt: Opt::Error, ..
        }) => torn,
        Some(Op::Opt { .. }) => torn && both(&[EINVAL]),
        _ => false,
    }
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
