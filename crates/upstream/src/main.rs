//! Runs other people's suites without ESCA and under it, and says what
//! differs.

use anyhow::Result;
use clap::Parser;
use esca_upstream::outcome::Verdict;
use esca_upstream::suites::{ALL, Suite};
use esca_upstream::trial::{self, Report};
use std::process::ExitCode;

/// The test suites of the servers' own authors, without and with ESCA.
#[derive(Parser)]
#[command(name = "esca-upstream")]
struct Args {
    /// Only this suite (may be repeated): redis, lighttpd, memcached
    #[arg(long)]
    only: Vec<String>,
    /// Only units whose name contains this (may be repeated)
    #[arg(long)]
    unit: Vec<String>,
    /// The small part that `make test` runs
    #[arg(long)]
    small: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let chosen =
        |s: &&&dyn Suite| args.only.is_empty() || args.only.iter().any(|o| o == s.source());
    let mut good = true;
    let mut ran = 0;
    for suite in ALL.iter().filter(chosen) {
        ran += 1;
        good &= one(*suite, &args).unwrap_or_else(|e| {
            eprintln!("esca-upstream: {}: {e:#}", suite.source());
            false
        });
    }
    if ran == 0 {
        eprintln!("esca-upstream: there is no suite of that name");
    }
    if good && ran > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(suite: &dyn Suite, args: &Args) -> Result<bool> {
    let report = trial::run(suite, args.small, &args.unit)?;
    print(suite, &report);
    Ok(report.agrees())
}

fn print(suite: &dyn Suite, report: &Report) {
    println!(
        "{}: {} tests pass without ESCA, {} fail, {} are left out by the suite",
        suite.source(),
        report.passed,
        report.failed.len(),
        report.skipped
    );
    for name in &report.failed {
        println!("  fails without ESCA: {name}");
    }
    for unit in &report.again {
        println!("  differed at first, ran again: {unit}");
    }
    for p in &report.policies {
        println!(
            "  {}: {} differ; {} operations aggregated, {} kernel entries saved",
            p.policy,
            p.differences.len(),
            p.aggregated,
            p.saved
        );
        for d in &p.differences {
            let word = |v: Option<Verdict>| v.map_or("not run".into(), |v| format!("{v:?}"));
            let (plain, esca) = (word(d.plain), word(d.esca));
            println!("    {}: {plain} without ESCA, {esca} with it", d.test);
        }
    }
}
