//! A suite's trial: every unit without ESCA and under each policy, at the
//! same time in copies of their own, and what differs once more.

use crate::compare::{Difference, differences};
use crate::launcher;
use crate::outcome::{Outcome, Verdict};
use crate::source;
use crate::suites::Suite;
use anyhow::{Context, Result, ensure};
use esca_abi::stats::Counter;
use esca_suite::dir::Dir;
use esca_suite::mode::{Mode, Stats};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The runs that are compared: the first without ESCA.
const MODES: [Mode; 3] = [Mode::Plain, Mode::Esca("coalesce"), Mode::Esca("batch")];

/// How often a unit runs whose tests end otherwise: suites with timeouts fail
/// at times on a loaded machine, with and without ESCA.
const TRIES: usize = 3;

/// A mode's copy of the suite, its server launched in that mode.
struct Bench {
    mode: Mode,
    place: u16,
    tree: PathBuf,
    stats: Option<Stats>,
}

/// What a policy's run came to.
pub struct PolicyReport {
    /// The policy.
    pub policy: &'static str,
    /// Tests that ended otherwise in every try.
    pub differences: Vec<Difference>,
    /// Operations answered from custody or not made.
    pub aggregated: u64,
    /// Kernel entries saved.
    pub saved: u64,
}

/// What a suite's trial came to.
pub struct Report {
    /// Tests that passed without ESCA.
    pub passed: usize,
    /// Tests that the suite itself left out.
    pub skipped: usize,
    /// Tests that failed without ESCA: they say nothing about it.
    pub failed: Vec<String>,
    /// Units that had to run more than once until they agreed.
    pub again: Vec<String>,
    /// One for each policy.
    pub policies: Vec<PolicyReport>,
}

impl Report {
    /// Whether the same tests passed in every run.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.policies.iter().all(|p| p.differences.is_empty())
    }
}

/// Runs a suite.
///
/// # Errors
/// When its source cannot be had or it cannot be run, and when a run under
/// ESCA aggregated nothing although the suite gives reason to.
pub fn run(suite: &dyn Suite, small: bool, only: &[String]) -> Result<Report> {
    let source = source::unpacked(suite.source(), suite.package())?;
    let dir = Dir::new();
    let benches: Vec<Bench> = (0..)
        .zip(MODES)
        .map(|(place, mode)| bench(suite, &source, &dir, mode, place))
        .collect::<Result<_>>()?;
    let mut units = suite.units(&benches[0].tree, small)?;
    units.retain(|u| only.is_empty() || only.iter().any(|o| u.contains(o.as_str())));
    ensure!(!units.is_empty(), "no unit of {} is left", suite.source());

    let first = at_once(&benches, |b| all_units(suite, b, &units))?;
    let (plain, under) = first.split_first().context("no runs")?;
    let mut again = Vec::new();
    let mut found = BTreeMap::new();
    for (bench, outcomes) in benches[1..].iter().zip(under) {
        for unit in &units {
            let mut left = differences(&plain[unit], &outcomes[unit]);
            for _ in 1..TRIES {
                if left.is_empty() {
                    break;
                }
                again.push(format!("{unit} ({:?})", bench.mode));
                // One after the other now, with the machine for themselves.
                let plain = one_unit(suite, &benches[0], unit)?;
                let esca = one_unit(suite, bench, unit)?;
                left = differences(&plain, &esca);
            }
            found
                .entry(bench.place)
                .or_insert_with(Vec::new)
                .extend(left);
        }
    }

    let count = |v| plain.values().map(|o: &Outcome| o.count(v)).sum();
    let failed = plain.values().flat_map(Outcome::iter);
    let failed = failed.filter(|(_, v)| *v == Verdict::Failed);
    let mut policies = Vec::new();
    for bench in &benches[1..] {
        policies.push(policy_report(suite, bench, found.remove(&bench.place))?);
    }
    Ok(Report {
        passed: count(Verdict::Passed),
        skipped: count(Verdict::Skipped),
        failed: failed.map(|(name, _)| name.to_owned()).collect(),
        again,
        policies,
    })
}

fn bench(suite: &dyn Suite, source: &Path, dir: &Dir, mode: Mode, place: u16) -> Result<Bench> {
    let tree = dir.path().join(place.to_string());
    let copied = Command::new("cp")
        .arg("-r")
        .arg(source)
        .arg(&tree)
        .status()?;
    ensure!(copied.success(), "cannot copy {}", source.display());
    suite.prepare(&tree)?;
    let script = tree.join(suite.launcher());
    let stats = launcher::write(&script, Path::new(suite.program()), mode)?;
    Ok(Bench {
        mode,
        place,
        tree,
        stats,
    })
}

fn all_units(
    suite: &dyn Suite,
    bench: &Bench,
    units: &[String],
) -> Result<BTreeMap<String, Outcome>> {
    let run = |unit: &String| Ok((unit.clone(), one_unit(suite, bench, unit)?));
    units.iter().map(run).collect()
}

/// Runs a unit and says on standard error what it came to: the whole takes
/// most of an hour.
fn one_unit(suite: &dyn Suite, bench: &Bench, unit: &str) -> Result<Outcome> {
    let start = Instant::now();
    let outcome = suite.run(&bench.tree, unit, bench.place)?;
    let of = |v| outcome.count(v);
    let mode = match bench.mode {
        Mode::Plain => "plain",
        Mode::Esca(policy) | Mode::Run(policy, _) => policy,
    };
    eprintln!(
        "{} {unit}, {mode}: {} passed, {} failed, {} left out in {} s",
        suite.source(),
        of(Verdict::Passed),
        of(Verdict::Failed),
        of(Verdict::Skipped),
        start.elapsed().as_secs()
    );
    for (name, _) in outcome.iter().filter(|(_, v)| *v == Verdict::Failed) {
        eprintln!("    failed, {mode}: {name}");
    }
    Ok(outcome)
}

/// Does the same for every bench at the same time: suites mostly wait.
fn at_once<T: Send>(
    benches: &[Bench],
    work: impl Fn(&Bench) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|s| {
        let work = &work;
        let threads: Vec<_> = benches.iter().map(|b| s.spawn(move || work(b))).collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("a run that does not panic"))
            .collect()
    })
}

fn policy_report(
    suite: &dyn Suite,
    bench: &Bench,
    differences: Option<Vec<Difference>>,
) -> Result<PolicyReport> {
    let (Mode::Esca(policy), Some(stats)) = (bench.mode, &bench.stats) else {
        anyhow::bail!("a run without statistics");
    };
    let name = suite.source();
    let seen = stats.get(Counter::CallWait) > 0;
    ensure!(seen, "{name}, {policy}: the library was never active");
    let aggregated = stats.get(Counter::Deferred) + stats.get(Counter::Elided);
    ensure!(
        aggregated > 0 || !suite.aggregates(policy),
        "{name}, {policy}: nothing was aggregated: {}",
        stats.describe()
    );
    Ok(PolicyReport {
        policy,
        differences: differences.unwrap_or_default(),
        aggregated,
        saved: stats.get(Counter::Saved),
    })
}
