//! A descriptor of the library's own, closed by the kernel's call: `OwnedFd`
//! closes by the C library's, which the sweeper's thread may not call, and
//! which the preload library interposes.

use super::call::syscall;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

pub(crate) struct Fd(RawFd);

impl Fd {
    /// Takes a number over.
    ///
    /// # Safety
    /// It is open in the caller's descriptor table, not -1, and nobody else
    /// closes it.
    pub unsafe fn from_raw(fd: RawFd) -> Self {
        Fd(fd)
    }

    /// Gives the number up, open.
    pub fn into_raw(self) -> RawFd {
        let fd = self.0;
        std::mem::forget(self);
        fd
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        Fd(fd.into_raw_fd())
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open while this value lives.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: this value's own number.
        unsafe { syscall(libc::SYS_close, [self.0 as usize, 0, 0, 0, 0]) };
    }
}
