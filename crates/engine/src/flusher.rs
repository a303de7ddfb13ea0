//! Who hands bytes to the kernel: a thread of the program, or the sweeper,
//! which fetches each socket from the program's descriptor table.

use crate::backend::{Backend, Op};
use crate::sys::table::Program;
use esca_abi::stats;
use rustix::fd::AsRawFd;
use rustix::io::Errno;

/// The counters that the caller adds to, and the program's descriptor table
/// where the caller has another.
pub(crate) struct Flusher<'a> {
    pub stats: &'a stats::Slot,
    pub program: Option<&'a Program>,
}

impl<'a> Flusher<'a> {
    /// A thread of the program.
    #[inline]
    pub fn thread(stats: &'a stats::Slot) -> Self {
        Flusher {
            stats,
            program: None,
        }
    }

    /// Has `backend` run each of `ops` on a socket fetched for it.
    ///
    /// # Safety
    /// As for [`Backend::run`].
    pub unsafe fn run_fetched(program: &Program, backend: &dyn Backend, ops: &mut [Op]) -> u32 {
        let mut entries = 0;
        for op in ops {
            let number = op.fd;
            op.result = match program.fetch(number) {
                Ok(own) => {
                    op.fd = own.as_raw_fd();
                    // SAFETY: the caller's promise.
                    entries += unsafe { backend.run(std::slice::from_mut(op)) };
                    op.fd = number;
                    op.result
                }
                // The number was closed past the library.
                Err(Errno::BADF) => -i64::from(libc::EBADF),
                // The bytes stay for a thread of the program.
                Err(_) => -i64::from(libc::EAGAIN),
            };
        }
        entries
    }

    /// Runs `f` with the number by which the caller reaches the program's
    /// `fd`, if it does.
    pub fn reach(&self, fd: i32, f: impl FnOnce(i32)) {
        match self.program.map(|p| p.fetch(fd)) {
            None => f(fd),
            Some(Ok(own)) => f(own.as_raw_fd()),
            Some(Err(_)) => {}
        }
    }
}
