//! `esca-vm`: boots Debian kernels under QEMU, to test the kernel module and
//! to count what ESCA saves. docs/testing-vm.md says how to use it.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod bench;
mod broken;
mod clock;
mod contents;
mod count;
mod debug;
mod image;
mod kernel;
mod machine;
mod module;
mod programs;

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};
use esca_vm::SUITES;
use kernel::Kernel;
use machine::{Machine, Outcome};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Tests and counts in virtual machines with Debian's kernels.
#[derive(Parser)]
#[command(name = "esca-vm", version, about)]
struct Cli {
    /// Where kernels, images and logs are kept
    #[arg(long, default_value = "target/vm", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Download and unpack the kernels, and say where their headers are
    Fetch(Kernels),
    /// Instructions per request of nginx, lighttpd and Redis, plain and with ESCA
    Count(Kernels),
    /// Build the kernel module and test it
    Test(TestArgs),
    /// Test it under a kernel with KASAN and lockdep, built on the spot
    Debug(debug::DebugArgs),
    /// What operations cost by plain calls and by table, for each batch size
    Bench(BenchArgs),
}

#[derive(clap::Args)]
struct BenchArgs {
    #[command(flatten)]
    kernels: Kernels,
    /// Page-table isolation, on or off [default: both]
    #[arg(long, value_parser = ["on", "off"])]
    pti: Vec<String>,
    /// Instructions only, no times
    #[arg(long)]
    counted: bool,
    /// Write the figures to a file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Take the figures from such a file
    #[arg(long, conflicts_with = "json")]
    from: Option<PathBuf>,
    /// Put the tables into a page, between its markers
    #[arg(long)]
    page: Option<PathBuf>,
}

#[derive(clap::Args)]
struct TestArgs {
    #[command(flatten)]
    kernels: Kernels,
    /// The short form: fewer repetitions, and 6.12 without isolation only
    #[arg(long)]
    short: bool,
    /// These parts only [default: all]
    #[arg(long)]
    only: Vec<Part>,
    /// Of the suite these programs only, e.g. nginx, or the model
    #[arg(long, value_parser = PossibleValuesParser::new(SUITES.into_iter().chain(["model"])))]
    program: Vec<String>,
    /// Page-table isolation, on or off [default: both]
    #[arg(long, value_parser = ["on", "off"])]
    pti: Vec<String>,
}

/// What is tested; each in a machine of its own.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Part {
    /// The module: its operations, its rules, its life, a fuzzer
    Module,
    /// Servers under it, on a processor that counts: so their rounds are the
    /// same however busy this machine is
    Serve,
    /// The suite's tests of the contract and of servers, and the differential
    /// model, with backend kmod (not in the short form)
    Suite,
}

impl Part {
    /// The task's words; machines have numbers for the fuzzer's seeds.
    fn task(self, t: &TestArgs, machine: usize) -> String {
        let name = match self {
            Part::Module => "module",
            Part::Serve => "serve",
            Part::Suite => "suite",
        };
        let form = if t.short { "short" } else { "full" };
        let programs = if self == Part::Suite {
            &t.program[..]
        } else {
            &[]
        };
        let mut words = vec![name.to_owned(), form.to_owned(), machine.to_string()];
        words.extend_from_slice(programs);
        words.join(",")
    }
}

#[derive(clap::Args)]
struct Kernels {
    /// Debian's kernel, by its version: 6.12 or 6.1
    #[arg(long)]
    kernel: Vec<String>,
}

/// What was asked for, or else `these`.
fn or<'a>(asked: &'a [String], these: &[&'a str]) -> Vec<&'a str> {
    match asked {
        [] => these.to_vec(),
        _ => asked.iter().map(String::as_str).collect(),
    }
}

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("esca-vm: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> Result<()> {
    let dir = &cli.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    match &cli.command {
        Task::Fetch(k) => {
            for name in or(&k.kernel, &["6.12", "6.1"]) {
                println!("{}", kernel::get(name, dir)?.headers.display());
            }
            Ok(())
        }
        Task::Test(t) => test(t, dir),
        Task::Debug(d) => debug::test(d, dir),
        Task::Bench(b) => measure(b, dir),
        Task::Count(k) => {
            for name in or(&k.kernel, &["6.12"]) {
                let kernel = kernel::get(name, dir)?;
                let seen = boot(&kernel, dir, None, "pti=off", "count", true)?;
                println!("\n{}\n{}", kernel.release, count::table(&seen)?);
            }
            Ok(())
        }
    }
}

/// Runs every machine, also behind one that failed: all together take long.
fn test(t: &TestArgs, dir: &Path) -> Result<()> {
    let (kernels, ptis): (&[_], &[_]) = if t.short {
        (&["6.12"], &["off"])
    } else {
        (&["6.12", "6.1"], &["off", "on"])
    };
    let begun = Instant::now();
    let (mut passed, mut machines, mut failed) = (0, 0, Vec::new());
    for name in or(&t.kernels.kernel, kernels) {
        let kernel = kernel::get(name, dir)?;
        let module = module::build(&kernel, dir)?;
        for pti in or(&t.pti, ptis) {
            let machine = 2 * usize::from(name == "6.1") + usize::from(pti == "on");
            for part in Part::value_variants() {
                let all = t.only.is_empty() && (!t.short || *part != Part::Suite);
                if !all && !t.only.contains(part) {
                    continue;
                }
                let (task, words) = (part.task(t, machine), format!("pti={pti}"));
                let counted = *part == Part::Serve;
                machines += 1;
                match boot(&kernel, dir, Some(&module), &words, &task, counted) {
                    Ok(seen) => passed += seen.passed.len(),
                    Err(e) => {
                        eprintln!("esca-vm: {} {words} {task}: {e:#}", kernel.name);
                        failed.push(format!("{} {words} {task}", kernel.name));
                    }
                }
            }
        }
    }
    let minutes = begun.elapsed().as_secs().div_ceil(60);
    println!("\n{machines} machines, {passed} tests passed, {minutes} min");
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    Ok(())
}

fn measure(b: &BenchArgs, dir: &Path) -> Result<()> {
    let data = match &b.from {
        Some(path) => bench::read(path)?,
        None => benched(b, dir)?,
    };
    if let Some(path) = &b.json {
        bench::write(&data, path)?;
    }
    if let Some(path) = &b.page {
        bench::page(&data, path)?;
    }
    for machine in &data.machines {
        println!("\n{}", machine.table());
    }
    Ok(())
}

fn benched(b: &BenchArgs, dir: &Path) -> Result<bench::Data> {
    let mut machines = Vec::new();
    for name in or(&b.kernels.kernel, &["6.12"]) {
        let kernel = kernel::get(name, dir)?;
        let module = module::build(&kernel, dir)?;
        for counted in [true, false] {
            for pti in or(&b.pti, &["off", "on"]) {
                if !counted && b.counted {
                    continue;
                }
                let task = if counted { "bench,counted" } else { "bench" };
                let seen = boot(
                    &kernel,
                    dir,
                    Some(&module),
                    &format!("pti={pti}"),
                    task,
                    counted,
                )?;
                machines.push(bench::Machine {
                    kernel: kernel.release.clone(),
                    pti: pti.into(),
                    counted,
                    figures: seen.figures,
                });
            }
        }
    }
    let words: Vec<_> = std::env::args().skip(1).collect();
    Ok(bench::Data {
        command: format!("esca-vm {}", words.join(" ")),
        machines,
    })
}

/// A guest that says nothing for so long hangs. Its longest single step takes
/// half a minute on an idle machine; its own watch over its children (1,800 s)
/// comes first.
const SILENCE: Duration = Duration::from_secs(2000);

/// Boots one kernel with one task; a failed test is an error.
fn boot(
    kernel: &Kernel,
    dir: &Path,
    module: Option<&Path>,
    words: &str,
    task: &str,
    counted: bool,
) -> Result<Outcome> {
    let image = tempfile::NamedTempFile::new_in(dir)?;
    let tests = task
        .starts_with("suite")
        .then(programs::build)
        .transpose()?;
    contents::image(module, tests.as_ref(), image.path())?;
    println!("{} {words}: {task}", kernel.release);
    let machine = Machine {
        kernel: &kernel.image,
        image: image.path(),
        words,
        task,
        counted,
        silence: SILENCE,
    };
    let begun = Instant::now();
    let seen = machine.run(&machine::log(dir, &machine::name(kernel, words, task)))?;
    println!("  {} s", begun.elapsed().as_secs());
    if let Some((name, why)) = seen.failed.first() {
        anyhow::bail!("{} failed, first {name}: {why}", seen.failed.len());
    }
    ensure!(!seen.passed.is_empty(), "the guest ran no test");
    Ok(seen)
}
