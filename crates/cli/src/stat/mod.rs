//! `esca stat`: what a wrapped server is saving, read from its shared memory
//! while it runs.

mod lines;
mod prometheus;
mod report;
mod screen;

use crate::observe::Family;
use anyhow::{Context, Result, bail};
use report::Report;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Args {
    /// The server's process (its master: the workers are found)
    pid: i32,
    /// Print once and end
    #[arg(long)]
    once: bool,
    /// Print JSON: one object a line
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// Print Prometheus' text format, once
    #[arg(long)]
    prometheus: bool,
    /// Write Prometheus' text format to FILE, for node_exporter's textfile
    /// collector; once, or every --interval seconds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "prometheus"])]
    textfile: Option<PathBuf>,
    /// Seconds between two looks [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "once")]
    interval: Option<Duration>,
}

fn seconds(s: &str) -> Result<Duration, String> {
    match s.parse::<f64>() {
        Ok(n) if (0.05..=86_400.0).contains(&n) => Ok(Duration::from_secs_f64(n)),
        _ => Err("seconds from 0.05 to 86400 are expected".into()),
    }
}

/// What is printed.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Lines,
    Json,
    Prometheus,
}

pub fn main(args: &Args) -> Result<()> {
    let mut family = Family::of(args.pid)?;
    family.require_library()?;
    if let Some(file) = &args.textfile {
        return textfile(&mut family, file, args.interval);
    }
    let form = match (args.json, args.prometheus) {
        (true, _) => Form::Json,
        (_, true) => Form::Prometheus,
        _ => Form::Lines,
    };
    let once = args.once || form == Form::Prometheus && args.interval.is_none();
    if once {
        return print(form, &Report::new(&family, None));
    }
    let interval = args.interval.unwrap_or(Duration::from_secs(1));
    if form == Form::Lines && std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        return screen::run(&mut family, interval);
    }
    follow(&mut family, form, interval)
}

/// One report now, and one after each interval, until the server ends.
fn follow(family: &mut Family, form: Form, interval: Duration) -> Result<()> {
    let (mut before, mut then) = (family.total(), Instant::now());
    print(form, &Report::new(family, None))?;
    loop {
        std::thread::sleep(interval);
        if !family.is_alive() {
            bail!("process {} ({}) has ended", family.pid(), family.name());
        }
        family.look()?;
        let now = Instant::now();
        let change = (&before, now.duration_since(then));
        print(form, &Report::new(family, Some(change)))?;
        (before, then) = (family.total(), now);
    }
}

fn print(form: Form, report: &Report) -> Result<()> {
    let text = match form {
        Form::Lines => lines::render(report),
        Form::Json => serde_json::to_string(report)? + "\n",
        Form::Prometheus => prometheus::render(report),
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader (head) has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("cannot write the statistics"),
    }
}

/// Writes FILE in one step for its reader, once or until the server ends;
/// then it is removed, so that a stopped server does not look alive.
fn textfile(family: &mut Family, file: &Path, interval: Option<Duration>) -> Result<()> {
    loop {
        let text = prometheus::render(&Report::new(family, None));
        crate::stats::replace(file, text.as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))?;
        let Some(interval) = interval else {
            return Ok(());
        };
        std::thread::sleep(interval);
        if !family.is_alive() {
            let _ = std::fs::remove_file(file);
            bail!("process {} ({}) has ended", family.pid(), family.name());
        }
        family.look()?;
    }
}
