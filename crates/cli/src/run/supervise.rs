//! Staying beside the program to write its statistics: signals go on to it,
//! its end becomes ours.

use crate::stats::Shared;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::*;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const FORWARDED: &[i32] = &[SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH];

/// The signals that this process ignores, a bit each (proc(5), `SigIgn`).
fn ignored() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok())
        .unwrap_or(0)
}

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
    // Before the start, so that no signal is lost. One that is ignored (by
    // nohup) stays ignored in the program.
    let ignored = ignored();
    let forwarded = FORWARDED.iter().filter(|s| ignored & (1 << (**s - 1)) == 0);
    let mut signals = SignalsInfo::<WithOrigin>::new(forwarded)?;
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let pid = Pid::from_child(&child);
    let forward = signals.handle();
    let hands = std::thread::spawn(move || {
        for got in signals.forever() {
            // A terminal sends to the whole group, so to the program too.
            if got.cause == Cause::Kernel {
                continue;
            }
            if let Some(s) = Signal::from_named_raw(got.signal) {
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
