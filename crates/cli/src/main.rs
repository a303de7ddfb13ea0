//! The `esca` command: run a server with ESCA, show and measure what it gains.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod bench;
mod client;
mod doctor;
mod enable;
mod generate;
mod host;
mod interrupt;
mod observe;
mod pingpong;
mod run;
mod serve;
mod servers;
mod stat;
mod stats;
mod workload;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Effective System Call Aggregation for unmodified servers.
#[derive(Parser)]
#[command(name = "esca", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program with ESCA
    Run(run::Args),
    /// Show what ESCA gains on a server of this machine, in about a minute
    Demo(bench::demo::Args),
    /// Show what a wrapped server is saving, while it runs
    Stat(stat::Args),
    /// Say what this machine offers and what a server would gain
    Doctor(doctor::Args),
    /// Have systemd run a service with ESCA: writes a drop-in
    Enable(enable::EnableArgs),
    /// Remove the drop-in again
    Disable(enable::DisableArgs),
    /// Measure configurations of servers side by side
    Bench(Box<bench::Args>),
    /// What a system call costs, plain and by each backend
    Micro(bench::micro::Args),
    /// Write the workload files: a1.html, a20.html, ... (that many KiB each)
    Workload(workload::Args),
    /// Run one of the known servers in the foreground, without or with ESCA
    Serve(serve::Args),
    /// Write man pages and completions (for the package)
    #[command(hide = true)]
    Generate(generate::Args),
    /// Asks for an io_uring (for the doctor)
    #[command(hide = true)]
    ProbeUring(doctor::ProbeArgs),
    /// A server that answers one message at a time (for the benchmark)
    #[command(hide = true)]
    PingpongServer(pingpong::ServerArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(a) => return run::main(&a),
        Command::Demo(a) => bench::demo::main(&a),
        Command::Bench(a) => bench::main(&a),
        Command::Stat(a) => stat::main(&a),
        Command::Doctor(a) => doctor::main(&a),
        Command::ProbeUring(a) => return doctor::probe(&a),
        Command::Enable(a) => enable::enable(&a),
        Command::Disable(a) => enable::disable(&a),
        Command::Micro(a) => bench::micro::main(&a),
        Command::Generate(a) => generate::main(&a),
        Command::Workload(a) => workload::main(&a),
        Command::Serve(a) => serve::main(&a),
        Command::PingpongServer(a) => pingpong::server(&a),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("esca: {e:#}");
            ExitCode::FAILURE
        }
    }
}
