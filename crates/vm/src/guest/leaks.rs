//! What the kernel allocated and has lost: no pointer to it is left anywhere
//! (kmemleak), or its pages have not come back.

use std::fs;
use std::time::Duration;

const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// kmemleak leaves alone what is younger than 5 s: it may be on its way from
/// one place to another.
const AGE: Duration = Duration::from_secs(6);
/// A scan takes the first look at what has changed since the last one, so it
/// takes more than one.
const SCANS: u32 = 3;

fn tell(what: &str) {
    fs::write(KMEMLEAK, what).expect("kmemleak");
}

/// From now on: what the kernel lost in its boot is not ours.
pub fn from_now() {
    tell("scan");
    tell("clear");
}

/// Asserts that nothing was lost since then.
pub fn check() {
    std::thread::sleep(AGE);
    (0..SCANS).for_each(|_| tell("scan"));
    let lost = fs::read_to_string(KMEMLEAK).expect("kmemleak");
    assert!(lost.is_empty(), "the kernel has lost:\n{lost}");
}

/// KiB of a line of /proc/meminfo.
pub fn memory(line: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let found = text.lines().find_map(|l| l.strip_prefix(line));
    let number = found.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
    number.expect("a line").parse().expect("a number")
}
