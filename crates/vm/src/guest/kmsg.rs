//! The kernel's own log, with the priority of each line, and its taint.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// What a module from outside that nobody has signed says when it is loaded.
const EXPECTED: [&str; 2] = [
    "esca: loading out-of-tree module taints kernel.",
    "esca: module verification failed: signature and/or required key missing - tainting kernel",
];
/// What it says of the host, which may be busy: a virtual processor that stood
/// still looks like an interrupt that took long.
const HOST: [&str; 3] = [
    "hrtimer: interrupt took",
    "perf: interrupt took",
    "clocksource: ",
];
/// What it says of a module for another build, which a test gives it.
const OTHER: &str = "esca: version magic '";
/// Taints that come with it: out of tree, not signed.
const TAINTS: u64 = 1 << 12 | 1 << 13;
/// Priorities from here on are no complaint: `KERN_NOTICE`.
const NOTICE: u32 = 5;

/// The log from some moment on.
pub struct Log(File);

impl Log {
    /// From now on.
    pub fn from_now() -> Log {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg");
        let file = file.expect("/dev/kmsg");
        rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)).expect("its end");
        Log(file)
    }

    /// Asserts that no line since then is a warning or worse, and that the
    /// kernel counts itself sound.
    pub fn check(mut self) {
        let mut record = vec![0; 8192];
        let mut said = Vec::new();
        loop {
            match self.0.read(&mut record) {
                // "priority,number,time,...;text\n key=value"
                Ok(n) => {
                    let text = String::from_utf8_lossy(&record[..n]).into_owned();
                    let (head, line) = text.split_once(';').expect("a record");
                    let line = line.lines().next().unwrap_or("");
                    let number = head.split(',').next().and_then(|p| p.parse::<u32>().ok());
                    let complaint = number.expect("a priority") & 7 < NOTICE;
                    let expected = EXPECTED.contains(&line)
                        || line.starts_with(OTHER)
                        || HOST.iter().any(|start| line.starts_with(start));
                    if complaint && !expected {
                        said.push(line.to_owned());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                // So much was said that some of it is lost.
                Err(e) => panic!("/dev/kmsg: {e}"),
            }
        }
        assert!(said.is_empty(), "the kernel says:\n{}", said.join("\n"));
        let tainted = fs::read_to_string("/proc/sys/kernel/tainted").expect("the taint");
        let tainted: u64 = tainted.trim().parse().expect("a number");
        assert_eq!(tainted & !TAINTS, 0, "the kernel is tainted: {tainted:#x}");
    }
}
