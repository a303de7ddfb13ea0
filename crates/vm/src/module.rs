//! The kernel module, built for one of the kernels.

use crate::image::Image;
use crate::kernel::{Kernel, run};
use anyhow::{Context, Result, ensure};
use esca_vm::{MODULE, PROJECT};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds it; gives its path.
pub fn build(kernel: &Kernel, dir: &Path) -> Result<PathBuf> {
    let source = Path::new("kmod");
    ensure!(
        source.is_dir(),
        "no directory kmod here; run this in the project's own"
    );
    let out = dir.canonicalize()?.join("kmod").join(&kernel.release);
    from(source, &out, kernel)
}

/// Builds it from these sources, into a directory of its own.
pub fn from(source: &Path, out: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let headers = kernel.headers.canonicalize()?;
    run(Command::new("make")
        .args(["--no-print-directory", "-C"])
        .arg(source)
        .arg(format!("KDIR={}", headers.display()))
        .arg(format!("OUT={}", out.display())))
    .with_context(|| format!("cannot build the module for {}", kernel.release))?;
    Ok(out.join("esca.ko"))
}

/// Programs that the scripts which load it need.
const PROGRAMS: [&str; 15] = [
    "sh", "id", "uname", "dirname", "cut", "getent", "chgrp", "chmod", "modinfo", "insmod",
    "rmmod", "readlink", "sort", "tr", "sleep",
];

/// Puts it into the image, and the scripts that load it.
pub fn add(image: &mut Image, module: &Path) -> Result<()> {
    image.file(MODULE, module)?;
    let release = module.parent().and_then(Path::file_name);
    let release = release.context("the module's directory")?.to_string_lossy();
    image.file(&format!("{PROJECT}/target/kmod/{release}/esca.ko"), module)?;
    for script in ["load.sh", "unload.sh"] {
        let from = Path::new("kmod").join(script);
        image.file(&format!("{PROJECT}/kmod/{script}"), &from)?;
    }
    PROGRAMS.iter().try_for_each(|p| image.installed(p))
}
