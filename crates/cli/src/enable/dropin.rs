//! What the drop-in of a unit says, from what the unit forbids.

use super::Chosen;
use super::unit::Unit;
use anyhow::{Result, bail};
use std::fmt::Write;
use std::path::Path;

/// The first line: how a file is known to be ours.
pub const MARK: &str = "# Written by 'esca enable'; 'esca disable' removes it.";

/// What the library calls that the program may not: its start, its sweeper's
/// thread and descriptors, the look at a stream, the flush, what is left at
/// exit (all in systemd's @system-service).
const CALLS: &str = "open openat fstat newfstatat mmap munmap mremap mprotect madvise brk futex \
    clone clone3 rseq set_robust_list sched_getaffinity sched_getscheduler sched_yield tgkill sigaltstack rt_sigaction \
    rt_sigprocmask prctl exit exit_group eventfd2 epoll_create1 epoll_ctl epoll_pwait \
    epoll_pwait2 epoll_wait poll ppoll read write readv writev preadv2 pread64 ioctl fcntl dup \
    dup3 close close_range getsockname getpeername getsockopt setsockopt sendto sendmsg \
    sendfile recvfrom shutdown nanosleep clock_nanosleep getpid gettid kill prlimit64";

/// The file's text; an error where the unit cannot have the library.
pub fn render(unit: &Unit, chosen: &Chosen) -> Result<String> {
    reachable(unit, chosen.library)?;
    let library = chosen.library.display();
    let mut t = format!("{MARK}\n[Service]\n");
    // Other preloads (jemalloc) go on working behind ours.
    let others = unit.variable("LD_PRELOAD").filter(|v| !v.is_empty());
    let others = others.map_or(String::new(), |o| format!(":{o}"));
    let _ = writeln!(t, "Environment=LD_PRELOAD={library}{others}");
    for (name, value) in &chosen.variables {
        let _ = writeln!(t, "Environment={name}={value}");
    }
    executable(&mut t, unit, chosen.library);
    if chosen.device {
        device(&mut t, unit);
    }
    filter(&mut t, unit);
    notes(&mut t, unit);
    Ok(t)
}

/// Refuses a library that the service would not find.
fn reachable(unit: &Unit, library: &Path) -> Result<()> {
    let (name, shown) = (&unit.name, library.display());
    for key in ["RootDirectory", "RootImage"] {
        if let Some(v) = unit.last(key) {
            bail!(
                "{name} runs in a root of its own ({key}={v}); put the library into it and write \
                 the drop-in by hand (docs/operating.md)"
            );
        }
    }
    let home = ["/home", "/root", "/run/user"];
    let hidden = unit
        .last("ProtectHome")
        .is_some_and(|v| v != "no" && v != "false")
        && home.iter().any(|h| library.starts_with(h));
    if hidden {
        bail!("{name} cannot see {shown} (ProtectHome=); install the library in /usr/lib/esca");
    }
    if unit.is_on("PrivateTmp") && (library.starts_with("/tmp") || library.starts_with("/var/tmp"))
    {
        bail!("{name} cannot see {shown} (PrivateTmp=); install the library in /usr/lib/esca");
    }
    if library.to_string_lossy().contains([' ', ':', '"', '%']) {
        bail!("LD_PRELOAD cannot name {shown}; install the library in /usr/lib/esca");
    }
    Ok(())
}

/// Where only some paths may be executed, a library is executed too.
fn executable(t: &mut String, unit: &Unit, library: &Path) {
    let covers = |key| {
        let words = unit.words(key);
        let paths = words.into_iter().map(|w| w.trim_start_matches(['-', '+']));
        // The most specific path decides.
        paths.filter(|p| library.starts_with(p)).map(str::len).max()
    };
    let Some(forbidden) = covers("NoExecPaths") else {
        return;
    };
    if covers("ExecPaths").is_none_or(|allowed| allowed < forbidden) {
        let dir = library.parent().unwrap_or(library);
        let _ = writeln!(
            t,
            "# The unit executes from a few places only (NoExecPaths=)."
        );
        let _ = writeln!(t, "ExecPaths={}", dir.display());
    }
}

/// The kernel module's device.
fn device(t: &mut String, unit: &Unit) {
    let closed = unit.last("DevicePolicy").is_some_and(|p| p != "auto");
    if unit.is_on("PrivateDevices") {
        let _ = writeln!(t, "# The unit has a /dev of its own (PrivateDevices=).");
        let _ = writeln!(t, "BindPaths=-/dev/esca");
    }
    if unit.is_on("PrivateDevices") || closed || !unit.all("DeviceAllow").is_empty() {
        let _ = writeln!(t, "DeviceAllow=/dev/esca rw");
    }
}

/// A list of what may be called has to have what the library calls.
fn filter(t: &mut String, unit: &Unit) {
    let lines = unit.all("SystemCallFilter");
    let Some(first) = lines.first() else { return };
    let allows = lines.iter().filter(|l| !l.starts_with('~'));
    let mut words = allows.flat_map(|l| l.split_whitespace());
    // The first assignment decides whether the list allows or denies.
    if first.starts_with('~') || words.any(|w| w == "@system-service") {
        return;
    }
    let _ = writeln!(t, "# The unit's SystemCallFilter= is a list of its own.");
    let calls: Vec<_> = CALLS.split_whitespace().collect();
    let _ = writeln!(t, "SystemCallFilter={}", calls.join(" "));
}

/// What the drop-in cannot do.
fn notes(t: &mut String, unit: &Unit) {
    let mut note = |text: String| {
        let _ = writeln!(t, "# Note: {text}");
    };
    let program = unit.program().unwrap_or_default();
    if program.ends_with("/nginx") {
        note(
            "for binary upgrades (USR2) say 'env LD_PRELOAD; env ESCA_POLICY; env ESCA_RULES; \
             env ESCA_BACKEND;' in nginx.conf, which clears the environment otherwise"
                .into(),
        );
    }
    if program.is_empty() {
        note("ExecStart names no program by its path; see that it is not static or setuid".into());
    }
    for file in unit.words("EnvironmentFile") {
        let file = file.trim_start_matches('-');
        note(format!("an LD_PRELOAD in {file} would hide this one"));
    }
    if unit
        .words("UnsetEnvironment")
        .iter()
        .any(|w| w.starts_with("LD_PRELOAD"))
    {
        note("UnsetEnvironment= removes LD_PRELOAD: nothing will be preloaded".into());
    }
    if unit.last("TasksMax") == Some("1") {
        note("TasksMax=1 leaves no room for the library's thread: nothing will be deferred".into());
    }
    if let Some(profile) = unit.last("AppArmorProfile") {
        note(format!(
            "the AppArmor profile {profile} must allow the library to be mapped (mr)"
        ));
    }
}
