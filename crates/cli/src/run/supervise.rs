//! Staying beside the program to write its statistics: signals go on to it,
//! its end becomes ours.

use crate::stats::Shared;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::*;
use signal_hook::iterator::Signals;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const FORWARDED: &[i32] = &[SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH];

/// Runs `command` to its end. The statistics go to `file` every second and at
/// the end, or to standard error at the end.
pub fn run(mut command: Command, file: Option<&Path>) -> Result<ExitCode> {
    let shared = Shared::new()?;
    command.env("ESCA_STATS_SHM", shared.path());
    if let Some(f) = file {
        shared
            .write(f)
            .with_context(|| format!("cannot write statistics to {}", f.display()))?;
    }
    // Before the start, so that no signal is lost.
    let mut signals = Signals::new(FORWARDED)?;
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let pid = Pid::from_child(&child);
    let forward = signals.handle();
    let hands = std::thread::spawn(move || {
        for s in signals.forever() {
            if let Some(s) = Signal::from_named_raw(s) {
                // Gone already: its end is being reported.
                let _ = kill_process(pid, s);
            }
        }
    });
    let (ended, wait) = channel();
    std::thread::spawn(move || ended.send(child.wait()));
    let status = loop {
        match wait.recv_timeout(Duration::from_secs(1)) {
            Ok(status) => break status?,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(f) = file {
                    let _ = shared.write(f);
                }
            }
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("lost the program's end"),
        }
    };
    forward.close();
    let _ = hands.join();
    match file {
        Some(f) => shared.write(f)?,
        None => eprint!("{}", shared.json()),
    }
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(code as u8))
}
