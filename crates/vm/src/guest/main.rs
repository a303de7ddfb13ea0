//! The first process of the virtual machine: makes a small system, runs what
//! the kernel's command line asks for, reports, and switches off.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod client;
mod count;
mod counter;
mod report;
mod system;

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
    match words.first().copied() {
        Some("count") => count::run(&mut report),
        other => report.run("task", || panic!("unknown task {other:?}")),
    }
    report.end();
    system::off();
}
