//! The suite's own tests and the differential model, with backend `kmod`.

use crate::module;
use crate::report::Report;
use esca_vm::SUITES;
use std::process::Command;

/// Tests that need what this small system does not have: programs to spawn.
const SKIPPED: [&str; 1] = ["a_spawned_program_writes_in_turn"];

/// Runs all; the model for so many seconds.
pub fn run(report: &mut Report, seconds: u32) {
    report.run("module", || {
        module::load("");
        module::share();
    });
    for name in SUITES {
        report.run(&format!("suite: {name}"), || {
            let mut test = Command::new(format!("/tests/{name}"));
            test.env("ESCA_SUITE_BACKEND", "kmod");
            test.args(["--test-threads", "1"]);
            SKIPPED.iter().for_each(|s| {
                test.args(["--skip", s]);
            });
            succeeds(&mut test, "0 passed");
        });
    }
    report.run(&format!("suite: the model, {seconds} s"), || {
        let mut model = Command::new(std::fs::read_link("/tests/esca-model").expect("a link"));
        model.args(["soak", "--jobs", "2", "--failures", "/tmp/model"]);
        model.args(["--seconds", &seconds.to_string()]);
        succeeds(&mut model, "no program was run");
    });
}

/// Runs a program that must succeed and not say `never`.
fn succeeds(command: &mut Command, never: &str) {
    let done = command.output().expect("a program that runs");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace("esca: ", "");
    // Into the kernel's log, in full; the report gets its end.
    let _ = std::fs::write("/dev/console", said.as_bytes());
    let from = said.len().saturating_sub(1500);
    let end = said.get(from..).unwrap_or(&said);
    assert!(done.status.success() && !said.contains(never), "{end}");
}
