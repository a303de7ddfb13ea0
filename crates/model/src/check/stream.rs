//! One connection's bytes, as its peer got them, against the log.

use super::facts::Facts;
use super::{Rule, Violation, child_at_large, operation, ops, step};
use crate::board::{Entry, Kind};
use crate::bytes;
use crate::peer::{Ended, Seen};
use crate::program::{How, Op, Opt, Program, WRITERS};
use crate::run::Outcome;

/// One connection's bytes against the log.
pub(super) fn stream(
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
            }
        )
    };
    let apart = [
        How::File,
        How::FileHere,
        How::ShortFile,
        How::Splice,
        How::Sendmmsg,
    ];
    !apart.contains(&how) && !ops(program).any(blocks) && !child_at_large(program)
}
