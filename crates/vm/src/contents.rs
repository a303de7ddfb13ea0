//! What goes into the initramfs: our programs, the servers, the module.

use crate::image::Image;
use crate::{module, programs};
use anyhow::{Context, Result, ensure};
use esca_vm::{COMMAND, LIBRARY};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Users that the servers look up.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
     nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\nnobody:x:65533:\nesca:x:990:nobody\n";

/// The directory of this program, where cargo puts the others.
pub fn built() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("this program's own path")?;
    Ok(exe.parent().context("a directory")?.into())
}

/// Makes the initramfs with the programs that were built beside this one, and
/// the module and the tests if there are some.
pub fn image(
    module: Option<&Path>,
    tests: Option<&BTreeMap<String, PathBuf>>,
    to: &Path,
) -> Result<()> {
    let dir = built()?;
    let mut image = Image::new();
    image.bytes("/etc/passwd", 0o644, PASSWD.as_bytes());
    image.bytes("/etc/group", 0o644, GROUP.as_bytes());
    // The guest's tests end by panics that are caught, which the release
    // profile does not have; what they test is the release build.
    for (name, path) in [
        ("esca-vm-guest", "/init"),
        ("../release/esca", COMMAND),
        ("../release/libesca_preload.so", LIBRARY),
    ] {
        let from = dir.join(name);
        ensure!(
            from.is_file(),
            "{} is missing; 'make build' makes it",
            from.display()
        );
        image.program(path, &from)?;
    }
    for server in ["nginx", "lighttpd", "redis-server"] {
        image.installed(server)?;
    }
    image.plugins(Path::new("/usr/lib/lighttpd"))?;
    image.directory(Path::new("/var/lib/nginx"));
    image.directory(Path::new("/var/log/nginx"));
    if let Some(module) = module {
        module::add(&mut image, module)?;
    }
    if let Some(tests) = tests {
        programs::add(&mut image, tests)?;
    }
    image.write(to)
}
