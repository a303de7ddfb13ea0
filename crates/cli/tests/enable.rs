//! `esca enable` and `disable` in a root of the test's own, with units like
//! those that Debian ships.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const NGINX: &str = "[Unit]\nDescription=nginx\n[Service]\nType=forking\n\
    ExecStart=/usr/sbin/nginx -g 'daemon on;'\n";
/// What Debian's redis-server.service forbids.
const REDIS: &str = "[Service]\nType=notify\n\
    ExecStart=/usr/bin/redis-server /etc/redis/redis.conf\n\
    PrivateTmp=true\nPrivateDevices=true\nProtectHome=true\nProtectSystem=strict\n\
    MemoryDenyWriteExecute=true\nSystemCallFilter=@system-service\n\
    SystemCallFilter=~ @privileged @resources\nNoExecPaths=/\n\
    ExecPaths=/usr/bin/redis-server /usr/lib /lib\n";

/// A system with two services and the library.
fn system() -> TempDir {
    let root = TempDir::new().expect("a directory");
    for (path, text) in [
        ("usr/lib/systemd/system/nginx.service", NGINX),
        ("usr/lib/systemd/system/redis-server.service", REDIS),
        ("usr/lib/esca/libesca_preload.so", ""),
        ("opt/esca/libesca_preload.so", ""),
        ("home/me/libesca_preload.so", ""),
    ] {
        put(root.path(), path, text);
    }
    root
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    fs::write(path, text).expect("a file");
}

fn esca(root: &Path, args: &[&str]) -> Output {
    let mut c = Command::new(env!("CARGO_BIN_EXE_esca"));
    c.args(args).arg("--root").arg(root).output().expect("esca")
}

fn drop_in(root: &Path, unit: &str) -> PathBuf {
    root.join(format!("etc/systemd/system/{unit}.d/50-esca.conf"))
}

/// The settings of a drop-in that `esca enable` wrote.
fn enabled(root: &Path, unit: &str, args: &[&str]) -> Vec<String> {
    let out = esca(root, &[&["enable", unit], args].concat());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{unit}: {said}");
    let text = fs::read_to_string(drop_in(root, unit)).expect("the drop-in");
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.map(Into::into).collect()
}

fn refused(root: &Path, args: &[&str], part: &str) {
    let out = esca(root, args);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: one line: {said}");
    assert!(said.contains(part), "{args:?}: '{part}' in: {said}");
}

const PRELOAD: &str = "Environment=LD_PRELOAD=/usr/lib/esca/libesca_preload.so";

#[test]
fn enable_shows_writes_and_disable_removes() {
    let root = system();
    let file = drop_in(root.path(), "nginx.service");
    let out = esca(root.path(), &["enable", "nginx", "--dry-run"]);
    let shown = String::from_utf8(out.stdout).expect("text");
    assert!(out.status.success() && !file.exists(), "{shown}");
    assert!(shown.contains(PRELOAD) && shown.contains("env LD_PRELOAD;"));
    let lines = enabled(root.path(), "nginx.service", &["--policy", "batch"]);
    let want = ["[Service]", PRELOAD, "Environment=ESCA_POLICY=batch"];
    assert_eq!(lines, want);
    // Again: written anew, not twice.
    assert_eq!(enabled(root.path(), "nginx.service", &[]), want[..2]);
    let out = esca(root.path(), &["disable", "nginx", "--dry-run"]);
    assert!(out.status.success() && file.exists());
    let out = esca(root.path(), &["disable", "nginx"]);
    assert!(out.status.success());
    assert!(!file.exists() && !file.parent().expect("a parent").exists());
    refused(root.path(), &["disable", "nginx"], "is not enabled");
}

#[test]
fn what_a_unit_forbids_is_allowed_for_the_library_alone() {
    let root = system();
    // /usr/lib may be executed from and @system-service has what is needed.
    let lines = enabled(root.path(), "redis-server.service", &[]);
    assert_eq!(lines, ["[Service]", PRELOAD]);
    // Not so from /opt; and the module's device is not in a private /dev.
    put(root.path(), "dev/esca", "");
    let args = ["--library", "/opt/esca/libesca_preload.so"];
    let lines = enabled(root.path(), "redis-server.service", &args);
    let want = [
        "[Service]",
        "Environment=LD_PRELOAD=/opt/esca/libesca_preload.so",
        "ExecPaths=/opt/esca",
        "BindPaths=-/dev/esca",
        "DeviceAllow=/dev/esca rw",
    ];
    assert_eq!(lines, want);
    // An administrator's own list of calls, and another preload.
    let more = "[Service]\nSystemCallFilter=\nSystemCallFilter=@basic-io\n\
        Environment=LD_PRELOAD=/usr/lib/jemalloc.so\n";
    put(
        root.path(),
        "etc/systemd/system/redis-server.service.d/10-x.conf",
        more,
    );
    let lines = enabled(root.path(), "redis-server.service", &[]);
    assert_eq!(lines[1], format!("{PRELOAD}:/usr/lib/jemalloc.so"));
    let calls = lines
        .iter()
        .find_map(|l| l.strip_prefix("SystemCallFilter="));
    let calls = calls.expect("the library's calls");
    assert!(calls.split(' ').any(|c| c == "eventfd2"), "{calls}");
    // The administrator's drop-in stays.
    assert!(
        esca(root.path(), &["disable", "redis-server"])
            .status
            .success()
    );
    assert!(
        drop_in(root.path(), "redis-server.service")
            .with_file_name("10-x.conf")
            .exists()
    );
}

#[test]
fn what_cannot_be_is_one_line() {
    let root = system();
    let at = root.path();
    refused(at, &["enable", "nosuch"], "there is no unit nosuch.service");
    refused(at, &["enable", "nginx.socket"], "is not a service");
    refused(
        at,
        &["enable", "nginx", "--policy", "fast"],
        "unknown policy 'fast'",
    );
    let none = ["enable", "nginx", "--library", "/no/lib.so"];
    refused(at, &none, "/no/lib.so is no file");
    let home = [
        "enable",
        "redis-server",
        "--library",
        "/home/me/libesca_preload.so",
    ];
    refused(at, &home, "ProtectHome");
    put(
        at,
        "etc/systemd/system/own.service",
        "[Service]\nExecStart=/x\nRootDirectory=/y\n",
    );
    refused(at, &["enable", "own"], "a root of its own");
    let foreign = "etc/systemd/system/nginx.service.d/50-esca.conf";
    put(at, foreign, "[Service]\n");
    refused(at, &["enable", "nginx"], "was not written by 'esca enable'");
    refused(
        at,
        &["disable", "nginx"],
        "was not written by 'esca enable'",
    );
    // A program that cannot be preloaded is not enabled.
    put(
        at,
        "etc/systemd/system/text.service",
        "[Service]\nExecStart=/usr/bin/text\n",
    );
    put(at, "usr/bin/text", "hello\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(at.join("usr/bin/text"), mode).expect("its mode");
    refused(
        at,
        &["enable", "text"],
        "neither an ELF program nor a script",
    );
}
