//! A process that hangs: what each of its threads waits for, and its end.

use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write;

/// Ends a process and its children; says what their threads were at.
#[must_use]
pub fn end_family(pid: u32) -> String {
    let mut said = String::new();
    end(pid, &mut said);
    said
}

fn end(pid: u32, said: &mut String) {
    for task in list(&format!("/proc/{pid}/task")) {
        let read = |name| {
            let file = format!("/proc/{pid}/task/{task}/{name}");
            std::fs::read_to_string(file).unwrap_or_default()
        };
        let (name, place, call) = (read("comm"), read("wchan"), read("syscall"));
        let _ = writeln!(
            said,
            "{pid}/{task} {}: in {place}, call {}",
            name.trim(),
            call.trim()
        );
        for child in read("children").split_whitespace() {
            child.parse().into_iter().for_each(|c| end(c, said));
        }
    }
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn list(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}
