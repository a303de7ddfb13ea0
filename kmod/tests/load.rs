//! `load.sh` and what it says when it cannot load the module. The programs
//! that would touch a kernel are stand-ins here; with a real kernel the same
//! is tested in the virtual machines (docs/testing-vm.md).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const RELEASE: &str = "6.12.1-test";

/// A project with the script, and programs for its PATH.
struct Project(TempDir);

impl Project {
    /// One in which all goes well until `insmod`, which says so and fails.
    fn new(insmod: &str) -> Project {
        let project = Project(tempfile::tempdir().expect("a directory"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("load.sh");
        for dir in ["kmod", "bin"] {
            fs::create_dir(project.0.path().join(dir)).expect("a directory");
        }
        fs::copy(script, project.0.path().join("kmod/load.sh")).expect("the script");
        project.program("id", "echo 0");
        project.program("uname", &format!("echo {RELEASE}"));
        project.program("modinfo", &format!("echo {RELEASE} SMP preempt mod_unload"));
        project.program("getent", "exit 0");
        project.program("udevadm", "exit 0");
        // The script must not write to this machine's /etc.
        project.program("cp", "exit 0");
        let insmod = format!("echo \"insmod: ERROR: could not insert module $1: {insmod}\" >&2");
        project.program("insmod", &format!("{insmod}; exit 1"));
        project.module(RELEASE);
        project
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.0.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a stand-in");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("chmod");
    }

    fn module(&self, release: &str) {
        let dir = self.0.path().join("target/kmod").join(release);
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("esca.ko"), "a module").expect("a module");
    }

    /// Runs the script, which must fail with one line that has these words.
    fn refuses(&self, words: &[&str]) {
        // On a machine where it is loaded the script says that first.
        let loaded = Path::new("/sys/module/esca").exists();
        let words = if loaded { &["loaded already"] } else { words };
        let bin = self.0.path().join("bin");
        let done = Command::new("sh")
            .arg(self.0.path().join("kmod/load.sh"))
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .output()
            .expect("sh");
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "one line: {said}");
        assert!(said.starts_with("esca: "), "{said}");
        for word in words {
            assert!(said.contains(word), "no '{word}' in: {said}");
        }
        assert!(done.stdout.is_empty(), "and nothing else");
    }
}

#[test]
fn without_root() {
    let project = Project::new("");
    project.program("id", "echo 1000");
    project.refuses(&["loading a module needs root"]);
}

#[test]
fn no_module_was_built_for_this_kernel() {
    let project = Project::new("");
    project.program("uname", "echo 6.12.2-other");
    project.refuses(&["6.12.2-other/esca.ko does not exist", "'make kmod'"]);
}

#[test]
fn it_is_for_another_kernel() {
    let project = Project::new("");
    project.program("modinfo", "echo 6.1.9-other SMP preempt mod_unload");
    project.refuses(&["'6.1.9-other'", "'6.12.1-test' runs", "'make kmod'"]);
}

#[test]
fn it_is_no_module() {
    let project = Project::new("");
    project.program("modinfo", "echo not a module >&2; exit 1");
    project.refuses(&["is no kernel module", "'make kmod'"]);
}

#[test]
fn its_kernel_was_built_otherwise() {
    let project = Project::new("Invalid module format");
    project.refuses(&["another build of kernel '6.12.1-test'", "headers"]);
}

#[test]
fn signatures_are_enforced() {
    for said in [
        "Key was rejected by service",
        "Required key not available",
        "Operation not permitted",
    ] {
        let project = Project::new(said);
        project.refuses(&["signed", "Secure Boot", "docs/kmod.md", said]);
    }
}

#[test]
fn the_kernel_refuses_it_otherwise() {
    let project = Project::new("Cannot allocate memory");
    project.refuses(&["refused", "Cannot allocate memory", "dmesg"]);
}
