//! The guest's clock. An interpreted processor's time stamp counter is this
//! machine's own. A guest that measures its rate against an emulated timer
//! while this machine is busy may be wrong by a factor of ten, and its clock
//! then runs so much too fast for every time limit; so it is told.

use std::time::{Duration, Instant};

/// Words for the kernel's command line.
pub fn words(counted: bool) -> String {
    // Counted, a nanosecond is an instruction.
    let khz = if counted { Some(1_000_000) } else { rate() };
    let khz = khz.map_or(String::new(), |khz| format!(" tsc_early_khz={khz}"));
    let fixed = if counted { " nokaslr" } else { "" };
    format!("clocksource=tsc tsc=reliable{khz}{fixed}")
}

/// The counter's rate, in kHz.
#[cfg(target_arch = "x86_64")]
fn rate() -> Option<u64> {
    // A moment with its count: read again if this process stood still between.
    let moment = || loop {
        let before = Instant::now();
        // SAFETY: reads a counter that every x86-64 processor has.
        let count = unsafe { std::arch::x86_64::_rdtsc() };
        if before.elapsed() < Duration::from_micros(20) {
            return (before, count);
        }
    };
    let (from, first) = moment();
    std::thread::sleep(Duration::from_millis(100));
    let (to, last) = moment();
    let micros = u64::try_from((to - from).as_micros()).ok()?;
    last.checked_sub(first).map(|n| n * 1000 / micros)
}

/// QEMU's counter has a fixed rate where this machine has none like it.
#[cfg(not(target_arch = "x86_64"))]
fn rate() -> Option<u64> {
    None
}
