//! /dev/esca, as a program would use it, and nothing between.

use crate::plain::is_short;
use esca_abi::device::{PATH, RUN, RUN_AT, SETUP, Setup};
use esca_abi::op::{F_LINK, NOT_DONE, Op};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// An open device, not set up yet.
pub fn open() -> io::Result<OwnedFd> {
    // SAFETY: a path that ends.
    let fd = unsafe { libc::open(PATH.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The answer of an ioctl.
pub fn answer(done: i32) -> io::Result<u32> {
    u32::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// `ioctl(fd, SETUP, setup)`.
pub fn set_up(fd: RawFd, setup: &mut Setup) -> io::Result<u32> {
    // SAFETY: the kernel reads and writes a Setup.
    answer(unsafe { libc::ioctl(fd, u64::from(SETUP), ptr::from_mut(setup)) })
}

/// `ioctl(fd, RUN, n)`.
pub fn run(fd: RawFd, n: u64) -> io::Result<u32> {
    // SAFETY: it works on the table, whose entries are the caller's word.
    answer(unsafe { libc::ioctl(fd, u64::from(RUN), n) })
}

/// `lseek(fd, RUN_AT + n, SEEK_DATA)`; an answer below `RUN_AT` is another
/// file's.
pub fn seek(fd: RawFd, n: u64) -> io::Result<u32> {
    let at = RUN_AT.wrapping_add(n).cast_signed();
    // SAFETY: as above.
    let done = unsafe { libc::lseek(fd, at, libc::SEEK_DATA) };
    let done = u64::try_from(done).map_err(|_| io::Error::last_os_error())?;
    let done = done.checked_sub(RUN_AT).and_then(|d| d.try_into().ok());
    done.ok_or(io::ErrorKind::NotSeekable.into())
}

/// A context with its table.
pub struct Device {
    /// The device.
    pub fd: OwnedFd,
    /// What the module answered.
    pub setup: Setup,
    table: *mut Op,
}

impl Device {
    /// Opens a context with a table of at least so many entries.
    pub fn new(entries: u32) -> io::Result<Device> {
        let fd = open()?;
        let mut setup = Setup::new(entries);
        set_up(fd.as_raw_fd(), &mut setup)?;
        let len = Setup::bytes(setup.entries);
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, over nothing else.
        let table = unsafe { mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, &fd, 0) }?;
        Ok(Device {
            fd,
            setup,
            table: table.cast(),
        })
    }

    /// The place of an entry.
    pub fn at(&self, i: usize) -> *mut Op {
        assert!(i < self.setup.entries as usize);
        self.table.wrapping_add(i)
    }

    /// Writes an entry.
    pub fn set(&self, i: usize, op: Op) {
        // SAFETY: an entry of the table; the kernel may see it half written,
        // which is its business.
        unsafe { ptr::write_volatile(self.at(i), op) }
    }

    /// An entry's result.
    pub fn result(&self, i: usize) -> i64 {
        // SAFETY: an entry of the table.
        unsafe { ptr::read_volatile(&raw const (*self.at(i)).result) }
    }

    /// Runs the first `n` entries, as the library does.
    pub fn run(&self, n: u32) -> io::Result<u32> {
        seek(self.fd.as_raw_fd(), u64::from(n))
    }

    /// The same by ioctl.
    pub fn run_by_ioctl(&self, n: u32) -> io::Result<u32> {
        run(self.fd.as_raw_fd(), u64::from(n))
    }

    /// Runs operations to the last, again and again if a signal ends a run;
    /// gives the results and the number of runs. A link does not reach into
    /// the next run, so what it cancelled there is left out, as a program has
    /// to do it.
    pub fn run_all(&self, ops: &[Op]) -> (Vec<i64>, u32) {
        let (mut results, mut runs) = (vec![NOT_DONE; ops.len()], 0);
        let mut todo: Vec<usize> = (0..ops.len()).collect();
        while !todo.is_empty() {
            let now = &todo[..todo.len().min(self.setup.entries as usize)];
            for (place, &i) in now.iter().enumerate() {
                self.set(
                    place,
                    Op {
                        result: 77,
                        ..ops[i]
                    },
                );
            }
            let done = self.run(now.len() as u32).expect("a run") as usize;
            assert!(done > 0 && done <= now.len(), "{done} of {}", now.len());
            for (place, &i) in now.iter().enumerate() {
                results[i] = self.result(place);
                let not_done = results[i] == NOT_DONE;
                assert_eq!(not_done, place >= done, "entry {i}, {done} done");
            }
            runs += 1;
            let (done, rest) = todo.split_at(done);
            let failed: Vec<i32> = done
                .iter()
                .filter(|&&i| ops[i].flags & F_LINK != 0 && is_short(&ops[i], results[i]))
                .map(|&i| ops[i].fd)
                .collect();
            let (cancelled, rest): (Vec<_>, Vec<_>) =
                rest.iter().partition(|&&i| failed.contains(&ops[i].fd));
            for i in cancelled {
                results[i] = -i64::from(libc::ECANCELED);
            }
            todo = rest;
        }
        (results, runs)
    }
}

impl Device {
    fn unmap(&self) {
        // SAFETY: the mapping made above; nobody holds a pointer into it.
        let _ = unsafe { munmap(self.table.cast(), Setup::bytes(self.setup.entries)) };
    }

    /// Unmaps the table of a device whose number is closed already.
    pub fn abandon(self) {
        self.unmap();
        std::mem::forget(self);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.unmap();
    }
}
