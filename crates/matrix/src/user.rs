//! Programs that refuse to run as root, run as nobody.

use esca_suite::dir::Dir;
use esca_suite::mode::{Mode, library, library_name};
use rustix::fs::chown;
use rustix::process::{Gid, Uid, getuid};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's nobody and nogroup.
const NOBODY: u32 = 65_534;

/// Has a command run as nobody, where it would run as root.
pub fn demote(command: &mut Command) {
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.env("HOME", "/nonexistent").env("USER", "nobody");
}

/// Gives a directory to nobody, where this process is root.
pub fn give(dir: &Dir) {
    own(dir.path());
}

/// Gives a file to nobody, where this process is root.
pub fn own(path: &Path) {
    if getuid().is_root() {
        let to = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        chown(path, Some(to.0), Some(to.1)).expect("chown");
    }
}

/// Preloads a copy of the library that everybody may read: a checkout in
/// root's home is closed to nobody.
pub fn reachable(mode: Mode, command: &mut Command, dir: &Dir) -> Option<PathBuf> {
    if mode == Mode::Plain {
        return None;
    }
    let bytes = std::fs::read(library()).expect("the preload library");
    let copy = dir.write(&library_name(), bytes);
    command.env("LD_PRELOAD", &copy);
    Some(copy)
}
