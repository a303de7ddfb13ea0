//! The published interface, as programs written for it use it: with the
//! library, with libshim alone, and with neither.

use esca_suite::build::{c_program, output, package, run, workspace};
use esca_suite::dir::Dir;
use esca_suite::mode::{Mode, policies};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "crates/suite/tests/c/published.c";

/// What the program prints: of its second segment, `kept` operations.
fn said(init: &str, kept: u32) -> String {
    format!(
        "init {init}\nflush of none 0\nstart 0\nagain 0, flush {kept} 'abc'\n\
         flush of none 0\nany argument '01234567'\n"
    )
}

fn program(dir: &Dir, options: &[&str]) -> PathBuf {
    let include = format!("-I{}", workspace().join("include").display());
    c_program(SOURCE, dir, &[&[include.as_str()], options].concat())
}

fn linked(dir: &Dir, options: &[&str]) -> PathBuf {
    package("esca-shim");
    let library = format!("-L{}", output().display());
    program(dir, &[options, &[&library, "-lshim"]].concat())
}

fn start(mode: Mode, program: &Path) -> Command {
    let mut command = Command::new(program);
    mode.apply(&mut command);
    command.env("LD_LIBRARY_PATH", output());
    command
}

#[test]
fn published_programs_run_with_the_library_and_with_the_shim_alone() {
    for header in ["-DHEADER=0", "-DHEADER=BEFORE", "-DHEADER=AFTER"] {
        let dir = Dir::new();
        let program = linked(&dir, &[header]);
        let alone = run(&mut start(Mode::Plain, &program));
        assert_eq!(alone, said("0 ", 0), "{header}");
        for mode in policies() {
            let kept = u32::from(mode != Mode::Plain);
            let with = run(&mut start(mode, &program));
            assert_eq!(with, said("0 ", kept), "{header} {mode:?}");
        }
    }
}

#[test]
fn with_policy_off_and_watch_segments_keep_nothing() {
    let dir = Dir::new();
    let program = linked(&dir, &[]);
    for policy in ["off", "watch"] {
        let with = run(&mut start(Mode::Esca(policy), &program));
        assert_eq!(with, said("0 ", 0), "{policy}");
    }
}

#[test]
fn a_failure_reads_as_minus_one() {
    let dir = Dir::new();
    let program = linked(&dir, &[]);
    let with = run(&mut start(Mode::Esca("no such policy"), &program));
    assert_eq!(with, said("-1 ENOSYS", 0));
}

#[test]
fn a_program_that_can_do_without_finds_neither_or_the_library() {
    let dir = Dir::new();
    let program = program(&dir, &["-DWEAK"]);
    assert_eq!(run(&mut start(Mode::Plain, &program)), "absent\n");
    let with = run(&mut start(Mode::Esca("coalesce"), &program));
    assert_eq!(with, said("0 ", 1));
}

/// A copy of the library that any user may load, and the program linked with
/// it by its path: so the dynamic linker loads it into setuid programs too, as
/// it does what /etc/ld.so.preload names.
fn with_library_by_path(dir: &Dir) -> PathBuf {
    let library = dir.path().join("libesca_preload.so");
    std::fs::copy(esca_suite::mode::library(), &library).expect("a copy");
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    program(dir, &[library.to_str().expect("a path")])
}

#[test]
fn in_a_setuid_program_the_library_is_off_whole() {
    /// Any user but root.
    const OTHER: u32 = 1;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a setuid program of another user needs root");
        return;
    }
    let dir = Dir::new();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let program = with_library_by_path(&dir);
    let file = dir.path().join("stats.json");
    let start = |policy| {
        let mut command = Command::new(&program);
        let stats = Mode::Esca(policy).apply(&mut command);
        command.env_remove("LD_PRELOAD").env("ESCA_STATS", &file);
        let done = command.output().expect("the program");
        assert!(done.status.success(), "{done:?}");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (text(done.stdout), text(done.stderr), stats)
    };
    // The library works in it, until it gets more rights than its caller's.
    let (out, _, stats) = start("coalesce");
    assert_eq!(out, said("0 ", 1));
    assert_eq!(stats.expect("statistics").processes(), 1);
    std::fs::remove_file(&file).expect("the statistics' file");

    std::os::unix::fs::chown(&program, Some(OTHER), None).expect("chown");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).expect("chmod");
    for policy in ["coalesce", "no such policy"] {
        let (out, err, stats) = start(policy);
        assert_eq!(out, said("-1 ENOSYS", 0));
        assert_eq!(err, "", "no setting was read");
        assert_eq!(stats.expect("statistics").processes(), 0);
        assert!(!file.exists(), "no file was written");
    }
}
