//! `esca bench`: the whole table.

use crate::pairs::{Comparison, Plan, compare, place, progress, verify};
use crate::{host, servers, table};
use anyhow::{Context, Result, ensure};
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
    /// Policies to compare with the plain server (repeatable)
    #[arg(long, default_value = "coalesce")]
    policy: Vec<String>,
    /// Pairs of runs
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// Seconds of load in each run
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Write everything measured to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    host: host::Host,
    versions: Vec<String>,
    pairs: usize,
    seconds: f64,
    results: Vec<Comparison>,
}

pub fn main(args: &Args) -> Result<()> {
    let named: Vec<String> = if args.only.is_empty() {
        DEFAULT.iter().map(ToString::to_string).collect()
    } else {
        args.only.clone()
    };
    let mut jobs = Vec::new();
    for name in &named {
        let (name, load) = name.split_once(':').unwrap_or((name, ""));
        let server = servers::find(name)?;
        let before = jobs.len();
        for l in server
            .loads()
            .iter()
            .filter(|l| load.is_empty() || l.0 == load)
        {
            for p in &args.policy {
                jobs.push((server, l, p.as_str()));
            }
        }
        ensure!(jobs.len() > before, "{name} has no load '{load}'");
    }
    let own = host::own_network();
    crate::interrupt::watch()?;
    let dir = tempfile::tempdir()?;
    let machine = host::Host::look(own);
    machine.print();
    let mut versions: Vec<String> = Vec::new();
    for (server, _, policy) in &jobs {
        let at = place(dir.path(), *server)?;
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
            verify(*server, &at, policy)?;
        }
    }
    let plan = Plan {
        pairs: args.pairs,
        seconds: args.seconds,
        count: true,
    };
    let bar = progress(jobs.len() * plan.pairs * 2);
    let mut results = Vec::new();
    for (server, load, policy) in jobs {
        results.push(compare(server, dir.path(), load, policy, plan, &bar)?);
    }
    bar.finish_and_clear();
    println!(
        "method      {} interleaved pairs of {} s, medians; one server alive at a time\n",
        plan.pairs, plan.seconds
    );
    println!("{}\n", table::summary(&results));
    for c in &results {
        println!("{} {} {}: {}", c.server, c.load, c.policy, c.command);
    }
    if let Some(path) = &args.json {
        let report = Report {
            host: machine,
            versions,
            pairs: args.pairs,
            seconds: args.seconds,
            results,
        };
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
