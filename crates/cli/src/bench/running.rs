//! A running server and what it uses: CPU time, context switches, system
//! calls, TCP segments.

use super::config::Config;
use crate::run::{find_library, preload};
use crate::servers::{Place, Server};
use crate::stats::Shared;
use crate::{host, interrupt};
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that was started here; it ends with the value.
pub struct Running {
    child: Child,
    /// Its counters, where it runs with ESCA.
    pub stats: Option<Shared>,
}

impl Running {
    /// Starts `server` on its processor and waits until it accepts.
    pub fn start(server: &dyn Server, place: &Place, config: &Config) -> Result<Self> {
        let words = server.command(place)?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(place.run.join("stderr"))?);
        let mut stats = None;
        if let Some(policy) = &config.policy {
            let shared = Shared::new()?;
            preload(&mut command, &find_library().map_err(|e| anyhow!(e))?);
            command
                .env("ESCA_POLICY", policy)
                .env("ESCA_STATS_SHM", shared.path());
            if let Some(backend) = &config.backend {
                command.env("ESCA_BACKEND", backend);
            }
            stats = Some(shared);
        }
        interrupt::check()?;
        // Several workers want several processors.
        let cpu = host::pins().map(|p| p.0).filter(|_| place.workers <= 1);
        let child = host::on_cpu(cpu, || command.spawn())
            .with_context(|| format!("cannot start {}", server.name()))?;
        let mut running = Running { child, stats };
        running.wait_ready(server, place)?;
        Ok(running)
    }

    fn wait_ready(&mut self, server: &dyn Server, place: &Place) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", place.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(place.run.join("stderr")).unwrap_or_default();
                let log = match log.trim() {
                    "" => "it said nothing; does it stay in the foreground?",
                    said => said,
                };
                bail!("{} ended at once ({status}): {log}", server.name());
            }
            if Instant::now() > end {
                bail!("{} does not accept on port {}", server.name(), place.port);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The server's processes: the one started and all below it.
    pub fn pids(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let mut i = 0;
        while let Some(pid) = all.get(i).copied() {
            for task in tasks(pid) {
                let below = fs::read_to_string(task.join("children")).unwrap_or_default();
                all.extend(
                    below
                        .split_whitespace()
                        .filter_map(|p| p.parse::<u32>().ok()),
                );
            }
            i += 1;
        }
        all
    }

    /// What all its threads used so far.
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for task in self.pids().into_iter().flat_map(tasks) {
            // A thread that ends meanwhile has nothing to add.
            let read = |name| fs::read_to_string(task.join(name)).unwrap_or_default();
            let ns = read("schedstat");
            let ns = ns.split_whitespace().next().and_then(|n| n.parse().ok());
            sum.cpu += ns.unwrap_or(0.0) / 1e3;
            let switches = read("status");
            let switches = switches.lines().filter(|l| l.contains("ctxt_switches:"));
            let numbers = switches.filter_map(|l| l.split_whitespace().last()?.parse::<f64>().ok());
            sum.switches += numbers.sum::<f64>();
        }
        sum
    }
}

/// What a server used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in microseconds, from schedstat.
    pub cpu: f64,
    /// Context switches.
    pub switches: f64,
}

fn tasks(pid: u32) -> Vec<std::path::PathBuf> {
    let dir = fs::read_dir(format!("/proc/{pid}/task"));
    dir.into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        let all = self.pids();
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let end = Instant::now() + Duration::from_secs(3);
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > end {
                // Its workers first, while their numbers are surely theirs.
                for p in all.iter().rev().filter_map(|p| Pid::from_raw(*p as i32)) {
                    let _ = kill_process(p, Signal::KILL);
                }
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// TCP segments sent in this network namespace so far (both directions, as
/// client and server are both in it).
pub fn segments() -> Option<f64> {
    let text = fs::read_to_string("/proc/net/snmp").ok()?;
    let mut tcp = text.lines().filter(|l| l.starts_with("Tcp:"));
    let (names, values) = (tcp.next()?, tcp.next()?);
    let at = names.split_whitespace().position(|n| n == "OutSegs")?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// Counts the system calls of some processes between its start and its end.
pub struct Syscalls {
    counter: Child,
    out: tempfile::NamedTempFile,
    perf: bool,
}

impl Syscalls {
    /// Begins: by perf's trace point, or by strace (slower, same counts), where
    /// one of them is installed and allowed.
    pub fn begin(pids: &[u32]) -> Option<Self> {
        Self::by(pids, true).or_else(|| Self::by(pids, false))
    }

    fn by(pids: &[u32], perf: bool) -> Option<Self> {
        let out = tempfile::NamedTempFile::new().ok()?;
        let list = pids
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let mut c = Command::new(if perf { "perf" } else { "strace" });
        if perf {
            c.args([
                "stat",
                "-x,",
                "-e",
                "raw_syscalls:sys_enter",
                "-p",
                &list,
                "-o",
            ]);
            c.arg(out.path());
        } else {
            c.args(["-f", "-c", "-o"])
                .arg(out.path())
                .args(["-p", &list]);
        }
        let quiet = c
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut counter = quiet.spawn().ok()?;
        // Attaching takes a moment; a tool that cannot do it ends.
        std::thread::sleep(Duration::from_millis(300));
        match counter.try_wait() {
            Ok(None) => Some(Syscalls { counter, out, perf }),
            _ => None,
        }
    }

    /// Ends; the number of calls.
    pub fn end(mut self) -> Option<f64> {
        let _ = kill_process(Pid::from_child(&self.counter), Signal::INT);
        let _ = self.counter.wait();
        let text = fs::read_to_string(self.out.path()).ok()?;
        if self.perf {
            let row = text.lines().find(|l| l.contains("sys_enter"))?;
            return row.split(',').next()?.parse().ok();
        }
        let row = text.lines().rfind(|l| l.trim_end().ends_with("total"))?;
        row.split_whitespace().nth(3)?.parse().ok()
    }
}
