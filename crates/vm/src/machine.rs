//! One run of a virtual machine: QEMU's command line, the guest's lines, and
//! whether the kernel's log is clean.

use crate::kernel::Kernel;
use anyhow::{Context, Result, bail, ensure};
use esca_vm::Line;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A machine to boot.
pub struct Machine<'a> {
    /// The kernel's image.
    pub kernel: &'a Path,
    /// The initramfs.
    pub image: &'a Path,
    /// Words for the kernel's command line.
    pub words: &'a str,
    /// What the guest's first process is to do, words joined by commas (the
    /// kernel hands what it does not know on as environment).
    pub task: &'a str,
    /// One processor that counts a nanosecond an instruction.
    pub counted: bool,
    /// When to give up on a guest that says nothing: each test says that it
    /// begins, and how many there are doesn't depend on how loaded we are.
    pub silence: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Names of the tests that passed.
    pub passed: Vec<String>,
    /// Names of those that failed, and why.
    pub failed: Vec<(String, String)>,
    /// Figures.
    pub figures: Vec<esca_vm::Figure>,
}

/// What no kernel's log may hold, its boot included. (The guest itself looks
/// at the priority of what is said once its tests have begun.)
const ALARMS: [&str; 20] = [
    "cut here",
    "WARNING:",
    "BUG:",
    "BUG ",
    "kernel BUG at",
    "Oops",
    "suspicious RCU usage",
    "Call Trace",
    "general protection fault",
    "Kernel panic",
    "KASAN:",
    "UBSAN:",
    "possible recursive locking",
    "possible circular locking",
    "INFO: task",
    "INFO: rcu",
    "rcu_preempt detected stalls",
    "soft lockup",
    "refcount_t:",
    "scheduling while atomic",
];

/// A lock that is stuck stays stuck; a virtual processor that this machine has
/// no time for goes on.
const PATIENCE: &str = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=300";

/// Ends QEMU with the value.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    fn command(&self, log: &Path) -> Command {
        // /dev/kvm is not used unasked: where virtual machines are nested it
        // may be there and hang.
        let accel = std::env::var("ESCA_VM_ACCEL").unwrap_or_else(|_| "tcg".into());
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-no-reboot", "-m", "1536", "-machine", "pc"]);
        if self.counted {
            // Instructions are counted by TCG alone.
            qemu.args(["-accel", "tcg", "-icount", "shift=0,sleep=off"])
                .args(["-cpu", "max,la57=off", "-smp", "1"]);
        } else if accel == "kvm" {
            qemu.args(["-accel", "kvm", "-cpu", "host", "-smp", "2"]);
        } else {
            qemu.args(["-accel", &accel, "-cpu", "max,la57=off", "-smp", "2"]);
        }
        let clock = if accel == "kvm" && !self.counted {
            // It has a clock of its own.
            String::new()
        } else {
            crate::clock::words(self.counted)
        };
        qemu.arg("-kernel").arg(self.kernel);
        qemu.arg("-initrd").arg(self.image);
        qemu.arg("-append").arg(format!(
            "console=ttyS0 loglevel=7 panic=-1 oops=panic rdinit=/init random.trust_cpu=on \
             {PATIENCE} {clock} {} TASK={}",
            self.words, self.task
        ));
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        qemu.args(["-serial", "stdio"]);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        // SAFETY: one system call between fork and exec. The machine does not
        // outlive us, however we end.
        unsafe {
            qemu.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        qemu
    }

    /// Boots it, shows the guest's lines and waits for its end.
    pub fn run(&self, log: &Path) -> Result<Outcome> {
        let _ = fs::remove_file(log);
        let booted = Instant::now();
        let mut child = self
            .command(log)
            .spawn()
            .context("cannot run qemu-system-x86_64; 'make setup-vm' installs it")?;
        let out = child.stdout.take().context("QEMU's output")?;
        let mut guard = Guard(child);
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n') {
                let Ok(line) = line else { break };
                let _ = tell.send(String::from_utf8_lossy(&line).trim().to_owned());
            }
        });
        let mut begun = Instant::now();
        let mut seen = Outcome::default();
        let (mut running, mut counts) = (None, None);
        loop {
            match lines.recv_timeout(self.silence) {
                Ok(line) if line.is_empty() => {}
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(line) => {
                        show(&line, begun.elapsed());
                        match line {
                            Line::Start(name) => {
                                running = Some(name);
                                begun = Instant::now();
                            }
                            Line::Passed(name) => seen.passed.push(name),
                            Line::Failed(name, why) => seen.failed.push((name, why)),
                            Line::Figure(figure) => seen.figures.push(figure),
                            // Its time limits are as much shorter as it is fast.
                            Line::Clock(seconds) => {
                                let most = 1.1 * booted.elapsed().as_secs_f64() + 1.0;
                                ensure!(
                                    self.counted || seconds <= most,
                                    "the guest's clock says {seconds:.0} s after {most:.0} s"
                                );
                            }
                            Line::End(passed, failed) => counts = Some((passed, failed)),
                            Line::Note(_) => {}
                        }
                    }
                    Err(_) => println!("  | {line}"),
                },
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let secs = self.silence.as_secs();
                    let at = running.as_deref().unwrap_or("before its first test");
                    bail!(
                        "the guest has said nothing for {secs} s, last in: {at}\n{}",
                        tail(log)
                    );
                }
            }
        }
        let status = guard.0.wait()?;
        ensure!(status.success(), "QEMU ended: {status}\n{}", tail(log));
        let at = running.as_deref().unwrap_or("its boot");
        let Some((passed, failed)) = counts else {
            // The first thing the kernel said, if it is that.
            check(log).with_context(|| format!("the guest died in {at}"))?;
            bail!("the guest died in {at}\n{}", tail(log));
        };
        let heard = (seen.passed.len(), seen.failed.len());
        ensure!(
            heard == (passed as usize, failed as usize),
            "the guest ran {passed}+{failed} tests, {heard:?} were heard of: the serial line lost some"
        );
        check(log)?;
        Ok(seen)
    }
}

/// Shows a line to whoever waits.
fn show(line: &Line, time: Duration) {
    match line {
        Line::Start(_) | Line::Figure(_) | Line::Clock(_) => {}
        Line::Passed(name) => println!("  ok      {name} ({:.1} s)", time.as_secs_f64()),
        Line::Failed(name, why) => println!("  FAILED  {name}: {why}"),
        Line::Note(text) => println!("          {text}"),
        Line::End(passed, failed) => println!("  {passed} passed, {failed} failed"),
    }
}

/// The end of a log, for an error's text.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(40);
    format!(
        "the kernel's log ({}) ends:\n{}",
        log.display(),
        lines[from..].join("\n")
    )
}

/// Refuses a log with an alarm in it, and one that is none.
fn check(log: &Path) -> Result<()> {
    let text = fs::read(log).with_context(|| format!("no log in {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    ensure!(
        text.contains("Linux version"),
        "the kernel's log is not there\n{}",
        tail(log)
    );
    for (i, line) in text.lines().enumerate() {
        if ALARMS.iter().any(|a| line.contains(a)) {
            let after: Vec<_> = text.lines().skip(i).take(40).collect();
            bail!(
                "the kernel's log ({}) says:\n{}",
                log.display(),
                after.join("\n")
            );
        }
    }
    Ok(())
}

/// The name of a run.
pub fn name(kernel: &Kernel, words: &str, task: &str) -> String {
    format!("{} {words} {task}", kernel.name).replace([' ', '=', ','], "-")
}

/// Where a run's log goes.
pub fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}
