//! A forked child: what must happen in another process.

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// When a child counts as hanging. The longest computes for half a minute where
/// nothing else runs, and for ten where much does.
const LIMIT: Duration = Duration::from_secs(1800);

/// A running child.
pub struct Child(Pid);

/// Runs `work` in a forked child, which ends with it.
pub fn fork(work: impl FnOnce()) -> Child {
    // SAFETY: the guest's first process has one thread when it forks, so the
    // child finds every lock free.
    match unsafe { libc::fork() } {
        0 => {
            let done = catch_unwind(AssertUnwindSafe(work));
            // SAFETY: ends the child at once, without the parent's clean-up.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        pid => Child(Pid::from_raw(pid).expect("a child")),
    }
}

impl Child {
    /// Its number.
    pub fn pid(&self) -> Pid {
        self.0
    }

    /// How it ended. One that does not end is killed, and shown.
    pub fn end(self) -> WaitStatus {
        let limit = Instant::now() + LIMIT;
        loop {
            match waitpid(Some(self.0), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => return status,
                Ok(None) if Instant::now() > limit => {
                    let shown = self.show();
                    let _ = kill_process(self.0, Signal::KILL);
                    panic!("a child hangs:\n{shown}");
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Err(e) => panic!("waitpid: {e}"),
            }
        }
    }

    /// Where its threads are.
    fn show(&self) -> String {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.as_raw_nonzero()));
        let tasks = tasks.map(|t| t.flatten().collect()).unwrap_or(Vec::new());
        let read = |task: &fs::DirEntry, name| {
            fs::read_to_string(task.path().join(name)).unwrap_or_default()
        };
        let all = tasks.iter().map(|task| {
            let status = read(task, "status");
            let state = status
                .lines()
                .find(|l| l.starts_with("State"))
                .unwrap_or("");
            format!("{state} {}{}", read(task, "syscall"), read(task, "stack"))
        });
        all.collect()
    }

    /// Asserts that its work was done without a panic.
    pub fn succeeds(self) {
        let status = self.end();
        assert_eq!(
            status.exit_status(),
            Some(0),
            "a child ended: {status:?} (see the log)"
        );
    }
}

/// Waits until a thread sleeps in a system call of this number.
pub fn asleep_in(pid: u32, number: libc::c_long) {
    esca_suite::eventually("a sleeping call", || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        let first = text.split_whitespace().next()?;
        (first.parse() == Ok(number)).then_some(())
    });
}
