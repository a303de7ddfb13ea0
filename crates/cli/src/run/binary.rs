//! Whether a program can be wrapped: the dynamic linker must load it, for
//! this processor, and honour LD_PRELOAD.

use super::{NOT_FOUND, Refusal};
use object::elf;
use object::read::elf::{ElfFile32, ElfFile64, FileHeader, ProgramHeader};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[cfg(target_arch = "x86_64")]
const MACHINE: (u16, &str) = (elf::EM_X86_64, "x86-64");
#[cfg(target_arch = "aarch64")]
const MACHINE: (u16, &str) = (elf::EM_AARCH64, "aarch64");

/// How many interpreters of scripts may stand in a row, as in the kernel.
const SCRIPTS: usize = 4;

/// Finds `name` as execvp(3) does and checks it (a script's interpreter in
/// its place). Gives the path to run.
pub fn check(name: &Path) -> Result<PathBuf, Refusal> {
    let path = which::which(name).map_err(|_| missing(name))?;
    let mut at = path.clone();
    for _ in 0..SCRIPTS {
        match inspect(&at)? {
            None => return Ok(path),
            Some(interpreter) => at = interpreter,
        }
    }
    Err(Refusal::cannot(format!(
        "{} is a script of scripts; run its last interpreter",
        path.display()
    )))
}

fn missing(name: &Path) -> Refusal {
    let shown = name.display();
    if name.components().count() > 1 && name.exists() {
        return Refusal::cannot(format!("{shown} is not an executable file; check its mode"));
    }
    Refusal {
        code: NOT_FOUND,
        why: if name.components().count() > 1 {
            format!("{shown} does not exist; check the name or install it")
        } else {
            format!("{shown} is not in PATH; check the name or install it")
        },
    }
}

/// Checks one file; gives the interpreter if it is a script.
fn inspect(path: &Path) -> Result<Option<PathBuf>, Refusal> {
    let shown = path.display();
    let refuse = |why: String| Err(Refusal::cannot(why));
    let mode = fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if mode & 0o6000 != 0 {
        return refuse(format!(
            "{shown} is setuid or setgid: the dynamic linker ignores LD_PRELOAD for it"
        ));
    }
    let mut caps = [0u8; 64];
    if rustix::fs::getxattr(path, c"security.capability", &mut caps[..]).is_ok_and(|n| n > 0) {
        return refuse(format!(
            "{shown} has file capabilities: the dynamic linker ignores LD_PRELOAD for it"
        ));
    }
    let data = match fs::read(path) {
        Ok(d) => d,
        Err(e) => return refuse(format!("{shown} cannot be read to check it: {e}")),
    };
    if let Some(line) = data.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        // env(1) only looks its argument up.
        if first.ends_with("/env")
            && let Some(w) = words.find(|w| !w.starts_with('-') && !w.contains('='))
        {
            return which::which(w).map(Some).map_err(|_| missing(Path::new(w)));
        }
        return if first.is_empty() {
            refuse(format!("{shown} is a script without an interpreter"))
        } else {
            Ok(Some(PathBuf::from(first)))
        };
    }
    let (machine, dynamic) = match parse(&data) {
        Some(x) => x,
        None => {
            return refuse(format!(
                "{shown} is neither an ELF program nor a script with '#!'"
            ));
        }
    };
    if machine != Some(MACHINE.0) {
        return refuse(format!(
            "{shown} is for another architecture; this build of ESCA is for {}",
            MACHINE.1
        ));
    }
    if !dynamic {
        return refuse(format!(
            "{shown} is statically linked: it never loads the library; use a dynamic build of it"
        ));
    }
    Ok(None)
}

/// The machine (`None` for 32 bits) and whether there is an interpreter.
fn parse(data: &[u8]) -> Option<(Option<u16>, bool)> {
    if let Ok(f) = ElfFile64::<object::Endianness>::parse(data) {
        let e = f.endian();
        let machine = f.elf_header().e_machine(e);
        let dynamic = f
            .elf_program_headers()
            .iter()
            .any(|h| h.p_type(e) == elf::PT_INTERP);
        return Some((Some(machine), dynamic));
    }
    ElfFile32::<object::Endianness>::parse(data)
        .ok()
        .map(|_| (None, true))
}
