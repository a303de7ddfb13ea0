//! The suites. To add one: a file here and a line in the list.

mod lighttpd;
mod memcached;
mod redis;

use crate::outcome::Outcome;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every suite.
pub const ALL: &[&dyn Suite] = &[&redis::Redis, &lighttpd::Lighttpd, &memcached::Memcached];

/// How long one unit may take before it is ended and counts as failed.
const LIMIT: &str = "1800";

/// A suite of tests that somebody else wrote.
pub trait Suite: Sync {
    /// Debian's source package, which has the tests.
    fn source(&self) -> &'static str;
    /// Debian's binary package, which has the server.
    fn package(&self) -> &'static str;
    /// The server.
    fn program(&self) -> &'static str;
    /// Makes a copy of the source ready: builds what helpers it needs.
    ///
    /// # Errors
    /// When it cannot.
    fn prepare(&self, tree: &Path) -> Result<()>;
    /// Where in the copy the suite looks for its server.
    fn launcher(&self) -> &'static str;
    /// The units that can run by themselves; with `small`, those that are
    /// quick and that aggregate.
    ///
    /// # Errors
    /// When the copy has none.
    fn units(&self, tree: &Path, small: bool) -> Result<Vec<String>>;
    /// Runs a unit. `place` is another number for each copy that runs at the
    /// same time, for ports.
    ///
    /// # Errors
    /// When it cannot be run; that its tests fail is no error.
    fn run(&self, tree: &Path, unit: &str, place: u16) -> Result<Outcome>;
    /// Policies in which something must have been aggregated; in the others
    /// the library must have been at work.
    fn aggregates(&self, policy: &str) -> bool;
}

/// What a unit's command printed, its standard error included; the command
/// fails where tests do.
fn printed(command: &Command) -> Result<String> {
    let mut limited = Command::new("timeout");
    limited.args(["-k", "10", LIMIT]).arg(command.get_program());
    limited.args(command.get_args());
    limited.current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let out = limited
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

/// Compiles a C helper of the suite beside its source.
fn compile(tree: &Path, source: &str) -> Result<()> {
    let source = tree.join(source);
    let done = Command::new("gcc")
        .args(["-O1", "-w", "-o"])
        .arg(source.with_extension(""))
        .arg(&source)
        .output()
        .context("cannot run gcc")?;
    anyhow::ensure!(
        done.status.success(),
        "cannot compile {}: {}",
        source.display(),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

/// The names of Perl tests in a directory, in order.
fn perl_tests(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("no {}", dir.display()))?;
    let paths = entries.filter_map(|e| Some(e.ok()?.path()));
    let tests = paths.filter(|p: &PathBuf| p.extension().is_some_and(|e| e == "t"));
    let mut names: Vec<String> = tests
        .filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}
