//! The hunt: generates programs, runs each in every mode, and shrinks what
//! fails to a short program that can be replayed.

use crate::board::Kind;
use crate::check::{self, Violation};
use crate::generate;
use crate::program::Program;
use crate::run::{Mode, Outcome, Runner, modes};
use anyhow::{Result, bail};
use esca_abi::stats::Counter;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What was wrong with a program in one mode.
#[derive(Debug)]
pub struct Failure {
    /// The mode.
    pub mode: Mode,
    /// What does not hold.
    pub violations: Vec<Violation>,
}

/// What a hunt did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Programs.
    pub programs: u64,
    /// Runs of a program.
    pub runs: u64,
    /// Those of which the log was too short to judge them.
    pub unjudged: u64,
    /// Calls that write or read, and other steps, under ESCA.
    pub operations: u64,
    /// Operations that ESCA deferred or elided, by mode.
    pub aggregated: Vec<(Mode, u64)>,
    /// Flushes of which the kernel did not take all, by mode.
    pub short: Vec<(Mode, u64)>,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.programs += other.programs;
        self.runs += other.runs;
        self.unjudged += other.unjudged;
        self.operations += other.operations;
        add(&mut self.aggregated, &other.aggregated);
        add(&mut self.short, &other.short);
    }
}

fn add(to: &mut Vec<(Mode, u64)>, from: &[(Mode, u64)]) {
    for (mode, n) in from {
        match to.iter_mut().find(|(m, _)| m == mode) {
            Some((_, sum)) => *sum += n,
            None => to.push((*mode, *n)),
        }
    }
}

/// When a hunt ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many programs.
    Programs(u64),
    /// At this moment.
    Time(Instant),
}

/// Runs a program in every mode; the first mode in which something is wrong.
///
/// # Errors
/// Where a run could not be made.
pub fn examine(runner: &Runner, program: &Program, tally: &mut Tally) -> Result<Option<Failure>> {
    let failed =
        |mode, violations: Vec<_>| (!violations.is_empty()).then_some(Failure { mode, violations });
    tally.programs += 1;
    let plain = runner.run(program, Mode::Plain)?;
    tally.runs += 1;
    if !check::complete(&plain) {
        tally.unjudged += 1;
        return Ok(None);
    }
    // What does not hold here either is the model's own fault.
    if let Some(f) = failed(Mode::Plain, check::judge(program, &plain)) {
        return Ok(Some(f));
    }
    for mode in modes() {
        let esca: Outcome = runner.run(program, mode)?;
        tally.runs += 1;
        if !check::complete(&esca) {
            tally.unjudged += 1;
            continue;
        }
        let ours = |k: Kind| k != Kind::Fault && k != Kind::End;
        tally.operations += esca.entries.iter().filter(|e| ours(e.kind)).count() as u64;
        let mut violations = check::judge(program, &esca);
        violations.extend(check::compare(program, &plain, &esca));
        if let Some(f) = failed(mode, violations) {
            return Ok(Some(f));
        }
    }
    Ok(None)
}

/// A failure, shrunk.
pub struct Catch {
    /// The shortest program found that fails.
    pub program: Program,
    /// How it fails.
    pub failure: Failure,
    /// It failed again when it was tried so often as the plan says. If not, it
    /// was not shrunk.
    pub again: bool,
}

/// How a hunt goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Programs follow from it.
    pub seed: u64,
    /// Hunters at work at once.
    pub jobs: u64,
    /// When it ends.
    pub until: Until,
    /// It ends after so many failures, too.
    pub most: usize,
    /// How long each failure is shrunk.
    pub shrink: Duration,
    /// How often a program that failed is tried again at most, before it
    /// counts as one that does not fail again; 0: each failure counts.
    pub again: usize,
}

/// Generates programs and examines them, by several hunters. Where some fail,
/// each hunter shrinks what it caught.
///
/// # Errors
/// Where a run could not be made.
pub fn hunt(runner: impl Fn() -> Runner + Sync, plan: &Plan) -> Result<(Tally, Vec<Catch>)> {
    let caught = AtomicUsize::new(0);
    let done: Vec<Result<_>> = std::thread::scope(|scope| {
        let hunters: Vec<_> = (0..plan.jobs)
            .map(|k| {
                scope.spawn({
                    let (runner, caught) = (&runner, &caught);
                    move || one_hunt(runner(), plan, k, caught)
                })
            })
            .collect();
        let joined = hunters.into_iter().map(|h| h.join());
        joined
            .map(|d| d.unwrap_or_else(|_| bail!("a hunter panicked")))
            .collect()
    });
    let (mut total, mut all) = (Tally::default(), Vec::new());
    for one in done {
        let (tally, catches) = one?;
        total += tally;
        all.extend(catches);
    }
    Ok((total, all))
}

fn one_hunt(
    mut runner: Runner,
    plan: &Plan,
    hunter: u64,
    caught: &AtomicUsize,
) -> Result<(Tally, Vec<Catch>)> {
    let mut rng = [0; 32];
    rng[..8].copy_from_slice(&plan.seed.wrapping_add(hunter).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &rng);
    let mut source = TestRunner::new_with_rng(Config::default(), rng);
    let programs = generate::programs();
    let (mut tally, mut catches) = (Tally::default(), Vec::new());
    loop {
        let more = match plan.until {
            Until::Programs(n) => tally.programs < n.div_ceil(plan.jobs),
            Until::Time(end) => Instant::now() < end,
        };
        if !more || caught.load(Relaxed) >= plan.most {
            break;
        }
        let tree = programs
            .new_tree(&mut source)
            .map_err(|e| anyhow::anyhow!("{e}"))?;
        let program = tree.current();
        if let Some(failure) = examine(&runner, &program, &mut tally)? {
            caught.fetch_add(1, Relaxed);
            let mut catch = Catch {
                program,
                failure,
                again: plan.again == 0,
            };
            for _ in 0..plan.again {
                if let Some(failure) = examine(&runner, &catch.program, &mut Tally::default())? {
                    (catch.failure, catch.again) = (failure, true);
                    break;
                }
            }
            if catch.again {
                catch = shrink(&mut runner, tree, catch, plan.shrink)?;
            }
            catches.push(catch);
        }
    }
    tally.aggregated = runner.counts(&[Counter::Deferred, Counter::Elided]);
    tally.short = runner.counts(&[Counter::Short]);
    Ok((tally, catches))
}

/// How often a shorter program may come out right before it counts as right:
/// failures may depend on the moment.
const TRIES: usize = 3;
/// How long an event may take meanwhile.
const SHRINKING: Duration = Duration::from_secs(6);

fn shrink(
    runner: &mut Runner,
    mut tree: impl ValueTree<Value = Program>,
    mut catch: Catch,
    limit: Duration,
) -> Result<Catch> {
    let patience = std::mem::replace(&mut runner.patience, SHRINKING);
    let end = Instant::now() + limit;
    let mut smaller = tree.simplify();
    while smaller && Instant::now() < end {
        let program = tree.current();
        let mut failure = None;
        for _ in 0..TRIES {
            failure = examine(runner, &program, &mut Tally::default())?;
            if failure.is_some() {
                break;
            }
        }
        smaller = match failure {
            Some(failure) => {
                catch = Catch {
                    program,
                    failure,
                    ..catch
                };
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    runner.patience = patience;
    Ok(catch)
}

impl Catch {
    /// Writes the program to a file of `dir` that `replay` takes; says what
    /// is wrong.
    ///
    /// # Errors
    /// Those of writing the file.
    pub fn report(&self, dir: &Path) -> Result<String> {
        let mut text = format!("# {:?}\n", self.failure.mode);
        for v in &self.failure.violations {
            let what = v.what.replace('\n', "\n#   ");
            text += &format!("# {:?}: {what}\n", v.rule);
        }
        text += &self.program.to_text();
        let mut name = std::hash::DefaultHasher::new();
        text.hash(&mut name);
        let path: PathBuf = dir.join(format!("{:016x}.esca", name.finish()));
        std::fs::create_dir_all(dir)?;
        std::fs::write(&path, &text)?;
        Ok(format!(
            "{text}\n  replay it with: cargo run -p esca-model -- replay {}\n",
            path.display()
        ))
    }
}
