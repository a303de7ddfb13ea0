//! `esca doctor`: what this machine offers, what ESCA would choose and why,
//! and what a server of the user's would gain.

mod forecast;
mod kernel;
mod machine;
mod replay;
mod tracing;
mod watch;

pub use machine::{ProbeArgs, probe, uring_works};

use crate::observe::Family;
use anyhow::{Result, bail};
use forecast::Forecast;
use machine::Machine;
use serde::Serialize;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Forecast for a running server, observed through the kernel's trace
    /// points (its workers are found)
    #[arg(long, conflicts_with = "command")]
    pid: Option<i32>,
    /// How long to observe; a command is ended then (0: when it ends)
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u32,
    /// Load for the command: run by sh when it takes connections, and the
    /// command is ended after it
    #[arg(long, value_name = "CMD", requires = "command")]
    client: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Forecast for this command, run with policy watch
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
struct Diagnosis {
    machine: Machine,
    forecasts: Vec<Forecast>,
}

pub fn main(args: &Args) -> Result<()> {
    // What cannot be observed is said before anything else.
    if let Some(pid) = args.pid {
        Family::of(pid)?;
    } else if let Some(program) = args.command.first() {
        crate::run::check_program(Path::new(program)).map_err(anyhow::Error::msg)?;
    }
    let machine = Machine::look();
    if !args.json {
        print!("{}", machine.render());
    }
    let observe = Duration::from_secs(args.seconds.into());
    let (forecasts, asked) = match args.pid {
        Some(pid) => (tracing::forecast(pid, observe)?, true),
        None if args.command.is_empty() => (Vec::new(), false),
        None => {
            let client = args.client.as_deref();
            (watch::forecast(&args.command, client, observe)?, true)
        }
    };
    if args.json {
        let all = Diagnosis { machine, forecasts };
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    if !asked {
        println!("\nA forecast for a server: esca doctor -- CMD, or esca doctor --pid PID");
        return Ok(());
    }
    println!();
    if forecasts.is_empty() {
        bail!("no request was answered while it was observed; put load on the server meanwhile");
    }
    for f in &forecasts {
        print!("{}", f.render());
    }
    Ok(())
}
