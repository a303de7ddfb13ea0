//! The workload files of the published ESCA: `aN.html`, exactly N KiB each.

use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Sizes in KiB.
pub const SIZES: &[usize] = &[1, 5, 10, 20, 40, 100, 200];

#[derive(clap::Args)]
pub struct Args {
    /// The directory to write to; it is made if need be
    dir: PathBuf,
}

pub fn main(args: &Args) -> Result<()> {
    write(&args.dir)
}

/// Writes all files; the same bytes every time.
pub fn write(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for &kib in SIZES {
        let path = dir.join(format!("a{kib}.html"));
        std::fs::File::create(&path)
            .and_then(|mut f| f.write_all(&page(kib)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A page of exactly `kib` KiB, with no two lines alike so that a misplaced
/// byte shows.
pub fn page(kib: usize) -> Vec<u8> {
    let end = b"</pre></body></html>\n";
    let size = kib * 1024;
    let mut out = format!("<!doctype html><title>a{kib}</title><body><pre>\n").into_bytes();
    let mut x = 0x9e37_79b9_7f4a_7c15_u64 ^ kib as u64;
    while out.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(format!("{x:016x} {:08}\n", out.len()).as_bytes());
    }
    out.truncate(size - end.len());
    out.extend_from_slice(end);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn pages_are_exactly_as_long_as_named() {
        for &k in super::SIZES {
            assert_eq!(super::page(k).len(), k * 1024);
        }
        assert_ne!(super::page(5)[..1024], super::page(1)[..]);
    }
}
