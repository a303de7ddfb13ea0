//! Other libraries preloaded after ESCA's, in the order that `esca run` and
//! `esca enable` write: past a TCP stack in user space nothing is sent, and
//! harmless ones change nothing.

use esca_abi::stats::Counter;
use esca_suite::build::{self, c_program};
use esca_suite::dir::Dir;
use esca_suite::http::dial;
use esca_suite::mode::{Mode, Stats, policies};
use esca_suite::scenario::{take, to_end};
use esca_suite::server::Server;
use esca_suite::{assert_same, eventually};
use std::io::Write;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROUNDS: usize = 15;

fn server(dir: &Dir) -> PathBuf {
    let source = "crates/suite/tests/c/fortified.c";
    c_program(source, dir, &["-D_FORTIFY_SOURCE=2"])
}

/// Compiles a library to preload.
fn preload(name: &str, dir: &Dir) -> PathBuf {
    let source = format!("crates/suite/tests/c/{name}.c");
    c_program(&source, dir, &["-shared", "-fPIC"])
}

/// Has the server echo with `other` preloaded, behind ours where the mode has
/// it; each answer as `expected` makes it of the question.
fn session(
    mode: Mode,
    program: &Path,
    other: &Path,
    dir: &Dir,
    expected: impl Fn(String) -> String,
) -> Option<Stats> {
    let path = dir.write("port", "");
    let out = std::fs::File::create(&path).expect("a file");
    let mut command = Command::new(program);
    command.arg("64").env("LD_PRELOAD", other).stdout(out);
    // Of a runtime that is not the first library.
    command.env("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0");
    let mut server = Server::spawn(mode, &mut command);
    let port = eventually("the program's port", || {
        let line = std::fs::read_to_string(&path).ok()?;
        line.strip_suffix('\n')?.parse().ok()
    });
    let mut stream = dial(port, None);
    for round in 0..ROUNDS {
        let ask = format!("round {round}");
        stream.write_all(ask.as_bytes()).expect("a turn");
        let want = expected(format!("echo {ask}"));
        let got = take(&mut stream, want.len());
        let what = format!("{mode:?}, round {round}");
        assert_same(&what, want.as_bytes(), &got);
    }
    stream.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(to_end(&mut stream), (Vec::new(), "end"));
    let status = server.wait().expect("the program's end");
    assert!(status.success(), "{status}");
    server.stats.take()
}

#[test]
fn past_a_stack_in_user_space_nothing_is_sent() {
    let (dir, other) = (Dir::new(), Dir::new());
    let (program, stack) = (server(&dir), preload("stack", &other));
    let capitals = |s: String| s.to_uppercase();
    session(Mode::Plain, &program, &stack, &dir, capitals);
    for mode in policies() {
        let stats = session(mode, &program, &stack, &dir, capitals);
        if let Some(stats) = stats {
            assert_eq!(stats.noted(), ["other-stack"], "{mode:?}");
            assert_eq!(stats.processes(), 0, "{mode:?}");
        }
    }
}

#[test]
fn harmless_libraries_are_no_reason_to_stand_aside() {
    let (dir, other) = (Dir::new(), Dir::new());
    let program = server(&dir);
    let harmless = preload("harmless", &other);
    for mode in policies() {
        let stats = session(mode, &program, &harmless, &dir, |s| s);
        if let Some(stats) = stats {
            assert!(stats.noted().is_empty(), "{:?}", stats.noted());
            assert!(stats.get(Counter::Deferred) > 0, "{}", stats.describe());
        }
    }
}

#[test]
fn nor_is_a_sanitizers_runtime() {
    let found = build::run(Command::new("gcc").arg("-print-file-name=libasan.so.8"));
    // Where there is none, gcc gives the name back.
    let library = Path::new(found.trim());
    if !library.is_absolute() {
        eprintln!("skipped: there is no libasan.so.8");
        return;
    }
    let dir = Dir::new();
    let program = server(&dir);
    let stats = session(policies()[0], &program, library, &dir, |s| s);
    if let Some(stats) = stats {
        assert!(stats.noted().is_empty(), "{:?}", stats.noted());
        assert!(stats.get(Counter::Deferred) > 0, "{}", stats.describe());
    }
}
