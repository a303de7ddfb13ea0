//! The statistics table of a running process, found in its memory map.
//!
//! The library keeps its counters in shared memory: anonymous, or a file that
//! the process was given. Either shows in /proc/PID/maps as a shared mapping
//! of a table's size, and is told from others by its first bytes. It is read
//! through /proc/PID/map_files (the memory itself: the process is not touched
//! at all), through its file, or through /proc/PID/mem, whichever the kernel
//! allows.

use super::Counts;
use anyhow::{Context, Result, anyhow, bail};
use esca_abi::stats::{MAGIC, Table, VERSION};
use esca_abi::status::{Noted, Status};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use std::fs::File;
use std::io::ErrorKind;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Of which memory a table is: the same for all processes that share it.
pub type Key = (i32, i32, u64);

/// An open table.
pub struct Source {
    pub key: Key,
    file: File,
    at: u64,
}

/// What stands in a table's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub policy: u32,
    pub rules: u32,
    pub backend: u32,
    pub processes: u32,
    /// Why the library does less than it was asked for, with a number each.
    pub noted: Vec<(Status, u8)>,
}

/// What the memory map of a process says.
pub enum Found {
    /// The library is not there.
    Without,
    /// It is, and no table: no wait yet.
    Dormant,
    /// It counts.
    Counting(Source),
}

/// Looks at a process. Errors say what to do.
pub fn find(process: &Process) -> Result<Found> {
    let pid = process.pid();
    let maps = match process.maps() {
        Ok(m) => m,
        Err(procfs::ProcError::PermissionDenied(_)) if rustix::process::geteuid().is_root() => {
            bail!("process {pid} may not be looked at by this root, which lacks CAP_SYS_PTRACE")
        }
        Err(procfs::ProcError::PermissionDenied(_)) => {
            bail!("process {pid} belongs to another user; run this as root or as that user")
        }
        Err(e) => return Err(anyhow!("cannot read the memory map of process {pid}: {e}")),
    };
    let ours = |m: &MemoryMap| matches!(&m.pathname, MMapPath::Path(p) if is_library(p));
    if !maps.iter().any(ours) {
        return Ok(Found::Without);
    }
    let mut refused = None;
    for m in maps.iter().filter(|m| may_be_table(m)) {
        match open(pid, m) {
            Ok(Some(source)) => return Ok(Found::Counting(source)),
            Ok(None) => {}
            Err(e) => refused = Some(e),
        }
    }
    match refused {
        Some(e) => Err(e),
        None => Ok(Found::Dormant),
    }
}

fn is_library(path: &std::path::Path) -> bool {
    path.file_name()
        .is_some_and(|n| n.as_encoded_bytes().starts_with(b"libesca_preload.so"))
}

/// Shared, readable and of a table's size.
fn may_be_table(m: &MemoryMap) -> bool {
    let page = rustix::param::page_size() as u64;
    let size = (size_of::<Table>() as u64).next_multiple_of(page);
    m.perms
        .contains(MMPermissions::SHARED | MMPermissions::READ)
        && m.address.1 - m.address.0 == size
        && m.offset == 0
}

/// Opens a mapping by the first way that is allowed; `None` if it holds
/// something else.
fn open(pid: i32, m: &MemoryMap) -> Result<Option<Source>> {
    let key = (m.dev.0, m.dev.1, m.inode);
    let (from, to) = m.address;
    let memory = File::open(format!("/proc/{pid}/map_files/{from:x}-{to:x}"));
    let named = || match &m.pathname {
        MMapPath::Path(p) => {
            let f = File::open(p).ok()?;
            (f.metadata().ok()?.ino() == m.inode).then_some(f)
        }
        _ => None,
    };
    let (file, at) = if let Some(f) = memory.ok().or_else(named) {
        (f, 0)
    } else {
        let f = File::open(format!("/proc/{pid}/mem")).map_err(|e| match e.kind() {
            ErrorKind::PermissionDenied => anyhow!(
                "the counters of process {pid} may not be read by this user; run this as root \
                 (or allow it: sysctl kernel.yama.ptrace_scope=0)"
            ),
            _ => anyhow!("cannot open the memory of process {pid}: {e}"),
        })?;
        (f, from)
    };
    let source = Source { key, file, at };
    let Ok(head) = source.bytes(size_of::<u64>() + size_of::<u32>()) else {
        return Ok(None);
    };
    let (magic, version) = (long(&head, 0), word(&head, offset_of!(Table, version)));
    if magic != MAGIC {
        return Ok(None);
    }
    if version != VERSION {
        bail!(
            "process {pid} runs another version of the library (statistics {version}, \
             this tool reads {VERSION}); use the tool of the same version"
        );
    }
    Ok(Some(source))
}

impl Source {
    fn bytes(&self, n: usize) -> std::io::Result<Vec<u8>> {
        let mut b = vec![0; n];
        self.file.read_exact_at(&mut b, self.at)?;
        Ok(b)
    }

    /// Reads header and totals as they are now.
    pub fn read(&self) -> Result<(Header, Counts)> {
        let b = self
            .bytes(size_of::<Table>())
            .context("the counters cannot be read any more")?;
        let header = Header {
            policy: word(&b, offset_of!(Table, policy)),
            rules: word(&b, offset_of!(Table, rules)),
            backend: word(&b, offset_of!(Table, backend)),
            processes: word(&b, offset_of!(Table, processes)),
            noted: noted(b.get(offset_of!(Table, noted)..).unwrap_or_default()),
        };
        Ok((header, Counts::decode(&b)))
    }
}

/// Reads a [`Noted`].
fn noted(b: &[u8]) -> Vec<(Status, u8)> {
    let reasons = long(b, Noted::REASONS_AT);
    let noted = |s: &&Status| reasons & (1 << **s as u8) != 0;
    let number = |s: &Status| {
        let at = Noted::NUMBERS_AT + *s as usize;
        (*s, b.get(at).copied().unwrap_or(0))
    };
    Status::ALL.iter().filter(noted).map(number).collect()
}

fn word(b: &[u8], at: usize) -> u32 {
    let w = b.get(at..at + 4).and_then(|w| w.try_into().ok());
    w.map_or(0, u32::from_ne_bytes)
}

fn long(b: &[u8], at: usize) -> u64 {
    let w = b.get(at..at + 8).and_then(|w| w.try_into().ok());
    w.map_or(0, u64::from_ne_bytes)
}
