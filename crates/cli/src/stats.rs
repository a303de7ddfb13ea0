//! The statistics table that a wrapped process adds to, as a file that both
//! sides map.

use anyhow::{Context, Result};
use esca_abi::stats::Table;
use memmap2::MmapRaw;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A table in shared memory; the file goes with the value.
pub struct Shared {
    map: MmapRaw,
    file: tempfile::NamedTempFile,
}

impl Shared {
    /// A fresh table.
    pub fn new() -> Result<Self> {
        let dir = ["/dev/shm", "/tmp"]
            .iter()
            .map(Path::new)
            .find(|d| d.is_dir());
        let dir = dir.map_or_else(std::env::temp_dir, PathBuf::from);
        let file = tempfile::Builder::new()
            .prefix("esca-stats-")
            .tempfile_in(&dir)
            .with_context(|| format!("cannot make the statistics file in {}", dir.display()))?;
        file.as_file().set_len(size_of::<Table>() as u64)?;
        let map = MmapRaw::map_raw(file.as_file()).context("cannot map the statistics file")?;
        let shared = Shared { map, file };
        shared.table().init();
        Ok(shared)
    }

    /// What to put into `ESCA_STATS_SHM`.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The table.
    pub fn table(&self) -> &Table {
        // SAFETY: the mapping is page-aligned, as large as a table, and lives
        // as long as self; every field is atomic and zeroes are valid.
        unsafe { &*self.map.as_ptr().cast::<Table>() }
    }

    /// The totals as JSON.
    pub fn json(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = esca_abi::json::write(self.table(), &mut text);
        text
    }

    /// Writes the totals to `path`, as [`replace`] does.
    pub fn write(&self, path: &Path) -> Result<()> {
        replace(path, self.json().as_bytes())
    }
}

/// Writes `text` to `path`: in one step for its readers where it is (or shall
/// be) a file, behind links; straight to a pipe or a device.
pub fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.into());
    if path.exists() && !path.is_file() {
        std::fs::write(path, text)?;
        return Ok(());
    }
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty());
    let mut tmp = tempfile::NamedTempFile::new_in(dir.unwrap_or(Path::new(".")))?;
    tmp.write_all(text)?;
    // As a program that creates a file would: by the umask, not 0600.
    use std::os::unix::fs::PermissionsExt;
    tmp.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    tmp.persist(path)?;
    Ok(())
}
