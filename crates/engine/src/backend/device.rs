//! `/dev/esca` as a process uses it: contexts and their tables.

use super::Op;
use crate::numbers::to_high;
use esca_abi::device::{self, PATH, RUN_AT, SETUP, Setup};
use esca_abi::stats::Table;
use esca_abi::status::Status;
use rustix::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SeekFrom, fstat, open, seek};
use rustix::io::{Errno, Result};
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{Ordering::SeqCst, compiler_fence};

/// Where contexts come from: the device, or in tests something like it.
pub trait Device: Send + Sync {
    /// A context of this process.
    ///
    /// # Errors
    /// Why there is none.
    fn open(&self) -> std::result::Result<Context, Absent>;

    /// Runs the first `n` entries of the context's table; gives how many got a
    /// result.
    ///
    /// # Safety
    /// Every address in those entries is valid for its opcode.
    ///
    /// # Errors
    /// Nothing was run.
    unsafe fn run(&self, context: &Context, n: u32) -> Result<u32>;

    /// Gives a context back that this process opened, or only its descriptor
    /// if it is a copy that a fork left (the table is not copied).
    fn close(&self, context: Context, copy: bool);
}

/// A context: a descriptor and a table that is shared with the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The device, opened.
    pub fd: RawFd,
    /// The table.
    pub table: *mut Op,
    /// Its entries.
    pub entries: u32,
    /// The device's number, by which `fd` is known to be ours still.
    pub number: u64,
}

/// Why there is no context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is no device.
    NotThere,
    /// It may not be opened.
    Forbidden,
    /// The module speaks this version.
    Version(u32),
    /// This task is under a seccomp filter.
    Filtered,
    /// It failed otherwise.
    Failed(Errno),
}

impl Absent {
    /// Whether a machine is expected to be like this: nothing to tell those
    /// who did not ask.
    #[must_use]
    pub fn is_ordinary(self) -> bool {
        matches!(self, Absent::NotThere | Absent::Forbidden)
    }

    /// Notes it in the statistics: standard error is the program's.
    pub(crate) fn note(self, table: &Table) {
        let (status, number) = match self {
            Absent::NotThere => (Status::KmodNotThere, 0),
            Absent::Forbidden => (Status::KmodForbidden, 0),
            Absent::Version(v) => (Status::KmodVersion, v),
            Absent::Filtered => (Status::KmodFiltered, 0),
            Absent::Failed(e) => (Status::KmodFailed, e.raw_os_error() as u32),
        };
        table.noted.note(status, number);
    }

    fn opening(e: Errno) -> Self {
        match e {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => Absent::NotThere,
            Errno::ACCESS | Errno::PERM => Absent::Forbidden,
            e => Absent::Failed(e),
        }
    }

    /// From the error of a run.
    pub(crate) fn running(e: Errno) -> Self {
        match e {
            Errno::ACCESS => Absent::Filtered,
            e => Absent::Failed(e),
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absent::NotThere => f.write_str(
                "there is no /dev/esca; load the module ('make load-lkm', docs/kmod.md)",
            ),
            Absent::Forbidden => f.write_str(
                "/dev/esca may not be opened; add the server's user to the group esca",
            ),
            Absent::Version(v) => write!(
                f,
                "the loaded module speaks version {v} of the table and this library {}; build both from one release",
                device::VERSION
            ),
            Absent::Filtered => f.write_str(
                "this process is under a seccomp filter, which the module serves only with allow_seccomp=1",
            ),
            Absent::Failed(e) => write!(f, "/dev/esca failed: {e}"),
        }
    }
}

/// The device of the kernel module.
pub struct Esca;

fn number_of(fd: impl AsFd) -> Result<u64> {
    fstat(fd).map(|s| s.st_rdev)
}

fn set_up(fd: &OwnedFd) -> std::result::Result<Setup, Absent> {
    let mut ask = Setup::new(0);
    // SAFETY: SETUP takes a Setup, which its number names the size of.
    match unsafe { ioctl(fd, Updater::<{ SETUP as Opcode }, Setup>::new(&mut ask)) } {
        Ok(()) if ask.version != device::VERSION || ask.entry_size as usize != size_of::<Op>() => {
            Err(Absent::Version(ask.version))
        }
        Ok(()) => Ok(ask),
        Err(Errno::PROTONOSUPPORT) => Err(Absent::Version(ask.version)),
        Err(e) => Err(Absent::running(e)),
    }
}

impl Device for Esca {
    fn open(&self) -> std::result::Result<Context, Absent> {
        let fd =
            open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(Absent::opening)?;
        let fd = to_high(fd);
        let ask = set_up(&fd)?;
        let number = number_of(&fd).map_err(Absent::Failed)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let table = unsafe {
            mmap(
                std::ptr::null_mut(),
                Setup::bytes(ask.entries),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )
        }
        .map_err(Absent::Failed)?;
        Ok(Context {
            fd: fd.into_raw_fd(),
            table: table.cast(),
            entries: ask.entries,
            number,
        })
    }

    unsafe fn run(&self, context: &Context, n: u32) -> Result<u32> {
        // Not seen by the compiler: the table is read and written, and what its
        // entries point to.
        compiler_fence(SeqCst);
        let at = SeekFrom::Data(RUN_AT + u64::from(n));
        let done = seek(crate::numbers::borrow(context.fd), at);
        compiler_fence(SeqCst);
        // Less is another file's answer: the number is not our device any more.
        let done = done?.checked_sub(RUN_AT).filter(|&d| d <= u64::from(n));
        done.map_or(Err(Errno::NOTTY), |d| Ok(d as u32))
    }

    fn close(&self, context: Context, copy: bool) {
        if !copy {
            // SAFETY: the mapping that open made; nobody refers to it now.
            let _ = unsafe { munmap(context.table.cast(), Setup::bytes(context.entries)) };
        }
        // The program may have closed our number and been given it again.
        let fd = crate::numbers::borrow(context.fd);
        if number_of(fd) == Ok(context.number) {
            // SAFETY: the device, so ours.
            drop(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
        }
    }
}
