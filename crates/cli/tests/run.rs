//! What `esca run` refuses, and how it says so: one line on stderr, and the
//! exit codes of env(1): 127 for missing, 126 for what cannot be wrapped, 2 for
//! a wrong setting.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A program that is there on every system, dynamic and without privilege.
const PLAIN: &str = "/bin/true";

/// `esca run` with arguments, without what the caller's environment sets.
fn esca_run(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_esca"));
    command.arg("run").args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ESCA_") || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
    command
}

/// Asserts an exit code and one line that holds all of `parts`.
fn assert_refused(command: &mut Command, code: i32, parts: &[&str]) {
    let out: Output = command.output().expect("esca runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{command:?}: {text}");
    assert!(out.stdout.is_empty(), "{command:?}: the program ran");
    assert_eq!(text.lines().count(), 1, "{command:?}: one line: {text}");
    assert!(text.starts_with("esca: "), "{command:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{command:?}: '{part}' in: {text}");
    }
}

fn refuse_program(program: &Path, code: i32, parts: &[&str]) {
    let name = program.to_str().expect("a readable path");
    let parts = [&[name], parts].concat();
    assert_refused(&mut esca_run(&["--", name]), code, &parts);
}

/// A file in a directory of the test's own.
fn file(dir: &TempDir, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
    path
}

fn plain() -> Vec<u8> {
    fs::read(PLAIN).expect("a plain program")
}

#[test]
fn a_missing_program() {
    let dir = TempDir::new().unwrap();
    refuse_program(&dir.path().join("none"), 127, &["does not exist"]);
    let mut command = esca_run(&["--", "no-such-program-here"]);
    assert_refused(&mut command, 127, &["no-such-program-here", "not in PATH"]);
}

#[test]
fn a_file_that_is_not_executable() {
    let dir = TempDir::new().unwrap();
    let program = file(&dir, "data", &plain(), 0o644);
    refuse_program(&program, 126, &["not an executable file"]);
    refuse_program(dir.path(), 126, &["not an executable file"]);
}

#[test]
fn a_file_that_is_no_program() {
    let dir = TempDir::new().unwrap();
    let program = file(&dir, "text", b"hello\n", 0o755);
    refuse_program(&program, 126, &["neither an ELF program nor a script"]);
}

#[test]
fn a_static_program() {
    let dir = TempDir::new().unwrap();
    let source = file(&dir, "p.c", b"int main(void) { return 0; }\n", 0o644);
    let program = dir.path().join("static");
    let built = Command::new("gcc")
        .args(["-static", "-o"])
        .args([&program, &source])
        .output()
        .expect("gcc is there: 'make setup' installs it");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "gcc -static: {said}");
    refuse_program(&program, 126, &["statically linked"]);
}

#[test]
fn a_program_that_changes_privilege() {
    let dir = TempDir::new().unwrap();
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755)] {
        let program = file(&dir, name, &plain(), mode);
        refuse_program(&program, 126, &["setuid or setgid", "LD_PRELOAD"]);
    }
}

#[test]
fn a_program_of_another_architecture() {
    let dir = TempDir::new().unwrap();
    // e_machine of the ELF header: SPARC V9, for which there is no ESCA.
    let mut bytes = plain();
    bytes[18..20].copy_from_slice(&43_u16.to_ne_bytes());
    let program = file(&dir, "foreign", &bytes, 0o755);
    refuse_program(&program, 126, &["another architecture"]);
    // EI_CLASS: the header of a 32-bit program.
    let mut bytes = plain();
    bytes[4] = 1;
    let program = file(&dir, "narrow", &bytes, 0o755);
    let out = esca_run(&["--", program.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(126));
}

#[test]
fn a_script_is_judged_by_its_interpreter() {
    let dir = TempDir::new().unwrap();
    let text = file(&dir, "text", b"hello\n", 0o755);
    let line = format!("#!{}\n", text.display());
    let script = file(&dir, "script", line.as_bytes(), 0o755);
    let mut command = esca_run(&["--", script.to_str().unwrap()]);
    assert_refused(&mut command, 126, &["neither an ELF program nor a script"]);
}

#[test]
fn wrong_settings() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--policy", "fast"], &["unknown policy 'fast'", "batch"]),
        (
            &["--rules", "merge,frob"],
            &["unknown rule 'frob'", "small-file"],
        ),
        (
            &["--backend", "uring"],
            &["'uring'", "not part of this build"],
        ),
        (&["--backend", "magic"], &["unknown backend 'magic'"]),
    ];
    for (flags, parts) in cases {
        let args = [flags, &["--", PLAIN]].concat();
        assert_refused(&mut esca_run(&args), 2, parts);
    }
}

#[test]
fn the_kernel_module_is_not_there() {
    if std::path::Path::new("/dev/esca").exists() {
        return;
    }
    let args = ["--backend", "kmod", "--", PLAIN];
    assert_refused(
        &mut esca_run(&args),
        126,
        &["backend kmod", "no /dev/esca", "make load-lkm"],
    );
}

#[test]
fn wrong_settings_of_the_environment() {
    for (name, value, part) in [
        ("ESCA_POLICY", "fast", "unknown policy 'fast'"),
        ("ESCA_RULES", "frob", "unknown rule 'frob'"),
        ("ESCA_BACKEND", "uring", "not part of this build"),
    ] {
        let mut command = esca_run(&["--", PLAIN]);
        assert_refused(command.env(name, value), 2, &[part]);
    }
}

#[test]
fn a_missing_library() {
    let dir = TempDir::new().unwrap();
    let none = dir.path().join("none.so");
    let mut command = esca_run(&["--", PLAIN]);
    command.env("ESCA_LIB", &none);
    assert_refused(&mut command, 126, &["ESCA_LIB", none.to_str().unwrap()]);
}
