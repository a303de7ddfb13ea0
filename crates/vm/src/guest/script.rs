//! The scripts of `make load-lkm` and `make unload-lkm`, with a real kernel.

use crate::device::{Device, open};
use crate::report::Report;
use rustix::mount::{MountFlags, mount};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A script of the image's copy of the project.
fn script(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(format!("{}/kmod/{name}", esca_vm::PROJECT));
    command
}

/// Where the scripts look for the module of this kernel.
fn place() -> PathBuf {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    let kmod = Path::new(esca_vm::PROJECT).join("target/kmod");
    kmod.join(release.trim()).join("esca.ko")
}

/// Asserts that a script fails with one line that has these words, and leaves
/// no module.
fn refuses(command: &mut Command, words: &[&str]) {
    let loaded = Path::new("/sys/module/esca").exists();
    let done = command.output().expect("sh");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    for word in words {
        assert!(said.contains(word), "no '{word}' in: {said}");
    }
    assert_eq!(Path::new("/sys/module/esca").exists(), loaded);
}

/// Asserts that a script succeeds and says this.
fn says(command: &mut Command, words: &str) {
    let done = command.output().expect("sh");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(done.status.success() && said.contains(words), "{said}");
}

/// What needs the module not to be loaded, and leaves it so.
pub fn run(report: &mut Report) {
    report.run("script: what cannot be loaded is said", refused);
    report.run("script: loads, with the group and parameters", loads);
    report.run("script: unloads when its users are gone", unloads);
}

fn refused() {
    says(&mut script("unload.sh"), "the module is not loaded");
    let nobody = 65534;
    refuses(script("load.sh").uid(nobody), &["needs root"]);
    let place = place();
    let module = fs::read(&place).expect("the module");
    fs::remove_file(&place).expect("removed");
    let load = || script("load.sh");
    refuses(&mut load(), &["does not exist", "'make kmod'"]);
    // Built for another kernel: each mention of the release is another's.
    let release = fs::read("/proc/sys/kernel/osrelease").expect("the release");
    let release = release.trim_ascii_end();
    let mut other = module.clone();
    for at in 0..other.len() - release.len() {
        if other[at..].starts_with(release) {
            other[at] = b'9';
        }
    }
    assert_ne!(other, module);
    fs::write(&place, &other).expect("another module");
    refuses(&mut load(), &["is for kernel '9.", "runs", "'make kmod'"]);
    // The rest of the line of versions differs: the kernel itself refuses.
    let smp = |at: &usize| module[*at..].starts_with(b" SMP ");
    let at = (0..module.len()).find(smp).expect("versions");
    let mut other = module.clone();
    other[at + 1] = b's';
    fs::write(&place, &other).expect("another module");
    refuses(&mut load(), &["another build of kernel", "headers"]);
    fs::write(&place, &module[..module.len() / 2]).expect("half a module");
    refuses(&mut load(), &["is no kernel module"]);
    fs::write(&place, &module).expect("the module");
}

fn loads() {
    let words = "loaded; members of the group esca may use /dev/esca";
    says(script("load.sh").arg("allow_seccomp=1"), words);
    let device = fs::metadata("/dev/esca").expect("the device");
    assert_eq!((device.gid(), device.mode() & 0o777), (990, 0o660));
    let set = fs::read_to_string("/sys/module/esca/parameters/allow_seccomp");
    assert_eq!(set.expect("the parameter").trim(), "Y");
    refuses(&mut script("load.sh"), &["loaded already", "unload-lkm"]);
    refuses(script("unload.sh").uid(65534), &["needs root"]);
}

fn unloads() {
    let device = Device::new(64).expect("a device");
    let mut waiting = script("unload.sh");
    let mut waiting = waiting.stdout(Stdio::piped()).spawn().expect("sh");
    let mut out = BufReader::new(waiting.stdout.take().expect("its output"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    // This process is the first.
    assert_eq!(line, "esca: in use by 1; waiting\n");
    drop(device);
    line.clear();
    out.read_to_string(&mut line).expect("its end");
    assert!(waiting.wait().expect("its end").success(), "{line}");
    assert_eq!(line, "esca: unloaded\n");
    assert!(open().is_err(), "no module, no device");
}

/// A kernel that takes signed modules only, by its lock (Secure Boot) and by
/// its parameter. There is no way back, so this comes last.
pub fn signed_only(report: &mut Report) {
    report.run("script: an unsigned module where that is refused", || {
        let security = Path::new("/sys/kernel/security");
        let kind = "securityfs";
        mount("security", security, kind, MountFlags::empty(), None).expect("securityfs");
        fs::write(security.join("lockdown"), "integrity").expect("locked");
        let words = ["signed", "docs/kmod.md", "Operation not permitted"];
        refuses(&mut script("load.sh"), &words);
        fs::write("/sys/module/module/parameters/sig_enforce", "Y").expect("enforced");
        let words = ["signed", "docs/kmod.md", "Key was rejected"];
        refuses(&mut script("load.sh"), &words);
    });
}
