//! What the judge knows of one connection from the program and the log.

use super::{child_at_large, operation};
use crate::board::{Entry, Kind};
use crate::program::{Op, Opt, Program, THREADS, Way};
use crate::run::Outcome;

/// Bytes of a stream below which neither buffer can ever be full.
const ROOMY: u64 = 48 * 1024;

/// What the judge knows of one connection from the program and the log.
pub(super) struct Facts {
    /// Something may reset the connection before its end.
    pub breaks: bool,
    pub stops: bool,
    pub half_closes: bool,
    pub shut: bool,
    /// What had come before the shutdown for reading is the peer's affair.
    pub deaf: bool,
    /// Nothing of what the peer sent was left unread.
    pub input_taken: bool,
    /// The buffers were never full.
    pub roomy: bool,
    /// A child writes while the parent shuts down.
    pub racing: bool,
}

pub(super) fn facts(program: &Program, run: &Outcome, connection: usize) -> Option<Facts> {
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
    let options = || {
        mine().filter_map(|e| match of(e) {
            Some(Op::Opt { opt, .. }) => Some(*opt),
            _ => None,
        })
    };
    let small = |o: Opt| matches!(o, Opt::Sndbuf(_) | Opt::Lowat(_));
    // Its close is a reset.
    let resets = options().any(|o| o == Opt::Linger(Some(0)));
    Some(Facts {
        breaks: peer.breaks() || resets || abroad || refuses && peer.sends() > 0,
        stops: peer.stops(),
        half_closes: peer.half_closes(),
        shut,
        deaf: ways().any(|w| w != Way::Write),
        input_taken: read as u64 >= peer.sends(),
        roomy: peer.rcvbuf.is_none() && asked <= ROOMY && !options().any(small),
        racing: shut && child_at_large(program),
    })
}
