//! `esca-model`: replays a program, or hunts for one that fails.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use esca_model::hunt::{Plan, Tally, Until, examine, hunt};
use esca_model::program::Program;
use esca_model::run::Runner;
use esca_model::scene;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The differential model test: random programs of socket operations, on the
/// plain kernel and under ESCA.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the program of a file in every mode and says what is wrong.
    Replay {
        /// The file.
        file: PathBuf,
        /// How often: some failures depend on the moment.
        #[arg(long, default_value_t = 1)]
        times: u32,
    },
    /// Runs random programs for a time.
    Soak {
        /// For so long.
        #[arg(long, default_value_t = 600, env = "SOAK_SECONDS")]
        seconds: u64,
        /// The seed; a fresh one by default.
        #[arg(long)]
        seed: Option<u64>,
        /// So many at a time.
        #[arg(long, default_value_t = 8)]
        jobs: u64,
        /// Where failing programs are written.
        #[arg(long, default_value = "target/model")]
        failures: PathBuf,
    },
    /// Runs random scenes for a time; counts what fails by its kind.
    Hunt {
        /// For so long.
        #[arg(long, default_value_t = 600, env = "SOAK_SECONDS")]
        seconds: u64,
        /// The seed; a fresh one by default.
        #[arg(long)]
        seed: Option<u64>,
        /// So many at a time.
        #[arg(long, default_value_t = 10)]
        jobs: u64,
        /// Where each kind is written, one file each.
        #[arg(long)]
        findings: Option<PathBuf>,
    },
    /// Runs the scene of a file, and says what differs.
    Scene {
        /// The file.
        file: PathBuf,
    },
}

fn main() -> Result<()> {
    let actor = std::env::current_exe()?.with_file_name("model-actor");
    if !actor.exists() {
        bail!(
            "{}: not built; run `cargo build -p esca-model`",
            actor.display()
        );
    }
    match Cli::parse().command {
        Command::Replay { file, times } => replay(&actor, &file, times),
        Command::Soak {
            seconds,
            seed,
            jobs,
            failures,
        } => soak(&actor, seconds, seed, jobs, &failures),
        Command::Hunt {
            seconds,
            seed,
            jobs,
            findings,
        } => scenes(&actor, seconds, seed, jobs, findings.as_deref()),
        Command::Scene { file } => scene(&actor, &file),
    }
}

fn replay(actor: &Path, file: &Path, times: u32) -> Result<()> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name}: cannot be read"))?;
    let program = Program::from_text(&text).map_err(|e| anyhow::anyhow!("{name}: {e}"))?;
    let runner = Runner::new(actor);
    for _ in 0..times {
        if let Some(failure) = examine(&runner, &program, &mut Tally::default())? {
            let lines = failure.violations.iter().map(ToString::to_string);
            let lines: Vec<_> = lines.collect();
            bail!("{:?}:\n{}", failure.mode, lines.join("\n"));
        }
    }
    println!("{name}: nothing wrong in {times} runs of each mode");
    Ok(())
}

fn soak(actor: &Path, seconds: u64, seed: Option<u64>, jobs: u64, failures: &Path) -> Result<()> {
    let clock = std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
    let seed = seed.unwrap_or(clock);
    println!("soak: seed {seed}, {jobs} at a time, {seconds} s");
    let plan = Plan {
        seed,
        jobs,
        until: Until::Time(Instant::now() + Duration::from_secs(seconds)),
        most: 5,
        shrink: Duration::from_secs(60),
        again: 0,
    };
    let (total, caught) = hunt(|| Runner::new(actor), &plan)?;
    for catch in &caught {
        println!("{}", catch.report(failures)?);
    }
    println!(
        "soak: {} programs, {} runs ({} too long to be judged), {} operations under ESCA",
        total.programs, total.runs, total.unjudged, total.operations
    );
    for ((mode, aggregated), (_, short)) in total.aggregated.iter().zip(&total.short) {
        println!(
            "  {mode:?}: {aggregated} operations aggregated, {short} flushes that the kernel did \
             not take whole"
        );
    }
    if !caught.is_empty() {
        bail!(
            "{} programs failed; they stand in {}",
            caught.len(),
            failures.display()
        );
    }
    Ok(())
}

fn scenes(
    actor: &Path,
    seconds: u64,
    seed: Option<u64>,
    jobs: u64,
    findings: Option<&Path>,
) -> Result<()> {
    let actor = actor.with_file_name("scene-actor");
    let clock = std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
    let seed = seed.unwrap_or(clock);
    println!("hunt: seed {seed}, {jobs} at a time, {seconds} s");
    let plan = scene::hunt::Plan {
        seed,
        jobs,
        seconds,
        scenes: u64::MAX,
    };
    let found = scene::hunt::hunt(&actor, &plan, findings)?;
    println!("{}", found.table());
    println!(
        "hunt: {} scenes, {} kinds; {} differed once and not again",
        found.scenes,
        found.kinds.len(),
        found.once
    );
    if !found.kinds.is_empty() {
        bail!("{} kinds of failure", found.kinds.len());
    }
    Ok(())
}

fn scene(actor: &Path, file: &Path) -> Result<()> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name}: cannot be read"))?;
    let scene = scene::Scene::from_text(&text).map_err(|e| anyhow::anyhow!("{name}: {e}"))?;
    if let Some(differs) = scene::hunt::replay(&actor.with_file_name("scene-actor"), &scene)? {
        for (what, plain, esca) in &differs {
            println!("{what}: plain {plain}, with ESCA {esca}");
        }
        bail!("{name}: differs");
    }
    println!("{name}: nothing differs");
    Ok(())
}
