//! The machine: what it is, a network namespace of our own, processors.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// What figures depend on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    /// Release and architecture.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// How many of them.
    pub cpus: usize,
    /// The processor's weaknesses and what the kernel does about each: what a
    /// kernel entry costs hangs on it, on that for Meltdown most.
    pub mitigations: BTreeMap<String, String>,
    /// TCP congestion control of a loopback connection.
    pub congestion_control: String,
    /// Whether the figures were made in a network namespace of their own.
    pub own_network: bool,
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |s| s.trim().into())
}

impl Host {
    /// Looks.
    pub fn look(own_network: bool) -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info
            .lines()
            .find(|l| l.starts_with("model name") || l.starts_with("Model"))
            .and_then(|l| l.split_once(':'))
            .map_or("unknown", |(_, n)| n.trim());
        Host {
            kernel: format!(
                "{} {}",
                line("/proc/sys/kernel/osrelease"),
                std::env::consts::ARCH
            ),
            cpu: cpu.into(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            mitigations: mitigations(),
            congestion_control: congestion_control().unwrap_or_else(|_| "unknown".into()),
            own_network,
        }
    }

    /// The lines above a table of figures over the network.
    pub fn print(&self) {
        self.print_machine();
        let place = if self.own_network {
            "own network namespace"
        } else {
            "the machine's network (no permission for a namespace)"
        };
        println!("network     loopback, {}, {place}", self.congestion_control);
        match pins() {
            Some(_) => println!("pinned      server on one processor, client on another"),
            None => println!("pinned      no: fewer than two processors"),
        }
    }

    /// The lines of the machine alone.
    pub fn print_machine(&self) {
        println!("kernel      {}", self.kernel);
        println!("processor   {} x {}", self.cpus, self.cpu);
        let meltdown = self.mitigations.get("meltdown");
        println!("meltdown    {}", meltdown.map_or("unknown", |m| m));
    }
}

fn mitigations() -> BTreeMap<String, String> {
    let dir = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let files = dir.into_iter().flatten().flatten();
    let read = |f: fs::DirEntry| {
        let name = f.file_name().to_string_lossy().into_owned();
        (name, line(&f.path().to_string_lossy()))
    };
    files.map(read).collect()
}

/// Asks a connection: it may come from the system, the namespace or the route.
fn congestion_control() -> Result<String> {
    let l = std::net::TcpListener::bind("127.0.0.1:0")?;
    let c = std::net::TcpStream::connect(l.local_addr()?)?;
    Ok(rustix::net::sockopt::tcp_congestion(&c)?)
}

/// Moves this process (before it has threads) into a network namespace of its
/// own with loopback up and cubic; false where that is not allowed.
pub fn own_network() -> bool {
    // SAFETY: a new network namespace affects no memory and no descriptors
    // that are open; nothing was connected yet.
    let made = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
    if made.is_err() {
        return false;
    }
    let ip = |words: &str| {
        let done = Command::new("ip").args(words.split(' ')).status();
        done.is_ok_and(|s| s.success())
    };
    let up = ip("link set lo up");
    if fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic").is_err() {
        // A namespace may choose only among those the machine allows to all
        // programs; a route may name any. What is in force is printed.
        ip("route replace local 127.0.0.0/8 dev lo table local congctl cubic");
        ip("route replace local 127.0.0.1 dev lo table local congctl cubic");
    }
    up
}

/// A free port on loopback.
pub fn free_port() -> Result<u16> {
    let l = std::net::TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    Ok(l.local_addr()?.port())
}

/// The processors for server and client, if there are two.
pub fn pins() -> Option<(usize, usize)> {
    let all = allowed();
    (all.len() >= 2).then(|| (all[0], all[1]))
}

fn allowed() -> Vec<usize> {
    // Of the whole process: its first thread never pins itself for long.
    let pid = Some(rustix::process::getpid());
    let set = sched_getaffinity(pid).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|c| set.is_set(*c)).collect()
}

/// Runs `f` with this thread, and so the children it starts, on one processor.
pub fn on_cpu<R>(cpu: Option<usize>, f: impl FnOnce() -> R) -> R {
    let Some(cpu) = cpu else { return f() };
    let before = sched_getaffinity(None).unwrap_or_default();
    let mut one = CpuSet::new();
    one.set(cpu);
    // Without permission the figures are only noisier.
    let _ = sched_setaffinity(None, &one);
    let r = f();
    let _ = sched_setaffinity(None, &before);
    r
}
