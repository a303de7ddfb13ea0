//! A group of processes that is short of socket memory: the kernel takes less
//! than the sockets' buffers have room for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A control group whose TCP sockets may hold only so much
/// (`memory.kmem.tcp.limit_in_bytes`, cgroup-v1/memory).
pub struct Shortage(PathBuf);

impl Shortage {
    /// One with room for `bytes`; `None` where this machine, or its user, has
    /// no such control groups.
    #[must_use]
    pub fn of(bytes: usize) -> Option<Shortage> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("esca-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let at = Path::new("/sys/fs/cgroup/memory").join(name);
        std::fs::create_dir(&at).ok()?;
        let group = Shortage(at);
        let limit = group.0.join("memory.kmem.tcp.limit_in_bytes");
        std::fs::write(limit, bytes.to_string()).ok()?;
        Some(group)
    }

    /// `command`, to be started in the group.
    #[must_use]
    pub fn start(&self, command: &Command) -> Command {
        let mut shell = Command::new("/bin/sh");
        let enter = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
        shell.args(["-c", enter]).arg(&self.0);
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        // A process that ends leaves its group a moment later.
        for _ in 0..500 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}
