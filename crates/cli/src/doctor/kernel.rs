//! What the running kernel says of itself: files of /proc and /sys, each read
//! once and turned into a phrase.

use std::fs;
use std::path::Path;

fn line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_string())
}

/// The processor's flaws that cost something here: name and remedy.
pub fn mitigations() -> Vec<(String, String)> {
    let dir = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let mut all: Vec<_> = dir
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| {
            let state = line(e.path().to_str()?)?;
            let name = e.file_name().to_string_lossy().into_owned();
            (state != "Not affected").then_some((name, state))
        })
        .collect();
    all.sort();
    all
}

/// What the sysctl says of io_uring.
pub fn uring_sysctl() -> &'static str {
    match line("/proc/sys/kernel/io_uring_disabled").as_deref() {
        Some("0") => "allowed by sysctl",
        Some("1") => "only for root and its group (sysctl kernel.io_uring_disabled=1)",
        Some("2") => "forbidden (sysctl kernel.io_uring_disabled=2)",
        _ => "no sysctl for it in this kernel",
    }
}

/// Whether the kernel module is there, or could be.
pub fn module() -> String {
    if Path::new("/dev/esca").exists() {
        return "loaded: /dev/esca is there".into();
    }
    if !Path::new("/proc/modules").exists() {
        return "not possible: this kernel takes no modules".into();
    }
    if line("/proc/sys/kernel/modules_disabled").as_deref() == Some("1") {
        return "not possible: loading is off until the next boot (kernel.modules_disabled=1)"
            .into();
    }
    let release = line("/proc/sys/kernel/osrelease").unwrap_or_default();
    let dir = Path::new("/lib/modules").join(&release);
    if !dir.is_dir() {
        return format!("not loaded; no modules of {release} are installed");
    }
    let found = ["updates/dkms", "updates", "extra"]
        .iter()
        .flat_map(|p| fs::read_dir(dir.join(p)).into_iter().flatten().flatten())
        .any(|e| e.file_name().to_string_lossy().starts_with("esca.ko"));
    if found {
        "installed, not loaded: modprobe esca".into()
    } else {
        "not installed".into()
    }
}

/// Secure Boot: whether modules must be signed for it.
pub fn secure_boot() -> &'static str {
    let name = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    // Four bytes of attributes, then the value.
    match fs::read(name).ok().and_then(|v| v.get(4).copied()) {
        Some(1) => "on: a module must be signed with an enrolled key",
        Some(_) => "off",
        None => "none (no EFI variables here)",
    }
}

/// Kernel lockdown.
pub fn lockdown() -> String {
    let all = line("/sys/kernel/security/lockdown").unwrap_or_default();
    let now = all.split(['[', ']']).nth(1);
    now.unwrap_or("none (not in this kernel, or securityfs is not mounted)")
        .into()
}

/// What kind of container this is, if it is one.
pub fn container() -> String {
    if let Some(kind) = line("/run/systemd/container") {
        return kind;
    }
    for (file, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if Path::new(file).exists() {
            return kind.into();
        }
    }
    let groups = line("/proc/1/cgroup").unwrap_or_default();
    for kind in ["docker", "kubepods", "lxc", "containerd"] {
        if groups.contains(kind) {
            return kind.into();
        }
    }
    "none seen".into()
}

/// The seccomp mode of this process.
pub fn seccomp() -> &'static str {
    let status = line("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|l| l.strip_prefix("Seccomp:"));
    match mode.map(str::trim) {
        Some("0") => "none",
        Some("1") => "strict",
        Some("2") => "a filter is in force: servers here inherit it",
        _ => "unknown",
    }
}

/// Whether a running process may be observed by trace points.
pub fn trace_points() -> String {
    match super::tracing::allowed() {
        Ok(()) => "allowed: --pid works".into(),
        Err(e) => format!("not allowed: {e:#}"),
    }
}
