//! `esca bench`: configurations of servers side by side.

mod compare;
mod config;
pub mod demo;
mod estimate;
mod running;
mod table;

pub use compare::place;

use crate::client::Generator;
use crate::{host, servers};
use anyhow::{Context, Result, ensure};
use compare::{Comparison, Plan, compare, verify};
use config::Config;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::PathBuf;
use std::process::Command;

/// What is measured when nothing is named.
const DEFAULT: &[&str] = &["nginx", "lighttpd", "redis", "pingpong"];

#[derive(clap::Args)]
pub struct Args {
    /// Only this server, or one of its loads: `nginx` or `nginx:1 KiB`
    /// (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Configurations to compare; the others with the first (repeatable):
    /// `plain`, `tuned`, `POLICY[/BACKEND]`, `tuned+POLICY[/BACKEND]`
    #[arg(long, value_name = "CONFIG", default_values = ["plain", "coalesce"])]
    config: Vec<String>,
    /// Seconds of load in each slice
    #[arg(long, default_value_t = 0.3)]
    slice: f64,
    /// Fewest rounds (one slice of each configuration)
    #[arg(long, default_value_t = 12)]
    least: usize,
    /// Most rounds
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Rounds between two starts of the servers
    #[arg(long, default_value_t = 6)]
    life: usize,
    /// Stop when half the 95 % interval of every ratio is below this
    #[arg(long, default_value_t = 0.01)]
    tolerance: f64,
    /// A load generator in place of our own; {url}, {port} and {seconds} in it
    /// are filled in
    #[arg(long, value_name = "COMMAND")]
    client: Option<String>,
    /// Write everything measured to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    host: host::Host,
    versions: Vec<String>,
    method: String,
    results: Vec<Comparison>,
}

pub fn main(args: &Args) -> Result<()> {
    let named: Vec<String> = if args.only.is_empty() {
        DEFAULT.iter().map(ToString::to_string).collect()
    } else {
        args.only.clone()
    };
    let configs = args
        .config
        .iter()
        .map(|c| Config::parse(c))
        .collect::<Result<Vec<_>>>()?;
    let mut jobs = Vec::new();
    for name in &named {
        let (name, load) = name.split_once(':').unwrap_or((name, ""));
        let server = servers::find(name)?;
        let before = jobs.len();
        let loads = server.loads().iter().map(|l| l.0);
        jobs.extend(
            loads
                .filter(|l| load.is_empty() || *l == load)
                .map(|l| (server, l)),
        );
        ensure!(jobs.len() > before, "{name} has no load '{load}'");
    }
    let plan = Plan {
        slice: args.slice,
        life: args.life.max(1),
        least: args.least,
        most: args.rounds.max(1),
        tolerance: args.tolerance,
        client: args.client.as_deref().map(Generator::new).transpose()?,
    };
    let own = host::own_network();
    crate::interrupt::watch()?;
    let dir = tempfile::tempdir()?;
    let machine = host::Host::look(own);
    machine.print();
    let mut versions: Vec<String> = Vec::new();
    for (server, _) in &jobs {
        let at = place(dir.path(), server.name(), false)?;
        let words = server.command(&at)?;
        let out = Command::new(&words[0])
            .arg(server.version_flag())
            .output()?;
        let text = [out.stdout, out.stderr].concat();
        let first = String::from_utf8_lossy(&text);
        let first = first.lines().next().unwrap_or("?").trim().to_string();
        if !versions.contains(&first) {
            println!("version     {first}");
            versions.push(first);
            for config in of(*server, &configs) {
                verify(*server, dir.path(), &config)?;
            }
        }
    }
    let bar = bar(jobs.len() * plan.most);
    let mut results = Vec::new();
    for (server, load) in jobs {
        let (load, configs) = (server.load(load), of(server, &configs));
        results.push(compare(server, dir.path(), &load, &configs, &plan, &bar)?);
    }
    bar.finish_and_clear();
    let method = method(&plan, &results);
    println!("\n{}\n\n{method}", table::summary(&results));
    if let Some(path) = &args.json {
        let report = Report {
            host: machine,
            versions,
            method,
            results,
        };
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Those of the configurations that a server has.
fn of(server: &dyn servers::Server, configs: &[Config]) -> Vec<Config> {
    let has = |c: &&Config| server.has_tuning() || !c.tuned;
    configs.iter().filter(has).cloned().collect()
}

/// A progress bar over `n` rounds.
fn bar(n: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} {eta} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(n as u64).with_style(style.progress_chars("=> "))
}

/// How the figures were made, in a few lines.
fn method(plan: &Plan, all: &[Comparison]) -> String {
    let client = match &plan.client {
        None => {
            "esca's own client (bodies discarded in the kernel, one answer in 97 compared whole)"
                .to_string()
        }
        Some(g) => g.filled(0, "", plan.slice).join(" "),
    };
    let rounds = all
        .iter()
        .filter_map(|c| Some(c.series.first()?.slices.len()));
    format!(
        "Up to {} rounds of {} s for each configuration in turn, there and back, all alive at once;\n\
         started afresh every {} rounds. Medians; ratios are medians of the rounds' ratios with\n\
         95 % bootstrap intervals. CPU is the server's alone, from schedstat; segments count both\n\
         directions. Client: {client}.",
        rounds.max().unwrap_or(0),
        plan.slice,
        plan.life,
    )
}
