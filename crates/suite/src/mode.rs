//! Without ESCA, or under one of its policies.

use crate::dir::Dir;
use crate::shared::Shared;
use esca_abi::json::BACKENDS;
use esca_abi::stats::{ALL, Counter, NAMES, Table};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Against the plain kernel.
    Plain,
    /// Under the preload library, with this policy.
    Esca(&'static str),
    /// The same by `esca run`, with this policy and this backend. Its standard
    /// streams are the test's.
    Run(&'static str, &'static str),
}

/// Every policy that aggregates. `ESCA_SUITE=plain` gives the plain kernel in
/// their place: that shows whether a test itself always comes out the same.
#[must_use]
pub fn policies() -> [Mode; 2] {
    if std::env::var_os("ESCA_SUITE").is_some_and(|s| s == "plain") {
        return [Mode::Plain; 2];
    }
    [Mode::Esca("coalesce"), Mode::Esca("batch")]
}

/// Without ESCA, and under each policy.
pub fn modes() -> impl Iterator<Item = Mode> {
    [Mode::Plain].into_iter().chain(policies())
}

/// The preload library: `ESCA_LIB`, or the workspace's release build.
#[must_use]
pub fn library() -> PathBuf {
    let built = || crate::build::workspace().join("target/release/libesca_preload.so");
    let path = std::env::var_os("ESCA_LIB").map_or_else(built, PathBuf::from);
    path.canonicalize().unwrap_or_else(|e| {
        panic!(
            "no preload library: run make first (or set ESCA_LIB)\n{}: {e}",
            path.display()
        )
    })
}

/// The preload library's file name.
#[must_use]
pub fn library_name() -> String {
    let path = library();
    let name = path.file_name().expect("a file's path");
    name.to_string_lossy().into_owned()
}

/// What is preloaded beside a command's own libraries.
fn preload(own: Option<OsString>) -> OsString {
    match own {
        None => library().into(),
        Some(own) if own.to_string_lossy().contains(&library_name()) => own,
        Some(own) => [library().into(), own].join(OsStr::new(":")),
    }
}

/// The statistics of the processes of one run.
pub struct Stats {
    table: Shared<Table>,
    _dir: Dir,
}

impl Mode {
    /// Sets a command up to run this way. The statistics fill while it runs.
    ///
    /// Libraries that the command's own LD_PRELOAD names stay, behind ours
    /// unless it names ours too.
    pub fn apply(self, command: &mut Command) -> Option<Stats> {
        let own = command.get_envs().find(|(name, _)| *name == "LD_PRELOAD");
        let own = own.and_then(|(_, value)| value).map(OsString::from);
        for (name, _) in std::env::vars_os() {
            let preload = name == "LD_PRELOAD" && own.is_none();
            if preload || name.to_string_lossy().starts_with("ESCA_") {
                command.env_remove(name);
            }
        }
        match self {
            Mode::Plain => return None,
            Mode::Esca(policy) => {
                command
                    .env("LD_PRELOAD", preload(own))
                    .env("ESCA_POLICY", policy);
                if let Some(backend) = backend() {
                    command.env("ESCA_BACKEND", backend);
                }
            }
            Mode::Run(policy, backend) => by_tool(command, policy, backend),
        }
        let dir = Dir::new();
        let table = Shared::<Table>::create(&dir.path().join("stats"));
        table.init();
        command.env("ESCA_STATS_SHM", table.path());
        Some(Stats { table, _dir: dir })
    }
}

/// The backend that the tests are to run with: `ESCA_SUITE_BACKEND`, or else
/// what the library chooses.
fn backend() -> Option<String> {
    std::env::var("ESCA_SUITE_BACKEND").ok()
}

/// Has `esca run` start what the command would.
fn by_tool(command: &mut Command, policy: &str, backend: &str) {
    let mut by = Command::new("esca");
    by.args(["run", "--policy", policy, "--backend", backend, "--"]);
    by.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => by.env(name, value),
            None => by.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        by.current_dir(dir);
    }
    by.env("ESCA_LIB", library());
    *command = by;
}

impl Stats {
    /// A counter's total over all processes, up to now.
    #[must_use]
    pub fn get(&self, c: Counter) -> u64 {
        self.table.total(c)
    }

    /// Asserts that the library was at work: it saw the program's waits.
    pub fn assert_active(&self) {
        let seen = self.get(Counter::CallWait) > 0;
        assert!(seen, "the library was never active: {}", self.describe());
        if let Some(asked) = backend() {
            assert_eq!(self.backend(), asked, "another backend");
        }
    }

    /// The backend that the library uses.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        let number = self
            .table
            .backend
            .load(std::sync::atomic::Ordering::Relaxed);
        BACKENDS.get(number as usize).copied().unwrap_or("unknown")
    }

    /// Processes that made an engine.
    #[must_use]
    pub fn processes(&self) -> u32 {
        self.table
            .processes
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Why the library did less than it was asked for.
    #[must_use]
    pub fn noted(&self) -> Vec<&'static str> {
        let all = self.table.noted.all();
        all.map(|(status, _)| status.name()).collect()
    }

    /// Asserts that something was aggregated: the run tested ESCA and not
    /// the plain kernel.
    pub fn assert_aggregated(&self) {
        self.assert_active();
        assert!(
            self.get(Counter::Deferred) + self.get(Counter::Elided) > 0,
            "nothing was aggregated: {}",
            self.describe()
        );
    }

    /// Every counter that isn't zero.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut all = String::new();
        for (c, (group, name)) in ALL.iter().zip(NAMES) {
            let n = self.get(*c);
            if n > 0 {
                all += &format!("{group}.{name}={n} ");
            }
        }
        all
    }
}
