//! Programs that a test runs and that aren't of its own package: the
//! workspace's examples and small C programs.

use crate::dir::Dir;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The workspace's directory.
#[must_use]
pub fn workspace() -> PathBuf {
    // What cargo says now counts for more than what it said at compile time.
    let own = std::env::var_os("CARGO_MANIFEST_DIR");
    let own = own.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).join("../..")
}

/// Where cargo puts what it builds for this profile.
#[must_use]
pub fn output() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let deps = test.parent().expect("a directory");
    deps.parent().expect("a directory").into()
}

/// Builds a package of the workspace, as the test itself was built.
pub fn package(name: &str) {
    // One at a time: cargo would wait for its lock and say so.
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock();
    let output = output();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", name])
        .arg("--target-dir")
        .arg(output.parent().expect("a directory"))
        .current_dir(workspace());
    if output.ends_with("release") {
        command.arg("--release");
    }
    run(&mut command);
}

/// Compiles a C program of the workspace into a directory.
pub fn c_program(source: &str, dir: &Dir, options: &[&str]) -> PathBuf {
    let program = dir.path().join("program");
    let mut command = Command::new("gcc");
    command
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"])
        .arg("-o")
        .arg(&program)
        .arg(workspace().join(source))
        .args(options);
    run(&mut command);
    program
}

/// Runs a command that must succeed; its output, which is text.
pub fn run(command: &mut Command) -> String {
    String::from_utf8(output_of(command)).expect("text")
}

/// Runs a command that must succeed; its output.
pub fn output_of(command: &mut Command) -> Vec<u8> {
    let done = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        done.status.success(),
        "{command:?}: {}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    done.stdout
}
