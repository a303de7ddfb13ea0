//! Interleaved rounds: all configurations of a server are alive at once on the
//! same processor and get short slices of the same load in turn, there and
//! back (A B B A), so that a machine whose speed drifts drifts for all.
//!
//! A few rounds make a life; then the servers are started afresh, because
//! where a process's memory comes to lie is luck that lasts as long as it.

use super::config::Config;
use super::running::{Running, Syscalls, segments};
use super::series::{Comparison, Figure, Series, Slice};
use crate::client::{Client, Generator, Latencies, Outcome};
use crate::host;
use crate::servers::{Load, Place, Server};
use anyhow::{Context, Result, ensure};
use esca_abi::stats::Counter;
use indicatif::ProgressBar;
use std::path::Path;
use std::time::Duration;

/// How much is measured, and how surely.
#[derive(Clone)]
pub struct Plan {
    /// Seconds of load in each slice.
    pub slice: f64,
    /// Rounds between two starts of the servers; even.
    pub life: usize,
    /// Fewest rounds.
    pub least: usize,
    /// Most rounds.
    pub most: usize,
    /// Half the interval's width, relative, at which it is tight enough.
    pub tolerance: f64,
    /// The load generator, if it is not our own.
    pub client: Option<Generator>,
}

/// Where a configuration of a server runs: fresh directories below `dir`.
pub fn place(dir: &Path, name: &str, config: &Config) -> Result<Place> {
    let run = dir.join(format!("{name}-{config}").replace('/', "-"));
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
        tuned: config.tuned,
        workers: 1,
    })
}

/// One load on one server.
pub struct Job<'a> {
    /// The server.
    pub server: &'a dyn Server,
    /// Where it keeps its files.
    pub dir: &'a Path,
    /// The load.
    pub load: Load,
    /// Workers, or threads, of the server.
    pub workers: u32,
    /// The axis of a sweep and the place on it.
    pub sweep: Option<(String, u32)>,
}

impl<'a> Job<'a> {
    /// One of the server's own loads.
    pub fn new(server: &'a dyn Server, dir: &'a Path, load: &str) -> Self {
        Job {
            server,
            dir,
            load: server.load(load),
            workers: 1,
            sweep: None,
        }
    }
}

/// Checks that a server's bytes are right in a configuration.
pub fn verify(server: &dyn Server, dir: &Path, config: &Config, loads: &[&str]) -> Result<()> {
    let at = place(dir, server.name(), config)?;
    let running = Running::start(server, &at, config)?;
    server
        .verify(&at, loads)
        .with_context(|| format!("{} ({config})", server.name()))?;
    if let Some(s) = &running.stats {
        let seen = s.table().total(Counter::CallWait);
        ensure!(seen > 0, "{} never came to the library", server.name());
    }
    Ok(())
}

/// A server that is alive, and what loads it.
struct Contestant {
    running: Running,
    driver: Driver,
}

enum Driver {
    Own(Client),
    Command {
        generator: Generator,
        port: u16,
        path: String,
    },
}

impl Contestant {
    fn start(job: &Job, config: &Config, plan: &Plan) -> Result<Self> {
        let (server, load) = (job.server, &job.load);
        let mut at = place(job.dir, server.name(), config)?;
        at.workers = job.workers;
        let running = Running::start(server, &at, config)?;
        let driver = match &plan.client {
            None => Driver::Own(Client::new(at.port, &load.exchange, load.connections)?),
            Some(generator) => Driver::Command {
                generator: generator.clone(),
                port: at.port,
                path: load.path.clone(),
            },
        };
        let mut c = Contestant { running, driver };
        // Warm, and thrown away: page cache, congestion windows, predictor.
        c.load(0.2)?;
        Ok(c)
    }

    fn load(&mut self, seconds: f64) -> Result<Outcome> {
        let cpu = host::pins().map(|p| p.1);
        let out = host::on_cpu(cpu, || match &mut self.driver {
            Driver::Own(client) => client.run(Duration::from_secs_f64(seconds)),
            Driver::Command {
                generator,
                port,
                path,
            } => generator.run(*port, path, seconds),
        });
        crate::interrupt::check()?;
        out
    }

    fn slice(&mut self, life: usize, seconds: f64) -> Result<(Slice, Outcome)> {
        let (used, sent) = (self.running.usage(), segments());
        let out = self.load(seconds)?;
        let (used_now, sent_now) = (self.running.usage(), segments());
        let per_request = |a: f64, b: f64| (b - a) / out.requests;
        let slice = Slice {
            life,
            rate: out.rate,
            cpu: per_request(used.cpu, used_now.cpu),
            switches: per_request(used.switches, used_now.switches),
            segments: sent.zip(sent_now).map(|(a, b)| per_request(a, b)),
            p50: out.p50,
            p99: out.p99,
            p999: out.p999,
        };
        Ok((slice, out))
    }

    fn counter(&self, which: Counter) -> u64 {
        let stats = self.running.stats.as_ref();
        stats.map_or(0, |s| s.table().total(which))
    }

    /// Kernel entries and system calls for each request.
    fn count(&mut self, seconds: f64) -> Result<(Option<f64>, Option<f64>)> {
        let Some(counting) = Syscalls::begin(&self.running.pids()) else {
            return Ok((None, None));
        };
        let saved = self.counter(Counter::Saved);
        let out = self.load(seconds)?;
        let entries = counting.end().map(|n| n / out.requests);
        // Wraps: a flush takes back what its deferrals counted.
        let saved = self
            .counter(Counter::Saved)
            .wrapping_sub(saved)
            .cast_signed() as f64
            / out.requests;
        Ok((entries, entries.map(|n| n + saved)))
    }
}

/// Runs the rounds; `bar` goes on by `plan.most`.
pub fn compare(
    job: &Job,
    configs: &[Config],
    plan: &Plan,
    bar: &ProgressBar,
) -> Result<Comparison> {
    let mut c = Comparison {
        server: job.server.name().into(),
        load: job.load.name.clone(),
        connections: job.load.connections,
        workers: job.workers,
        sweep: job.sweep.clone(),
        series: Vec::new(),
    };
    c.series.extend(configs.iter().map(|k| Series {
        config: k.to_string(),
        slices: Vec::new(),
        entries: None,
        calls: None,
        aggregated: 0,
        latencies: Vec::new(),
    }));
    let mut latencies = vec![Latencies::new(); configs.len()];
    let end = bar.position() + plan.most as u64;
    for life in 0.. {
        bar.set_message(progress(&c));
        let start = |k: &Config| Contestant::start(job, k, plan);
        let mut alive = configs.iter().map(start).collect::<Result<Vec<_>>>()?;
        for round in 0..plan.life {
            let mut order: Vec<usize> = (0..configs.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for i in order {
                let (slice, out) = alive[i]
                    .slice(life, plan.slice)
                    .with_context(|| format!("{} {} ({})", c.server, c.load, configs[i]))?;
                c.series[i].slices.push(slice);
                if let Some(l) = &out.latencies {
                    latencies[i].merge(l);
                }
            }
            bar.inc(1);
        }
        for (s, a) in c.series.iter_mut().zip(&alive) {
            s.aggregated += a.counter(Counter::Deferred) + a.counter(Counter::Elided);
        }
        let rounds = c.series[0].slices.len();
        if rounds >= plan.most || (rounds >= plan.least && tight(&c, plan.tolerance)) {
            for (s, a) in c.series.iter_mut().zip(&mut alive) {
                (s.entries, s.calls) = a.count(plan.slice)?;
            }
            break;
        }
    }
    bar.set_position(end);
    for (s, l) in c.series.iter_mut().zip(&latencies) {
        s.latencies = l.curve();
    }
    Ok(c)
}

/// Whether every ratio of CPU and of requests/s is known well enough.
fn tight(c: &Comparison, tolerance: f64) -> bool {
    let figures: [Figure; 2] = [|s| Some(s.cpu), |s| Some(s.rate)];
    c.series[1..].iter().all(|s| {
        figures.iter().all(|f| {
            s.ratio(&c.series[0], *f)
                .is_some_and(|e| e.uncertainty() <= tolerance)
        })
    })
}

/// A line for the progress bar.
fn progress(c: &Comparison) -> String {
    let name = format!("{} {}", c.server, c.load);
    let last = c.series.last().and_then(|s| {
        let e = s.ratio(&c.series[0], |s| Some(s.cpu))?;
        Some(format!(
            ", {} CPU {:.2}x ({:.2}-{:.2})",
            s.config, e.median, e.low, e.high
        ))
    });
    name + &last.unwrap_or_default()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A series with this CPU and rate in two lives of two rounds.
    pub fn series(config: &str, cpu: f64, rate: f64) -> Series {
        let slice = |life, f: f64| Slice {
            life,
            rate: rate / f,
            cpu: cpu * f,
            switches: 0.1,
            segments: Some(2.0),
            p50: Some(100.0 * f),
            p99: Some(900.0),
            p999: None,
        };
        Series {
            config: config.into(),
            slices: [(0, 1.0), (0, 1.1), (1, 1.2), (1, 1.3)]
                .map(|(l, f)| slice(l, f))
                .to_vec(),
            entries: Some(5.0),
            calls: Some(6.0),
            aggregated: 7,
            latencies: vec![(0.0, 50.0), (0.5, 100.0), (0.99, 900.0), (1.0, 2000.0)],
        }
    }

    /// A comparison of two such series.
    pub fn comparison() -> Comparison {
        Comparison {
            server: "nginx".into(),
            load: "1 KiB".into(),
            connections: 50,
            workers: 1,
            sweep: None,
            series: vec![series("plain", 20.0, 5e4), series("coalesce", 15.0, 6e4)],
        }
    }

    #[test]
    fn ratios_pair_the_rounds() {
        // A machine that becomes slower does so for both.
        let (base, other) = (series("plain", 20.0, 5e4), series("coalesce", 15.0, 6e4));
        let e = other.ratio(&base, |s| Some(s.cpu)).unwrap();
        assert!((e.median - 0.75).abs() < 1e-9 && e.uncertainty() < 1e-9);
        assert_eq!(other.ratio(&base, |s| s.p999), None);
        assert_eq!(base.median(|s| Some(s.cpu)), Some(23.0));
        let c = comparison();
        assert!(tight(&c, 0.01));
        assert!(progress(&c).contains("coalesce CPU 0.75x"));
    }
}
