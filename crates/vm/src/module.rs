//! The kernel module, built for one of the kernels.

use crate::kernel::{Kernel, run};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds it; gives its path.
pub fn build(kernel: &Kernel, dir: &Path) -> Result<PathBuf> {
    let source = Path::new("kmod");
    ensure!(
        source.is_dir(),
        "no directory kmod here; run this in the project's own"
    );
    let dir = dir.canonicalize()?;
    let out = dir.join("kmod").join(&kernel.release);
    let headers = kernel.headers.canonicalize()?;
    run(Command::new("make")
        .args(["--no-print-directory", "-C"])
        .arg(source)
        .arg(format!("KDIR={}", headers.display()))
        .arg(format!("OUT={}", out.display())))
    .with_context(|| format!("cannot build the module for {}", kernel.release))?;
    Ok(out.join("esca.ko"))
}
