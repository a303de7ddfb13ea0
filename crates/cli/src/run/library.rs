//! Where the preload library is, and how a command gets it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "libesca_preload.so";

/// Finds the library: `ESCA_LIB`, beside this program, or where packages put
/// it. The error says where it was looked for.
pub fn find() -> Result<PathBuf, String> {
    let path = look()?;
    let path = path.canonicalize().unwrap_or(path);
    // The dynamic linker splits its list at these (ld.so(8)).
    if path.to_string_lossy().contains([' ', ':']) {
        return Err(format!(
            "LD_PRELOAD cannot name {}, for its space or colon; move it or set ESCA_LIB",
            path.display()
        ));
    }
    Ok(path)
}

fn look() -> Result<PathBuf, String> {
    if let Some(p) = std::env::var_os("ESCA_LIB") {
        let p = PathBuf::from(p);
        return if p.is_file() {
            Ok(p)
        } else {
            Err(format!("ESCA_LIB names {}, which is no file", p.display()))
        };
    }
    let exe = std::env::current_exe().unwrap_or_default();
    let dir = exe.parent().unwrap_or(Path::new("/"));
    let places = [
        dir.join(NAME),
        dir.join("deps").join(NAME),
        dir.join("../lib/esca").join(NAME),
        PathBuf::from("/usr/lib/esca").join(NAME),
    ];
    places.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        format!(
            "{NAME} is neither beside {} nor in /usr/lib/esca; build it with 'make' or set ESCA_LIB",
            exe.display()
        )
    })
}

/// Puts the library in front of whatever else is preloaded.
pub fn preload(command: &mut Command, library: &Path) {
    let mut value = OsString::from(library);
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|o| !o.is_empty()) {
        value.push(":");
        value.push(others);
    }
    command.env("LD_PRELOAD", value);
}
