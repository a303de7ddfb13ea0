//! The first process of the virtual machine: makes a small system, runs what
//! the kernel's command line asks for, reports, and switches off.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod bench;
mod callers;
mod child;
mod client;
mod count;
mod counter;
mod debug;
mod device;
mod entries;
mod faults;
mod fuzz;
mod kmsg;
mod leaks;
mod life;
mod module;
mod plain;
mod random;
mod report;
mod rules;
mod same;
mod script;
mod seek;
mod serve;
mod stops;
mod suite;
mod system;
mod world;

use report::Report;

fn main() {
    let task = std::env::var("TASK").unwrap_or_default();
    let words: Vec<&str> = task.split(',').collect();
    if std::process::id() != 1 {
        eprintln!("esca-vm-guest is the first process of a virtual machine; run esca-vm");
        std::process::exit(2);
    }
    system::set_up();
    let mut report = Report::open();
    report.note(format!("task: {task}"));
    report.run("page-table isolation is as asked for", system::isolation);
    let log = kmsg::Log::from_now();
    let short = words.get(1) == Some(&"short");
    match words.first().copied() {
        Some("count") => count::run(&mut report),
        Some("bench") => {
            report.run("module", || module::load(""));
            bench::run(&mut report, words.get(1) == Some(&"counted"));
        }
        Some("module") => {
            let machine = words.get(2).and_then(|w| w.parse().ok());
            tests(&mut report, short, machine.expect("the machine's number"));
        }
        Some("serve") => {
            report.run("module", || module::load(""));
            serve::run(&mut report);
        }
        Some("debug") => {
            let number = words.get(2).and_then(|w| w.parse().ok());
            debug::run(&mut report, short, number.expect("a number"));
        }
        Some("suite") => suite::run(&mut report, words.get(3..).unwrap_or(&[]), 120),
        other => report.run("task", || panic!("unknown task {other:?}")),
    }
    report.run("the kernel has nothing to complain about", || log.check());
    report.end();
    system::off();
}

/// Parts of the fuzzer in a machine: a million entries in the four there are.
const PARTS: u64 = 5;

/// The tests of the module, in the machine of this number.
fn tests(report: &mut Report, short: bool, machine: u64) {
    // The fuzzer's entries in parts, each with a seed and a child of its own.
    let (times, tables, parts, entries) = if short {
        (10, 20, 1, 15_000)
    } else {
        (100, 300, PARTS, 50_000)
    };
    life::run(report, times);
    script::run(report);
    // Children of a test fork; what forks has one thread.
    report.run("module", || module::load("allow_unhooked=1"));
    rules::run_all(report);
    same::run(report, tables);
    for part in 1..=parts {
        fuzz::run(report, entries, machine * PARTS + part);
    }
    report.run("module: unloaded when all is done", || {
        module::unload().expect("unloaded")
    });
    script::signed_only(report);
}
