//! What may be read where processes of a program are at work at once: a child
//! that the parent has not waited for and its parent, or two children.

use super::operation;
use crate::board::{Entry, Kind};
use crate::program::{Op, Opt, Program, THREADS, WRITERS};
use crate::run::Outcome;

/// Whether TCP_CORK may be both `values` where `asked` asks for it: each is
/// what the program began with or what a call set, and no call in between
/// certainly set another. Without a race there is one such value.
pub(super) fn corked(program: &Program, run: &Outcome, asked: &Entry, values: [i64; 2]) -> bool {
    let order = Order::of(program);
    let sets = || {
        run.entries.iter().filter_map(|e| {
            let here = e.kind == Kind::Step && e.connection == asked.connection;
            match operation(program, e.step) {
                Some(Op::Opt {
                    opt: Opt::Cork(on), ..
                }) if here => Some((e, i64::from(*on))),
                _ => None,
            }
        })
    };
    let before = |a: &Entry, b: &Entry| order.before(a, b);
    let gone = |set: &Entry| sets().any(|(s, _)| before(set, s) && before(s, asked));
    let ever = |value| {
        let set = sets().any(|(s, v)| v == value && !before(asked, s) && !gone(s));
        set || value == 0 && !sets().any(|(s, _)| before(s, asked))
    };
    values.into_iter().all(ever)
}

/// When each child of a program of one thread begins, and after which of its
/// parent's steps it is certainly gone.
struct Order(Vec<(u32, u32)>);

impl Order {
    fn of(program: &Program) -> Order {
        let mut lives = Vec::new();
        for (r, round) in program.rounds.iter().enumerate() {
            for (i, op) in round.0.iter().flatten().enumerate() {
                let step = (r as u32) << 20 | (i as u32 + 1) << 8;
                // No more children than there are marks for their bytes.
                if let (Op::Fork { wait, .. }, true) = (op, lives.len() < WRITERS - THREADS) {
                    lives.push((step, u32::MAX));
                    // A parent that waits does so for all of them.
                    let alive = lives.iter_mut().filter(|l| *wait && l.1 == u32::MAX);
                    alive.for_each(|l| l.1 = step);
                }
            }
        }
        Order(lives)
    }

    /// Whether `a` was over when `b` began, in every run.
    fn before(&self, a: &Entry, b: &Entry) -> bool {
        let life = |e: &Entry| {
            let child = usize::from(e.writer).checked_sub(THREADS)?;
            self.0.get(child).copied()
        };
        match (life(a), life(b)) {
            _ if a.writer == b.writer => a.step < b.step,
            (Some((_, over)), Some((begun, _))) => over < begun,
            (Some((_, over)), None) => over < b.step,
            (None, Some((begun, _))) => a.step < begun,
            (None, None) => a.step < b.step,
        }
    }
}
