//! The instruction counter of a machine that counts (QEMU's `-icount
//! shift=0`): its time stamp counter, and every clock of its kernel, go on by
//! one nanosecond an instruction.

use std::fs;
use std::path::Path;

/// Instructions so far.
#[inline]
pub fn now() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Instructions that a process (all its threads) has run so far, those of the
/// kernel on its behalf and of interrupts meanwhile included: its processor
/// time, which this machine counts in instructions.
pub fn of_process(pid: u32) -> u64 {
    let tasks = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    tasks
        .expect("a process")
        .map(|task| {
            let path = task.expect("a thread").path().join("schedstat");
            let text = fs::read_to_string(path).expect("schedstat");
            let first = text.split_whitespace().next().expect("a figure");
            first.parse::<u64>().expect("a number")
        })
        .sum()
}
