//! The suite's own tests and the differential model, with backend `kmod`.

use crate::module;
use crate::report::Report;
use esca_vm::SUITES;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Runs these, or else all; the model for so many seconds.
pub fn run(report: &mut Report, these: &[&str], seconds: u32) {
    let asked = |name: &str| these.is_empty() || these.contains(&name);
    report.run("module", || {
        module::load("");
        module::share();
    });
    for name in SUITES.into_iter().filter(|name| asked(name)) {
        report.test(&format!("suite: {name}"), |report| {
            let mut test = Command::new(format!("/tests/{name}"));
            test.env("ESCA_SUITE_BACKEND", "kmod");
            test.args(["--test-threads", "1"]);
            let said = succeeds(report, &mut test);
            assert!(!said.contains(" 0 passed"), "no test was run");
        });
    }
    if asked("model") {
        model(report, seconds);
    }
}

fn model(report: &mut Report, seconds: u32) {
    report.test(&format!("suite: the model, {seconds} s"), |report| {
        let mut model = Command::new(std::fs::read_link("/tests/esca-model").expect("a link"));
        model.args(["soak", "--jobs", "2", "--failures", "/tmp/model"]);
        model.args(["--seconds", &seconds.to_string()]);
        let said = succeeds(report, &mut model);
        for policy in ["coalesce", "batch"] {
            let line = format!("Esca(\"{policy}\", \"kmod\"): ");
            let (_, rest) = said.split_once(&line).expect("its count");
            assert!(!rest.starts_with("0 "), "nothing was aggregated: {said}");
        }
    });
}

/// Runs a program that must succeed; what it said. Its lines are told as they
/// come: whoever hears nothing for long takes the machine for dead.
fn succeeds(report: &mut Report, command: &mut Command) -> String {
    let console = File::options().write(true).open("/dev/console");
    command.stderr(console.expect("the console"));
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a program");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let mut said = String::new();
    for line in out.split(b'\n') {
        let line = line.expect("a line");
        let line = String::from_utf8_lossy(&line);
        if !line.is_empty() {
            report.note(line.chars().take(200).collect::<String>());
        }
        said += &line;
        said.push('\n');
    }
    let status = child.wait().expect("its end");
    let from = said.len().saturating_sub(1500);
    let end = said.get(from..).unwrap_or(&said);
    assert!(status.success(), "{end}");
    said
}
