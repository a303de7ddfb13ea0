//! The forecast for a command: it runs with the library in policy watch,
//! which counts what the rules would do and changes nothing.

use super::forecast::Forecast;
use crate::observe::{Counts, Family, Standing};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Between two looks at the command's processes.
const LOOK: Duration = Duration::from_millis(50);
/// How long a command may take to begin waiting for events, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child that is ended in any case.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        let end = Instant::now() + PATIENCE;
        // Gone already, or about to go.
        let _ = kill_process(pid, Signal::TERM);
        while Instant::now() < end {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `words`, with `client` as its load, for `observe` or until either
/// ends; a forecast for each process that answered requests.
pub fn forecast(
    words: &[OsString],
    client: Option<&str>,
    observe: Duration,
) -> Result<Vec<Forecast>> {
    let library = crate::run::find_library().map_err(anyhow::Error::msg)?;
    crate::interrupt::watch()?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("ESCA_POLICY", "watch");
    for name in ["ESCA_STATS_SHM", "ESCA_STATS", "ESCA_RULES"] {
        command.env_remove(name);
    }
    crate::run::preload(&mut command, &library);
    let shown = words[0].display();
    let child = command.spawn();
    let mut server = Ended(child.with_context(|| format!("cannot run {shown}"))?);
    let mut family = Family::of(server.0.id() as i32)?;
    let mut seen = BTreeMap::new();
    let (mut start, mut load) = (Instant::now(), None);
    loop {
        if let Some(status) = server.0.try_wait()? {
            if seen.is_empty() {
                bail!("{shown} ended ({status}) before it waited for events");
            }
            break;
        }
        look(&mut family, &mut seen)?;
        let ready = family
            .members
            .iter()
            .any(|m| m.standing == Standing::Counting);
        if !ready {
            if start.elapsed() > PATIENCE {
                bail!("{shown} does not wait for events: nothing could be observed");
            }
            std::thread::sleep(LOOK);
            if crate::interrupt::check().is_err() {
                break;
            }
            continue;
        }
        if let (None, Some(client)) = (&load, client) {
            let sh = Command::new("sh").arg("-c").arg(client).spawn();
            load = Some(Ended(sh.context("cannot run sh")?));
            start = Instant::now();
        }
        let done = match &mut load {
            Some(l) => l.0.try_wait()?.is_some(),
            None => !observe.is_zero() && start.elapsed() > observe,
        };
        if done || crate::interrupt::check().is_err() {
            look(&mut family, &mut seen)?;
            break;
        }
        std::thread::sleep(LOOK);
    }
    drop(load);
    drop(server);
    let all = seen.iter();
    Ok(all
        .filter_map(|(pid, (name, counts))| Forecast::new(*pid, name, counts, None))
        .collect())
}

/// Keeps the newest counts of each process, also of those that end.
fn look(family: &mut Family, seen: &mut BTreeMap<i32, (String, Counts)>) -> Result<()> {
    family.look()?;
    for m in &family.members {
        if m.standing == Standing::Counting {
            seen.insert(m.pid, (m.name.clone(), m.counts.clone()));
        }
    }
    Ok(())
}
