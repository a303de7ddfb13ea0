//! `esca bench`: configurations of servers side by side.

mod colours;
mod columns;
mod compare;
mod config;
pub mod demo;
mod estimate;
mod grid;
mod html;
mod jobs;
pub mod micro;
mod plot;
mod png;
mod readme;
mod report;
mod running;
mod series;
mod table;

pub use compare::place;
pub use config::Config;

use crate::client::Generator;
use crate::host;
use crate::servers::{Custom, Server};
use anyhow::{Context, Result, ensure};
use compare::{Plan, compare, verify};
use indicatif::{ProgressBar, ProgressStyle};
use report::Report;
use series::Comparison;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Only this server, or one of its loads: `nginx` or `nginx:1 KiB`
    /// (repeatable); lighttpd, redis, pingpong, and lwan with LWAN=/path/to/lwan
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    only: Vec<String>,
    /// Configurations to compare; the others with the first (repeatable):
    /// `plain`, `tuned`, `POLICY[/BACKEND]`, `tuned+POLICY[/BACKEND]`. By
    /// default all that the server and this machine have
    #[arg(long, value_name = "CONFIG")]
    config: Vec<String>,
    /// Vary the load: `size=1,5,10` (KiB), `connections=1,50,1000` or
    /// `workers=1,2` (repeatable; each axis by itself)
    #[arg(long, value_name = "AXIS=VALUES")]
    sweep: Vec<jobs::Sweep>,
    /// Seconds of load in each slice
    #[arg(long, default_value_t = 0.25)]
    slice: f64,
    /// Fewest rounds (one slice of each configuration)
    #[arg(long, default_value_t = 12)]
    least: usize,
    /// Most rounds
    #[arg(long, default_value_t = 36)]
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
    /// The path that is asked of a command of your own
    #[arg(long, default_value = "/")]
    path: String,
    /// Write everything measured to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write every slice to FILE as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a report to FILE as HTML, all in one
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the plots to DIR as SVG
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// And as PNG
    #[arg(long, requires = "plots")]
    png: bool,
    /// Put the table into FILE, between its markers
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
    /// Measure nothing; use what an earlier run wrote with --json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "command"])]
    from: Option<PathBuf>,
    /// A server of your own and its arguments, with {port} where its port goes
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub fn main(args: &Args) -> Result<()> {
    let report = match &args.from {
        Some(path) => Report::read(path)?,
        None => measure(args)?,
    };
    println!(
        "{}\n\n{}\n\n{}",
        table::summary(&report.results),
        table::rest(&report.results),
        report.method
    );
    let write = |path: &Path, bytes: Vec<u8>| {
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &args.json {
        write(path, report.json()?.into_bytes())?;
    }
    if let Some(path) = &args.csv {
        write(path, report.csv().into_bytes())?;
    }
    if let Some(path) = &args.html {
        write(path, html::page(&report)?.into_bytes())?;
    }
    if let Some(dir) = &args.plots {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        for (name, svg) in plot::all(&report)? {
            if args.png {
                write(&dir.join(format!("{name}.png")), png::draw(&svg)?)?;
            }
            write(&dir.join(name + ".svg"), svg.into_bytes())?;
        }
    }
    if let Some(path) = &args.readme {
        readme::update(path, &report)?;
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Report> {
    ensure!(
        args.slice > 0.0 && args.slice <= 60.0,
        "--slice is in seconds, up to 60"
    );
    let named = args.config.iter().map(|c| Config::parse(c));
    let named = named.collect::<Result<Vec<_>>>()?;
    let plan = Plan {
        slice: args.slice,
        life: args.life.max(1),
        least: args.least,
        most: args.rounds.max(1),
        tolerance: args.tolerance,
        client: args.client.as_deref().map(Generator::new).transpose()?,
    };
    let custom = match args.command.as_slice() {
        [] => None,
        words => {
            let custom = Custom::new(words, &args.path)?;
            crate::run::check_program(Path::new(&words[0])).map_err(anyhow::Error::msg)?;
            Some(custom)
        }
    };
    let dir = tempfile::tempdir()?;
    let jobs = match &custom {
        Some(c) => vec![compare::Job::new(c, dir.path(), "requests")],
        None => jobs::of_names(&args.only, dir.path())?,
    };
    let jobs = jobs::swept(jobs, &args.sweep)?;
    let own = host::own_network();
    crate::interrupt::watch()?;
    let machine = host::Host::look(own);
    machine.print();
    let mut versions = vec![concat!("esca ", env!("CARGO_PKG_VERSION")).to_string()];
    println!("version     {}", versions[0]);
    let mut verified = Vec::new();
    for job in &jobs {
        let name = job.server.name();
        if verified.contains(&name) {
            continue;
        }
        verified.push(name);
        let version = version(job.server, job.dir)?;
        if !versions.contains(&version) {
            println!("version     {version}");
            versions.push(version);
        }
        let same = jobs.iter().filter(|j| j.server.name() == name);
        let mut loads: Vec<&str> = same.map(|j| j.load.name.as_str()).collect();
        loads.dedup();
        for config in jobs::configs(job.server, &named) {
            verify(job.server, job.dir, &config, &loads)?;
        }
    }
    println!();
    let bar = bar(jobs.len() * plan.most);
    let mut results = Vec::new();
    for job in &jobs {
        let configs = jobs::configs(job.server, &named);
        results.push(compare(job, &configs, &plan, &bar)?);
    }
    bar.finish_and_clear();
    let words = std::env::args().skip(1);
    Ok(Report {
        host: machine,
        versions,
        command: std::iter::once("esca".to_string())
            .chain(words)
            .collect::<Vec<_>>()
            .join(" "),
        method: method(&plan, &results),
        results,
    })
}

/// The first line that says a version.
fn version(server: &dyn Server, dir: &Path) -> Result<String> {
    if server.version_flag().is_empty() {
        return Ok(format!("{}, a command of the user's", server.name()));
    }
    let words = server.command(&place(dir, server.name(), &Config::plain())?)?;
    let out = Command::new(&words[0])
        .arg(server.version_flag())
        .output()
        .with_context(|| format!("cannot run {}", words[0].display()))?;
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or("?").trim().to_string())
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
            "esca's own (bodies are discarded in the kernel, one answer in 97 is compared whole)"
                .to_string()
        }
        Some(g) => g.words().join(" "),
    };
    let rounds = all
        .iter()
        .filter_map(|c| Some(c.series.first()?.slices.len()));
    let pins = match host::pins() {
        None => "Nothing is pinned",
        Some(_) if all.iter().all(|c| c.workers <= 1) => {
            "Server and client are pinned, each to a processor"
        }
        Some(_) => "The client is pinned to a processor, a server with one worker to another",
    };
    format!(
        "Up to {} rounds of a slice of {} s for each configuration in turn, there and back, all\n\
         alive at once and started afresh every {} rounds. Medians; ratios are medians of the\n\
         rounds' ratios with 95 % bootstrap intervals. CPU is the server's alone, from schedstat;\n\
         segments count both directions. {pins}.\n\
         Client: {client}.",
        rounds.max().unwrap_or(0),
        plan.slice,
        plan.life,
    )
}
