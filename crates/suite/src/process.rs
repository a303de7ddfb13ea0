//! What /proc tells of servers' processes.

use crate::eventually;
use rustix::process::{Pid, Resource, getrlimit, setrlimit};
use std::fs;

/// A field of a process's status, in the unit it has there; `None` when the
/// process is gone.
fn field(pid: Pid, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The most memory a process has had resident, in bytes.
///
/// # Panics
/// When it is gone.
#[must_use]
pub fn peak_resident(pid: Pid) -> u64 {
    field(pid, "VmHWM").expect("a running process") * 1024
}

/// The address space of a process, in bytes.
///
/// # Panics
/// When it is gone.
#[must_use]
pub fn address_space(pid: Pid) -> u64 {
    field(pid, "VmSize").expect("a running process") * 1024
}

/// Whether a process is there and not a zombie.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    field(pid, "VmSize").is_some()
}

/// Whether a process's first thread waits inside a system call.
#[must_use]
pub fn sleeps(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The name before it may hold anything.
    stat.is_ok_and(|s| s.rsplit(") ").next().is_some_and(|s| s.starts_with('S')))
}

/// The children of a process that are not zombies.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let number = |e: fs::DirEntry| e.file_name().to_str()?.parse().ok();
    let all = all.filter_map(number).filter_map(Pid::from_raw);
    let parent = pid.as_raw_nonzero().get() as u64;
    let mine = |p: &Pid| field(*p, "PPid") == Some(parent) && is_alive(*p);
    all.filter(mine).collect()
}

/// Waits until there are `n` children of which none is in `but`; which.
#[allow(clippy::must_use_candidate, reason = "waiting may be all")]
pub fn workers(master: Pid, n: usize, but: &[Pid]) -> Vec<Pid> {
    eventually("the workers", || {
        let all = children(master);
        (all.len() == n && !all.iter().any(|p| but.contains(p))).then_some(all)
    })
}

/// Lets this process, and what it starts from now on, have so many
/// descriptors.
///
/// # Panics
/// Where that is not allowed.
pub fn allow_descriptors(n: usize) {
    let n = n as u64;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.current.map(|c| c.max(n));
    limit.maximum = limit.maximum.map(|m| m.max(n));
    setrlimit(Resource::Nofile, limit)
        .unwrap_or_else(|e| panic!("{n} descriptors (ulimit -n) are needed here: {e}"));
}
