//! The file that `ESCA_STATS` names: the statistics as JSON, at exit.
//!
//! *Who writes.* A program's environment is that of all it starts, so `timeout`,
//! `sh` and `env` have the same variable as the server, and end after it. A
//! process writes if one that shares its table had an engine: the server, its
//! workers, and the master that forked them. One that did nothing but wait for
//! events (a supervisor) leaves a file alone that somebody else wrote since its
//! start. The last process of a family writes last, and its table holds the sum
//! of all.
//!
//! *Where.* A root server may write into a folder that others can write to. So
//! the text goes into a file that this process made itself (`O_EXCL` takes
//! nothing that is there, a link neither), under a name with its number, and is
//! renamed to the one asked for, which follows no link. A name that is taken by
//! anything but a regular file (a link, `/dev/stderr`, a pipe) stays as it is.

use esca_abi::{json, stats::Table};
use std::ffi::{CStr, CString};
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

struct File {
    path: CString,
    /// When the process started, by the clock of file times.
    start: libc::timespec,
}

static FILE: OnceLock<File> = OnceLock::new();
/// No more writing: the process may no longer open files.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Names that are tried where a process of the same number left its own.
const TRIES: u32 = 8;
/// The text and the temporary file's name: not on the stack, because a process
/// may end on a small one.
static TEXT: Buffer<8192> = Buffer::new();
static NAME: Buffer<4200> = Buffer::new();
/// The process that has the buffers: the first thread of each that ends it.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// A path in the environment, absolute because a server may change its
/// directory.
pub(crate) fn path(name: &str) -> Option<CString> {
    let value = std::env::var_os(name).filter(|v| !v.is_empty())?;
    let path = std::path::absolute(value).ok()?;
    CString::new(path.into_os_string().into_vec()).ok()
}

/// Called at start: whether a file is asked for.
pub(crate) fn open() -> bool {
    let Some(path) = path("ESCA_STATS") else {
        return false;
    };
    let mut start = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a local struct.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut start) };
    FILE.set(File { path, start }).is_ok()
}

/// Writes the table's totals, if a file is asked for and they say something.
pub(crate) fn write(table: &Table) {
    let Some(file) = FILE.get().filter(|_| !CLOSED.load(Relaxed)) else {
        return;
    };
    if table.processes.load(Relaxed) == 0 && table.noted.all().next().is_none() {
        return;
    }
    match state_of(file) {
        Taken::Nothing => {}
        Taken::File { newer } if !newer || table.has_work() => {}
        Taken::File { .. } | Taken::Other => return,
    }
    // SAFETY: no arguments.
    let pid = unsafe { libc::getpid() } as u32;
    let other = OWNER.load(Relaxed);
    if other == pid
        || OWNER
            .compare_exchange(other, pid, Acquire, Relaxed)
            .is_err()
    {
        return;
    }
    // SAFETY: this thread has the buffers: it alone made OWNER its process,
    // and in a forked child no other thread is left that could have them.
    let (text, name) = unsafe { (&mut *TEXT.0.get(), &mut *NAME.0.get()) };
    text.clear();
    if json::write(table, text).is_ok() {
        replace(file, text.bytes(), name, pid);
    }
    OWNER.store(0, Release);
}

/// Writes the totals for the last time.
pub(crate) fn close(table: &Table) {
    write(table);
    CLOSED.store(true, Relaxed);
}

/// What stands under the file's name.
enum Taken {
    Nothing,
    /// A file; written since this process started.
    File {
        newer: bool,
    },
    Other,
}

fn state_of(file: &File) -> Taken {
    // SAFETY: zeroes are a `stat`.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a local struct.
    if unsafe { libc::lstat(file.path.as_ptr(), &raw mut st) } != 0 {
        return Taken::Nothing;
    }
    if st.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Taken::Other;
    }
    let newer = (st.st_mtime, st.st_mtime_nsec) >= (file.start.tv_sec, file.start.tv_nsec);
    Taken::File { newer }
}

/// Puts `text` under the file's name in one step; a worker without the right
/// to do so leaves it to its master.
fn replace(file: &File, text: &[u8], name: &mut Text<4200>, pid: u32) {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    for n in 0..TRIES {
        let Some(tmp) = name.temporary(&file.path, pid, n) else {
            return;
        };
        // SAFETY: C strings, and bytes of a slice; the descriptor is closed
        // again.
        unsafe {
            let fd = libc::open(tmp.as_ptr(), flags, 0o644);
            if fd < 0 {
                if std::io::Error::last_os_error().raw_os_error() == Some(libc::EEXIST) {
                    continue;
                }
                return;
            }
            let done = libc::write(fd, text.as_ptr().cast(), text.len());
            libc::close(fd);
            let whole = done == text.len() as isize;
            if !whole || libc::rename(tmp.as_ptr(), file.path.as_ptr()) != 0 {
                libc::unlink(tmp.as_ptr());
            }
            return;
        }
    }
}

/// A text in memory of the library's own.
struct Buffer<const N: usize>(std::cell::UnsafeCell<Text<N>>);

// SAFETY: used by the thread that [`OWNER`] lets, alone.
unsafe impl<const N: usize> Sync for Buffer<N> {}

impl<const N: usize> Buffer<N> {
    const fn new() -> Self {
        Buffer(std::cell::UnsafeCell::new(Text {
            bytes: [0; N],
            len: 0,
        }))
    }
}

/// Text without allocation.
struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, more: &[u8]) -> Option<()> {
        let end = self.len.checked_add(more.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(more);
        self.len = end;
        Some(())
    }

    /// `PATH.PID.N.tmp`, in the folder of the file itself.
    fn temporary(&mut self, path: &CStr, pid: u32, n: u32) -> Option<&CStr> {
        self.clear();
        self.push(path.to_bytes())?;
        write!(self, ".{pid}.{n}.tmp").ok()?;
        self.push(b"\0")?;
        CStr::from_bytes_with_nul(self.bytes()).ok()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes()).ok_or(fmt::Error)
    }
}
