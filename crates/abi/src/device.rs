//! `/dev/esca`: how a process gets a table of operations that it shares with
//! the kernel module, and has it run.
//!
//! ```text
//! fd = open("/dev/esca", O_RDWR | O_CLOEXEC)     a context of this process
//! ioctl(fd, SETUP, &mut Setup)                   versions compared, size agreed
//! table = mmap(entries * 64, MAP_SHARED, fd, 0)  the table
//! done = ioctl(fd, RUN, n)                       runs the first n operations
//! RUN_AT + done = lseek(fd, RUN_AT + n, SEEK_DATA)      the same, for less
//! ```
//!
//! A context serves one process and one call at a time: one table a thread.

use crate::op::Op;

/// Where the device is.
pub const PATH: &core::ffi::CStr = c"/dev/esca";

/// Version of the table and of this interface. Both sides refuse another.
pub const VERSION: u32 = 2;

/// Entries of a table when [`Setup::entries`] is 0.
pub const DEFAULT_ENTRIES: u32 = 256;
/// Entries of the largest table.
pub const MAX_ENTRIES: u32 = 4096;
/// Different streams that one run can cancel; one more ends the run.
pub const MAX_CANCELLED: usize = 64;

/// The letter of the device's ioctls.
pub const LETTER: u32 = 0xEA;
/// Number of [`SETUP`] and of [`RUN`].
pub const NR_SETUP: u32 = 0;
/// See [`NR_SETUP`].
pub const NR_RUN: u32 = 1;

/// `ioctl(fd, SETUP, &mut Setup)`: once for each context, before anything
/// else. The size in the number is that of the caller's [`Setup`]; the struct
/// may grow at its end, and a kernel takes a longer one if the rest is zero.
///
/// Errors: `EPROTONOSUPPORT` (other version; the kernel's is in
/// [`Setup::version`] then), `EINVAL` (unknown flags, or too many entries),
/// `E2BIG` (something in a part that this kernel does not know), `EBUSY`
/// (done already), `ENOMEM`, and those of [`RUN`].
pub const SETUP: u32 = 3 << 30 | (size_of::<Setup>() as u32) << 16 | LETTER << 8 | NR_SETUP;
/// `ioctl(fd, RUN, n)`: runs operations `0..n` in order and returns how many
/// got a result. Fewer than n: a signal is to be handled first (or a close to
/// be finished, or [`MAX_CANCELLED`] was reached), and the others are marked
/// [`NOT_DONE`](crate::op::NOT_DONE); move them to the front and run again.
///
/// Errors, nothing having been run: `EACCES` (the task is under a seccomp
/// filter, which a table would go past), `EPERM` (another process's context),
/// `EINVAL` (more than the table holds), `EBADFD` (no [`SETUP`] yet), `EBUSY`
/// (another thread runs this table).
pub const RUN: u32 = LETTER << 8 | NR_RUN;

/// `lseek(fd, RUN_AT + n, SEEK_DATA)`: as [`RUN`], with the same errors; gives
/// `RUN_AT` plus what [`RUN`] returns. It gets to the module by half the
/// instructions: on the way of an ioctl there are the VFS's own requests, and
/// the security modules' look at it ([`SETUP`] is an ioctl and has it).
///
/// On a descriptor that has become another file's nothing is done: there is no
/// data so far behind any file's end, and an answer below `RUN_AT` is none.
pub const RUN_AT: u64 = 0x4553_4341 << 32;

/// What [`SETUP`] asks and answers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// In: the caller's [`VERSION`]. Out: the kernel's.
    pub version: u32,
    /// Zero; other bits are refused.
    pub flags: u32,
    /// In: entries wanted, or 0. Out: entries of the table.
    pub entries: u32,
    /// Out: bytes of an entry.
    pub entry_size: u32,
    /// Out: a bit for each opcode that this module carries out as it is
    /// loaded. Others get `-EOPNOTSUPP`.
    pub opcodes: u64,
    /// Out: the `F_*` bits it knows.
    pub op_flags: u32,
    /// Out: entries of the largest table.
    pub max_entries: u32,
}

const _: () = assert!(size_of::<Setup>() == 32);

impl Setup {
    /// A request for `entries` entries.
    #[must_use]
    pub const fn new(entries: u32) -> Self {
        Setup {
            version: VERSION,
            flags: 0,
            entries,
            entry_size: 0,
            opcodes: 0,
            op_flags: 0,
            max_entries: 0,
        }
    }

    /// Bytes of the mapping of a table of `entries` entries.
    #[must_use]
    pub const fn bytes(entries: u32) -> usize {
        (entries as usize * size_of::<Op>()).next_multiple_of(4096)
    }
}
