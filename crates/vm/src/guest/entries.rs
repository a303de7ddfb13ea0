//! A process's system calls, counted by the kernel's own tracer: what the
//! process, the libraries in it and we say of ourselves does not come into it.

use rustix::mount::{MountFlags, mount};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Once;

const EVENT: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter";

/// Counts by system call number.
pub type Counts = BTreeMap<i64, u64>;

/// A count in progress.
pub struct Entries {
    pid: u32,
    trigger: String,
}

/// Begins to count the system calls of a process (of the threads it has now).
pub fn count(pid: u32) -> Entries {
    static MOUNTED: Once = Once::new();
    MOUNTED.call_once(|| {
        let flags = MountFlags::empty();
        mount("trace", "/sys/kernel/tracing", "tracefs", flags, None).expect("tracefs");
    });
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let threads: Vec<String> = tasks
        .map(|t| {
            let number = t.expect("a thread").file_name();
            format!("common_pid == {}", number.to_string_lossy())
        })
        .collect();
    let trigger = format!("hist:keys=common_pid,id if {}", threads.join(" || "));
    fs::write(format!("{EVENT}/trigger"), &trigger).expect("a histogram");
    Entries { pid, trigger }
}

impl Entries {
    /// Ends it; the counts of the process's first thread, and the sum of the
    /// others' calls.
    pub fn end(self) -> (Counts, u64) {
        let text = fs::read_to_string(format!("{EVENT}/hist")).expect("the histogram");
        fs::write(format!("{EVENT}/trigger"), format!("!{}", self.trigger)).expect("its end");
        let dropped = text
            .lines()
            .find_map(|l| l.trim().strip_prefix("Dropped: "));
        assert_eq!(dropped, Some("0"), "calls were not counted:\n{text}");
        let (mut first, mut others) = (Counts::new(), 0);
        for (thread, id, hits) in text.lines().filter_map(row) {
            if thread == i64::from(self.pid) {
                first.insert(id, hits.cast_unsigned());
            } else {
                others += hits.cast_unsigned();
            }
        }
        assert!(!first.is_empty(), "nothing was counted:\n{text}");
        (first, others)
    }
}

/// `{ common_pid:  127, id:  232 } hitcount:  20`
fn row(line: &str) -> Option<(i64, i64, i64)> {
    let line = line.strip_prefix("{ common_pid:")?;
    let (thread, line) = line.split_once(", id:")?;
    let (id, hits) = line.split_once("} hitcount:")?;
    let number = |text: &str| text.trim().parse().ok();
    Some((number(thread)?, number(id)?, number(hits)?))
}
