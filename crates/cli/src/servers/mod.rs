//! The servers of the matrix: one file each behind [`Server`], and this list.

mod custom;
mod lighttpd;
mod lwan;
mod nginx;
mod pingpong;
mod redis;

pub use custom::Custom;

use crate::client::Exchange;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where a server finds and keeps its files.
pub struct Place {
    /// The workload files.
    pub root: PathBuf,
    /// Configuration, pid file, logs.
    pub run: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The hand-tuned configuration, where the server has one.
    pub tuned: bool,
    /// Workers, or threads, of the server.
    pub workers: u32,
}

/// What the benchmark asks of a server.
pub struct Load {
    /// Its name.
    pub name: String,
    /// What goes over each connection.
    pub exchange: Exchange,
    /// How many connections.
    pub connections: u32,
    /// The path, for a load generator that wants a URL.
    pub path: String,
}

/// A server that can be launched, verified and put under load.
pub trait Server: Sync {
    /// The name on the command line.
    fn name(&self) -> &str;
    /// The program and its arguments, to run in the foreground. May write its
    /// configuration to `place.run`.
    fn command(&self, place: &Place) -> Result<Vec<OsString>>;
    /// Fetches the known content of these loads and compares every byte.
    fn verify(&self, place: &Place, loads: &[&str]) -> Result<()>;
    /// One of [`Server::loads`].
    fn load(&self, what: &str) -> Load;
    /// The names of the loads there are.
    fn loads(&self) -> &'static [&'static str];
    /// The flag that makes the program print its version.
    fn version_flag(&self) -> &'static str;
    /// Whether it has a hand-tuned configuration.
    fn has_tuning(&self) -> bool {
        false
    }
}

/// Every server.
pub const ALL: &[&dyn Server] = &[
    &nginx::Nginx,
    &lighttpd::Lighttpd,
    &redis::Redis,
    &lwan::Lwan,
    &pingpong::Pingpong,
];

/// The server called `name`.
pub fn find(name: &str) -> Result<&'static dyn Server> {
    match ALL.iter().find(|s| s.name() == name) {
        Some(s) => Ok(*s),
        None => {
            let known: Vec<_> = ALL.iter().map(|s| s.name()).collect();
            bail!("unknown server '{name}'; known: {}", known.join(", "))
        }
    }
}

/// Finds a server's program, also in the directories of system programs.
fn program(name: &str, package: &str) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin".into(), "/usr/local/sbin".into(), "/sbin".into()]);
    let dirs = std::env::join_paths(dirs)?;
    which::which_in(name, Some(dirs), "/")
        .map(PathBuf::into_os_string)
        .with_context(|| format!("{name} is not installed; 'make setup' installs {package}"))
}

/// Fills a configuration's @NAMES@ in and writes it to the run directory.
fn configure(place: &Place, name: &str, text: &str, more: &[(&str, &str)]) -> Result<PathBuf> {
    let mut text = text
        .replace("@PORT@", &place.port.to_string())
        .replace("@ROOT@", &place.root.to_string_lossy())
        .replace("@RUN@", &place.run.to_string_lossy());
    for (from, to) in more {
        text = text.replace(from, to);
    }
    let path = place.run.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Compares the files of these loads with what the server answers.
fn verify_files(place: &Place, loads: &[&str]) -> Result<()> {
    for kib in loads.iter().map(|l| size(l)) {
        let url = format!("http://127.0.0.1:{}/a{kib}.html", place.port);
        let got = ureq::get(&url)
            .call()
            .with_context(|| format!("cannot fetch {url}"))?
            .into_body()
            .with_config()
            .limit(1 << 20)
            .read_to_vec()?;
        if got != crate::workload::page(kib) {
            bail!("{url} was not served as it is on disk");
        }
    }
    Ok(())
}

/// GET of one of the workload files by 50 clients; `what` is its size, as in
/// "20 KiB".
fn get(what: &str) -> Load {
    let kib = size(what);
    let path = format!("/a{kib}.html");
    Load {
        name: what.into(),
        exchange: Exchange::get(&path, Some(crate::workload::page(kib))),
        connections: 50,
        path,
    }
}

/// The size that the name of a load begins with, in KiB.
fn size(load: &str) -> usize {
    let first = load.split(' ').next();
    first.and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// A path as an argument.
fn arg(p: &Path) -> OsString {
    p.as_os_str().to_owned()
}
