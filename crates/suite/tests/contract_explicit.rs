//! Explicit segments through `esca.h` and through the crate `esca`: results
//! under ESCA, none without; the bytes are checked by the examples.

use esca_abi::stats::Counter;
use esca_suite::build::{c_program, output, package, run};
use esca_suite::dir::Dir;
use esca_suite::mode::{Mode, policies};
use std::path::PathBuf;
use std::process::Command;

const NOTHING: &str = "0 operations in the segment\n";

fn compare(program: &PathBuf, results: &str) {
    let start = |mode: Mode| {
        let mut command = Command::new(program);
        let stats = mode.apply(&mut command);
        command.env("LD_LIBRARY_PATH", output());
        (run(&mut command), stats)
    };
    assert_eq!(start(Mode::Plain).0, NOTHING);
    // An explicit segment is one whatever the policy.
    for mode in policies() {
        let (said, stats) = start(mode);
        let Some(stats) = stats else { continue };
        assert_eq!(said, results, "{mode:?}");
        let deferred = stats.get(Counter::Deferred);
        assert!(deferred > 0, "{}", stats.describe());
    }
}

#[test]
fn a_c_program_gets_each_operations_own_result() {
    package("esca-shim");
    let dir = Dir::new();
    let include = format!(
        "-I{}",
        esca_suite::build::workspace().join("include").display()
    );
    let library = format!("-L{}", output().display());
    let program = c_program("examples/explicit.c", &dir, &[&include, &library, "-lshim"]);
    compare(
        &program,
        "5 operations in the segment\n  write on stream 1: 24\n  write on stream 2: 7\n  \
         sendfile on stream 1: 6000\n  close on stream 1: 0\n  shutdown on stream 2: 0\n",
    );
}

#[test]
fn a_rust_program_gets_each_operations_own_result() {
    package("explicit-rust");
    compare(
        &output().join("explicit-rust"),
        "4 operations in the segment\n  Write on stream 1: 17\n  Write on stream 2: 7\n  \
         Write on stream 1: 21\n  Shutdown on stream 1: 0\n",
    );
}
