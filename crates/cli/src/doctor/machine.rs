//! The machine: facts, and what ESCA would choose because of them.

use super::kernel;
use crate::host::Host;
use anyhow::Result;
use esca_engine::backend;
use serde::Serialize;
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// From here on a kernel entry is dear: page-table isolation, a small core.
const DEAR_NS: f64 = 250.0;

/// Everything that was found.
#[derive(Serialize)]
pub struct Machine {
    host: Host,
    mitigations: Vec<(String, String)>,
    /// Of one system call that does nothing.
    kernel_entry_ns: f64,
    io_uring: String,
    module: String,
    secure_boot: &'static str,
    lockdown: String,
    container: String,
    seccomp: &'static str,
    trace_points: String,
    library: String,
    /// What ESCA would choose, and why: one sentence each.
    choice: Vec<String>,
}

impl Machine {
    /// Looks; takes some milliseconds.
    pub fn look() -> Self {
        let kernel_entry_ns = entry_cost();
        let library = crate::run::find_library();
        Machine {
            host: Host::look(false),
            mitigations: kernel::mitigations(),
            kernel_entry_ns,
            io_uring: format!("{}; {}", uring(), kernel::uring_sysctl()),
            module: kernel::module(),
            secure_boot: kernel::secure_boot(),
            lockdown: kernel::lockdown(),
            container: kernel::container(),
            seccomp: kernel::seccomp(),
            trace_points: kernel::trace_points(),
            choice: choice(kernel_entry_ns),
            library: library.map_or_else(|e| e, |p| p.display().to_string()),
        }
    }

    /// As lines.
    pub fn render(&self) -> String {
        let mut t = String::new();
        let mut say = |what: &str, text: &str| {
            let _ = writeln!(t, "{what:<13} {text}");
        };
        say("kernel", &self.host.kernel);
        let cpu = format!("{} x {}", self.host.cpus, self.host.cpu);
        say("processor", &cpu);
        for (name, state) in &self.mitigations {
            say("mitigation", &format!("{name}: {state}"));
        }
        if self.mitigations.is_empty() {
            say("mitigation", "none needed");
        }
        let cost = format!("{:.0} ns, measured now", self.kernel_entry_ns);
        say("kernel entry", &cost);
        say("io_uring", &self.io_uring);
        say("module", &self.module);
        say("secure boot", self.secure_boot);
        say("lockdown", &self.lockdown);
        say("container", &self.container);
        say("seccomp", self.seccomp);
        say("trace points", &self.trace_points);
        say("congestion", &self.host.congestion_control);
        say("library", &self.library);
        for c in &self.choice {
            say("choice", c);
        }
        t
    }
}

/// What one kernel entry costs: the least of many rounds, so that others on
/// the machine do not count.
fn entry_cost() -> f64 {
    const CALLS: u32 = 1000;
    let round = || {
        let start = Instant::now();
        for _ in 0..CALLS {
            // Asked of the kernel each time: libc would answer some by itself.
            // SAFETY: a call without arguments that cannot fail.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..200).map(|_| round()).fold(f64::MAX, f64::min)
}

fn choice(entry_ns: f64) -> Vec<String> {
    let mut all = vec![
        "policy coalesce: neighbouring sends become one segment, the order between streams stays"
            .into(),
        match backend::probe() {
            Ok(()) => "backend kmod, as the module is loaded: the sends of a round in one kernel \
                       entry (policy batch; coalesce has one send at a time)"
                .into(),
            Err(why) => format!(
                "backend direct, a plain call for each send: {why}. It would save kernel entries \
                 only, and only with policy batch"
            ),
        },
    ];
    all.push(if entry_ns < DEAR_NS {
        format!(
            "a kernel entry is cheap here ({entry_ns:.0} ns): the gain comes from fewer segments \
             and wake-ups, not from fewer entries"
        )
    } else {
        format!(
            "a kernel entry is dear here ({entry_ns:.0} ns): elided calls gain most, and policy \
             batch with the kernel module is worth a measurement ('esca bench')"
        )
    });
    all
}

#[derive(clap::Args)]
pub struct ProbeArgs {}

/// In a process of its own, because a seccomp filter may answer by killing:
/// asks for an io_uring and ends with the errno.
pub fn probe(_: &ProbeArgs) -> ExitCode {
    let mut params = [0u64; 15];
    // SAFETY: io_uring_params has 120 bytes, all zero: the defaults.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    if fd >= 0 {
        return ExitCode::SUCCESS;
    }
    let e = std::io::Error::last_os_error().raw_os_error();
    ExitCode::from(e.unwrap_or(255) as u8)
}

/// Whether an io_uring may be had.
pub fn uring_works() -> bool {
    uring() == WORKS
}

const WORKS: &str = "works";

/// What comes of asking for an io_uring.
fn uring() -> String {
    let ask = || -> Result<String> {
        let status = Command::new(std::env::current_exe()?)
            .arg("probe-uring")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()?;
        Ok(match (status.code(), status.signal()) {
            (Some(0), _) => WORKS.into(),
            (Some(libc::ENOSYS), _) => "not in this kernel (or a filter says so)".into(),
            (Some(libc::EPERM), _) => "refused: Operation not permitted".into(),
            (Some(e), _) => format!("refused: {}", std::io::Error::from_raw_os_error(e)),
            (_, signal) => format!("a filter kills for it (signal {})", signal.unwrap_or(0)),
        })
    };
    ask().unwrap_or_else(|e| format!("could not be tried: {e}"))
}
