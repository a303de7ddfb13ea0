//! Client programs that a run uses: they end or are ended, and must succeed.

use esca_suite::DEADLINE;
use std::process::Command;

/// A command that is ended when it hangs. Nothing is measured with the limit.
#[must_use]
pub fn tool(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .arg((3 * DEADLINE.as_secs()).to_string())
        .arg(program);
    command
}

/// Does the same for each client at the same time, and gathers what came of
/// it in their order.
pub fn together<T: Send>(clients: usize, one: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|s| {
        let one = &one;
        let threads: Vec<_> = (0..clients).map(|i| s.spawn(move || one(i))).collect();
        let ends: Vec<_> = threads.into_iter().map(|t| t.join()).collect();
        // All have ended; the first that failed says why.
        let end = |e: std::thread::Result<T>| e.unwrap_or_else(|e| std::panic::resume_unwind(e));
        ends.into_iter().map(end).collect()
    })
}
