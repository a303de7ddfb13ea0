//! Interleaved pairs: A B, B A, A B, ... of one load on one server, so that a
//! machine whose speed drifts drifts for both.

use crate::host;
use crate::load::Load;
use crate::measure::{Running, Syscalls, Way, segments};
use crate::servers::{Place, Server};
use anyhow::{Context, Result, ensure};
use esca_abi::stats::Counter;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::Path;

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Requests a second.
    pub rate: f64,
    /// CPU time of the server, microseconds a request.
    pub cpu: f64,
    /// Latencies in microseconds.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Counts of one separate run, per request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// System calls of the server.
    pub syscalls: Option<f64>,
    /// TCP segments, both directions.
    pub segments: Option<f64>,
}

/// All of one load.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The server's name.
    pub server: String,
    /// The load's name.
    pub load: String,
    /// The policy compared with the plain server.
    pub policy: String,
    /// The load's command.
    pub command: String,
    /// What the ratios are to reach: requests/s, CPU.
    pub target: (f64, f64),
    /// Without ESCA.
    pub plain: Vec<Sample>,
    /// With it, pair by pair.
    pub esca: Vec<Sample>,
    /// Counts without.
    pub plain_counts: Counts,
    /// Counts with.
    pub esca_counts: Counts,
    /// Operations that were deferred or elided with ESCA.
    pub aggregated: u64,
}

/// How much of it.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Pairs.
    pub pairs: usize,
    /// Seconds of load in each run.
    pub seconds: f64,
    /// Count system calls and segments too.
    pub count: bool,
}

/// Where a server runs: fresh directories under `dir`.
pub fn place(dir: &Path, server: &dyn Server) -> Result<Place> {
    let run = dir.join(server.name());
    std::fs::create_dir_all(&run)?;
    let root = dir.join("www");
    if !root.is_dir() {
        crate::workload::write(&root)?;
    }
    // A worker may run as another user.
    use std::os::unix::fs::PermissionsExt;
    for d in [dir, root.as_path()] {
        std::fs::set_permissions(d, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(Place {
        root,
        run,
        port: host::free_port()?,
    })
}

/// Checks that the server's bytes are right without and with ESCA.
pub fn verify(server: &dyn Server, place: &Place, policy: &str) -> Result<()> {
    for way in [Way::Plain, Way::Esca(policy)] {
        let running = Running::start(server, place, way)?;
        server
            .verify(place)
            .with_context(|| format!("{} ({way:?})", server.name()))?;
        if let Some(s) = &running.stats {
            let seen = s.table().total(Counter::CallWait);
            ensure!(seen > 0, "{} never came to the library", server.name());
        }
    }
    Ok(())
}

/// A progress bar over `n` runs.
pub fn progress(n: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} [{bar:40}] {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(n as u64).with_style(style.progress_chars("=> "))
}

/// Runs the pairs.
pub fn compare(
    server: &dyn Server,
    dir: &Path,
    load: &(&str, f64, f64),
    policy: &str,
    plan: Plan,
    bar: &ProgressBar,
) -> Result<Comparison> {
    bar.set_message(format!("{} {} {policy}", server.name(), load.0));
    let at = place(dir, server)?;
    let mut c = Comparison {
        server: server.name().into(),
        load: load.0.into(),
        policy: policy.into(),
        command: server.load(load.0, &at, plan.seconds).shown(),
        target: (load.1, load.2),
        plain: Vec::new(),
        esca: Vec::new(),
        plain_counts: Counts::default(),
        esca_counts: Counts::default(),
        aggregated: 0,
    };
    let ways = [Way::Plain, Way::Esca(policy)];
    for pair in 0..plan.pairs {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for k in order {
            let (sample, aggregated) = one(server, dir, load.0, ways[k], plan.seconds)?;
            if k == 0 {
                c.plain.push(sample);
            } else {
                c.esca.push(sample);
                c.aggregated += aggregated;
            }
            bar.inc(1);
        }
    }
    if plan.count {
        c.plain_counts = count(server, dir, load.0, Way::Plain)?;
        c.esca_counts = count(server, dir, load.0, Way::Esca(policy))?;
    }
    Ok(c)
}

fn client(load: &Load) -> Result<crate::load::Outcome> {
    let out = host::on_cpu(host::pins().map(|p| p.1), || load.run());
    crate::interrupt::check()?;
    out
}

fn one(
    server: &dyn Server,
    dir: &Path,
    load: &str,
    way: Way,
    seconds: f64,
) -> Result<(Sample, u64)> {
    let at = place(dir, server)?;
    let running = Running::start(server, &at, way)?;
    // Warm: page cache, connections' slow start, the predictor.
    client(&server.load(load, &at, 0.3))?;
    let before = running.cpu();
    let out = client(&server.load(load, &at, seconds))?;
    let used = running.cpu() - before;
    let aggregated = running.stats.as_ref().map_or(0, |s| {
        s.table().total(Counter::Deferred) + s.table().total(Counter::Elided)
    });
    let sample = Sample {
        rate: out.rate,
        cpu: used / out.requests,
        p50: out.p50,
        p99: out.p99,
    };
    Ok((sample, aggregated))
}

fn count(server: &dyn Server, dir: &Path, load: &str, way: Way) -> Result<Counts> {
    let at = place(dir, server)?;
    let running = Running::start(server, &at, way)?;
    client(&server.load(load, &at, 0.3))?;
    let calls = Syscalls::begin(&running.pids()).ok();
    let before = segments();
    let out = client(&server.load(load, &at, 1.0))?;
    let sent = segments().zip(before).map(|(b, a)| (b - a) / out.requests);
    Ok(Counts {
        syscalls: calls.and_then(Syscalls::end).map(|n| n / out.requests),
        segments: sent,
    })
}
