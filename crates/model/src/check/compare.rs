//! What may differ between a run on the plain kernel and one under ESCA.

use super::facts::facts;
use super::races;
use super::{Rule, Violation, operation, show, step};
use crate::board::{Entry, Kind};
use crate::program::{How, Op, Opt, Program};
use crate::run::Outcome;
use libc::{EAGAIN, ECONNRESET, EINVAL, ENOTCONN, EPIPE};
use std::collections::BTreeMap;

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
        Some(Op::Input { .. }) => facts.deaf && both(&[]),
        // Where the buffers are never full, every count is the full one.
        Some(Op::Write { .. } | Op::WriteAll { .. }) if facts.roomy => false,
        // A write of nothing says nothing of the buffers; that a file holds
        // nothing is seen behind what is left over.
        Some(Op::Write { n: 0, how, .. }) if *how != How::ShortFile => false,
        // What was taken into custody counts as taken; what is left over is
        // said by EAGAIN at a later write. An error waits behind it.
        Some(Op::Write { .. }) => {
            of(ours, &[EAGAIN])
                && (of(plain, &[EAGAIN])
                    || matches!(-plain.result as i32, EPIPE | EINVAL)
                        && ours.result == -i64::from(EAGAIN))
                // Of a stream that is shut, sendfile does not look at the file.
                || facts.shut
                    && ours.result == -i64::from(EPIPE)
                    && matches!(-plain.result as i32, 0 | EINVAL)
        }
        // Given up at the first EAGAIN; an error waits behind what is left.
        Some(Op::WriteAll { .. }) => facts.stops && both(&[EPIPE, EINVAL]),
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
        Some(Op::Opt {
            opt: Opt::IsCorked, ..
        }) if races::corked(program, run, plain, [plain.result, ours.result]) => true,
        Some(Op::Opt { .. }) => torn && both(&[EINVAL]),
        _ => false,
    }
}
