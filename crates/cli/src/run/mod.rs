//! `esca run`: checks the program, sets the environment, and becomes it (or
//! stays beside it, to write the statistics).

mod binary;
mod library;
mod supervise;

use esca_engine::backend;
use esca_engine::settings::{BackendKind, Settings};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub use library::{find as find_library, preload};

/// Exit codes of env(1) and nohup(1), which wrap programs too.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
const USAGE: u8 = 2;

#[derive(clap::Args)]
pub struct Args {
    /// off, coalesce (default), batch, or watch (counts what coalesce would
    /// do and changes nothing)
    #[arg(long, env = "ESCA_POLICY")]
    policy: Option<String>,
    /// Rules to use, e.g. `all`, `-cork` or `merge,drained`
    #[arg(long, env = "ESCA_RULES", allow_hyphen_values = true)]
    rules: Option<String>,
    /// auto (default: the kernel module where it is loaded), direct or kmod
    #[arg(long, env = "ESCA_BACKEND")]
    backend: Option<String>,
    /// Write statistics as JSON to FILE, every second and at the end (without
    /// FILE: to standard error, at the end)
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option)]
    stats: Option<Option<PathBuf>>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Why the program was not started: a line and an exit code.
pub struct Refusal {
    code: u8,
    why: String,
}

impl Refusal {
    fn cannot(why: impl Into<String>) -> Self {
        Refusal {
            code: CANNOT_RUN,
            why: why.into(),
        }
    }
}

/// Whether a program can be wrapped; if not, why.
pub fn check_program(path: &Path) -> Result<(), String> {
    binary::check(path).map(drop).map_err(|r| r.why)
}

pub fn main(args: &Args) -> ExitCode {
    match start(args) {
        Ok(code) => code,
        Err(r) => {
            eprintln!("esca: {}", r.why);
            ExitCode::from(r.code)
        }
    }
}

fn start(args: &Args) -> Result<ExitCode, Refusal> {
    let (p, r, b) = (&args.policy, &args.rules, &args.backend);
    let settings = Settings::from_values(p.as_deref(), r.as_deref(), b.as_deref());
    let settings = settings.map_err(|e| Refusal {
        code: USAGE,
        why: e.to_string(),
    })?;
    if settings.backend == BackendKind::Kmod {
        backend::probe().map_err(|why| Refusal::cannot(format!("backend kmod: {why}")))?;
    }
    let program = binary::check(Path::new(&args.command[0]))?;
    let library = library::find().map_err(Refusal::cannot)?;
    let mut command = Command::new(&program);
    command.arg0(&args.command[0]).args(&args.command[1..]);
    for (name, value) in [("ESCA_POLICY", p), ("ESCA_RULES", r), ("ESCA_BACKEND", b)] {
        if let Some(v) = value {
            command.env(name, v);
        }
    }
    preload(&mut command, &library);
    let failed =
        |e: std::io::Error| Refusal::cannot(format!("cannot run {}: {e}", program.display()));
    match &args.stats {
        None => Err(failed(command.exec())),
        Some(file) => {
            supervise::run(command, file.as_deref()).map_err(|e| Refusal::cannot(format!("{e:#}")))
        }
    }
}
