//! A program's trial: without ESCA, then under each policy.

use crate::{Program, Run};
use esca_abi::stats::Counter;
use esca_suite::mode::{Mode, Stats, policies};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a policy's run counted.
#[derive(Clone, Debug, Default)]
pub struct Gain {
    /// Requests made.
    pub requests: u64,
    /// Operations answered from custody.
    pub deferred: u64,
    /// Those, and operations not made.
    pub aggregated: u64,
    /// Sends that left together with the one before them: segments saved.
    pub joined: u64,
    /// Kernel entries made for the program.
    pub made: u64,
    /// Kernel entries that the program would have made beside those. Below
    /// zero where a small file was read to travel with its head.
    pub saved: i64,
    /// Every counter that isn't zero.
    pub counters: String,
}

/// What a policy's run came to: its counts, or what went wrong.
pub type Outcome = Result<Gain, String>;

/// Runs a program; one outcome for each policy.
///
/// # Errors
/// When the run without ESCA fails: that says nothing about ESCA.
pub fn run(program: &dyn Program) -> Result<Vec<(&'static str, Outcome)>, String> {
    let plain = caught(program, Mode::Plain)?;
    if plain.requests == 0 || plain.seen.is_empty() {
        return Err("nothing was asked of it".into());
    }
    let under = |mode| {
        let policy = match mode {
            Mode::Plain => "plain",
            Mode::Esca(policy) | Mode::Run(policy, _) => policy,
        };
        let outcome = caught(program, mode).and_then(|run| judge(program, policy, &plain, &run));
        (policy, outcome)
    };
    Ok(policies().into_iter().map(under).collect())
}

fn caught(program: &dyn Program, mode: Mode) -> Result<Run, String> {
    catch_unwind(AssertUnwindSafe(|| program.run(mode))).map_err(|e| {
        let text = e.downcast_ref::<String>().cloned();
        let word = e.downcast_ref::<&str>().map(|s| (*s).to_owned());
        text.or(word).unwrap_or_else(|| "it panicked".into())
    })
}

fn judge(program: &dyn Program, policy: &str, plain: &Run, esca: &Run) -> Outcome {
    compare(plain, esca)?;
    let Some(stats) = &esca.stats else {
        // ESCA_SUITE=plain: shows whether the program itself is steady.
        return Ok(Gain {
            requests: esca.requests,
            ..Gain::default()
        });
    };
    if stats.get(Counter::CallWait) == 0 {
        return Err("the library was never active".into());
    }
    let gain = gain(esca.requests, stats);
    if gain.aggregated == 0 && program.nothing(policy).is_none() {
        return Err(format!("nothing was aggregated: {}", stats.describe()));
    }
    Ok(gain)
}

fn compare(plain: &Run, esca: &Run) -> Result<(), String> {
    if plain.requests != esca.requests || plain.seen.len() != esca.seen.len() {
        let of = |r: &Run| format!("{} requests, {} pieces", r.requests, r.seen.len());
        return Err(format!("{} wanted, {} came", of(plain), of(esca)));
    }
    for ((what, want), (_, got)) in plain.seen.iter().zip(&esca.seen) {
        if want != got {
            let at = want.iter().zip(got).take_while(|(a, b)| a == b).count();
            let part = |all: &[u8]| {
                let part = &all[at..all.len().min(at + 60)];
                String::from_utf8_lossy(part).escape_debug().to_string()
            };
            return Err(format!(
                "{what}: {} bytes wanted, {} came, they part at {at}: want {:?}, got {:?}",
                want.len(),
                got.len(),
                part(want),
                part(got),
            ));
        }
    }
    Ok(())
}

fn gain(requests: u64, stats: &Stats) -> Gain {
    Gain {
        requests,
        deferred: stats.get(Counter::Deferred),
        aggregated: stats.get(Counter::Deferred) + stats.get(Counter::Elided),
        joined: stats.get(Counter::Merged) + stats.get(Counter::RuleFileHead),
        made: stats.get(Counter::Made),
        // Counted down at a flush, up at a deferral.
        saved: stats.get(Counter::Saved).cast_signed(),
        counters: stats.describe(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[(&str, &str)]) -> Run {
        let own = |(name, bytes): &(&str, &str)| (String::from(*name), bytes.as_bytes().to_vec());
        Run {
            seen: pieces.iter().map(own).collect(),
            requests: 1,
            stats: None,
        }
    }

    #[test]
    fn a_byte_that_differs_is_found() {
        let plain = run(&[("a", "same"), ("b", "1234")]);
        assert_eq!(
            compare(&plain, &run(&[("a", "same"), ("b", "1234")])),
            Ok(())
        );
        let e = compare(&plain, &run(&[("a", "same"), ("b", "12x4")])).expect_err("a difference");
        assert!(e.contains("b: ") && e.contains("part at 2"), "{e}");
        let e = compare(&plain, &run(&[("a", "same"), ("b", "123")])).expect_err("a difference");
        assert!(e.contains("4 bytes wanted, 3 came"), "{e}");
    }

    #[test]
    fn a_piece_that_is_missing_is_found() {
        let plain = run(&[("a", "same"), ("b", "1234")]);
        assert!(compare(&plain, &run(&[("a", "same")])).is_err());
    }
}
