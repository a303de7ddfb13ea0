//! A script that stands where a suite looks for its server: only the server
//! runs under ESCA, not the suite's own interpreter.

use anyhow::{Context, Result};
use esca_suite::mode::{Mode, Stats};
use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Writes the script that executes `program` in this mode.
///
/// # Errors
/// Those of the file.
pub fn write(script: &Path, program: &Path, mode: Mode) -> Result<Option<Stats>> {
    // The mode sets a command up; the script does the same to its own
    // environment.
    let mut model = Command::new(program);
    let stats = mode.apply(&mut model);
    let mut text = String::from("#!/bin/sh\n");
    for (name, value) in model.get_envs() {
        let name = name.to_string_lossy();
        match value {
            Some(v) => writeln!(text, "export {name}={}", quoted(&v.to_string_lossy()))?,
            None => writeln!(text, "unset {name}")?,
        }
    }
    writeln!(text, "exec {} \"$@\"", quoted(&program.to_string_lossy()))?;
    // Where a link to the plain program stands, the link goes.
    let _ = std::fs::remove_file(script);
    std::fs::write(script, text).with_context(|| format!("cannot write {}", script.display()))?;
    std::fs::set_permissions(script, Permissions::from_mode(0o755))?;
    Ok(stats)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use esca_suite::dir::Dir;

    #[test]
    fn the_script_runs_the_program_with_its_arguments() {
        let dir = Dir::new();
        let script = dir.path().join("it's");
        write(&script, Path::new("/bin/echo"), Mode::Plain).expect("a script");
        let out = Command::new(&script).args(["a b", "c"]).output();
        assert_eq!(out.expect("it runs").stdout, b"a b c\n");
    }
}
