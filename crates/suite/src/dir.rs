//! A directory of a test's own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A fresh directory that everybody may read (servers change their user);
/// removed when dropped.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    /// Makes one.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "esca-suite-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new directory");
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("chmod");
        Dir(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that everybody may read; returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file in the test's directory");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
