//! The border to the C side (`ops.c`, `device.c`): its functions as a [`Kernel`],
//! and ours for it.

use crate::setup;
use crate::walk::{Kernel, run};
use core::ptr::read_volatile;
use esca_abi::device::Setup;
use esca_abi::op::Op;

/// What the C side keeps during a run (`struct esca_run`); opaque here.
#[repr(C)]
struct Run {
    _private: [u8; 0],
}

// SAFETY: as declared in glue.h. Each takes whatever numbers the process
// wrote and checks them as the plain call would.
unsafe extern "C" {
    fn esca_glue_send(r: *mut Run, fd: i32, ptr: u64, len: u64, flags: u32) -> i64;
    fn esca_glue_sendmsg(
        r: *mut Run,
        fd: i32,
        ptr: u64,
        len: u64,
        flags: u32,
        want: *mut u64,
    ) -> i64;
    fn esca_glue_write(r: *mut Run, fd: i32, ptr: u64, len: u64) -> i64;
    fn esca_glue_writev(r: *mut Run, fd: i32, ptr: u64, len: u64, want: *mut u64) -> i64;
    fn esca_glue_sendfile(
        r: *mut Run,
        out: i32,
        file: i32,
        own: bool,
        off: u64,
        len: u64,
        flags: u32,
    ) -> i64;
    fn esca_glue_sendfile_copy(
        r: *mut Run,
        out: i32,
        file: i32,
        off: u64,
        len: u64,
        flags: u32,
    ) -> i64;
    fn esca_glue_recv(r: *mut Run, fd: i32, ptr: u64, len: u64, flags: u32) -> i64;
    fn esca_glue_read(r: *mut Run, fd: i32, ptr: u64, len: u64, at: bool, off: u64) -> i64;
    fn esca_glue_shutdown(r: *mut Run, fd: i32, how: i32) -> i64;
    fn esca_glue_close(r: *mut Run, fd: i32) -> i64;
    fn esca_glue_setsockopt(
        r: *mut Run,
        fd: i32,
        level: i32,
        name: i32,
        value: u64,
        len: u32,
    ) -> i64;
    fn esca_glue_pause() -> bool;
}

/// The kernel, for one run.
struct Glue {
    run: *mut Run,
    /// The task's flag word and the bits that mean it is wanted.
    word: *const usize,
    mask: usize,
}

impl Kernel for Glue {
    #[inline(always)]
    fn send(&mut self, fd: i32, ptr: u64, len: u64, flags: u32) -> i64 {
        // SAFETY: run is the one the C side gave for this run; so below.
        unsafe { esca_glue_send(self.run, fd, ptr, len, flags) }
    }
    #[inline(always)]
    fn send_msg(&mut self, fd: i32, ptr: u64, len: u64, flags: u32, want: &mut u64) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_sendmsg(self.run, fd, ptr, len, flags, want) }
    }
    #[inline(always)]
    fn write(&mut self, fd: i32, ptr: u64, len: u64) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_write(self.run, fd, ptr, len) }
    }
    #[inline(always)]
    fn writev(&mut self, fd: i32, ptr: u64, len: u64, want: &mut u64) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_writev(self.run, fd, ptr, len, want) }
    }
    #[inline(always)]
    fn send_file(&mut self, out: i32, file: i32, off: Option<u64>, len: u64, flags: u32) -> i64 {
        let at = off.unwrap_or(0);
        // SAFETY: as above.
        unsafe { esca_glue_sendfile(self.run, out, file, off.is_none(), at, len, flags) }
    }
    #[inline(always)]
    fn send_file_copy(&mut self, out: i32, file: i32, off: u64, len: u64, flags: u32) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_sendfile_copy(self.run, out, file, off, len, flags) }
    }
    #[inline(always)]
    fn recv(&mut self, fd: i32, ptr: u64, len: u64, flags: u32) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_recv(self.run, fd, ptr, len, flags) }
    }
    #[inline(always)]
    fn read(&mut self, fd: i32, ptr: u64, len: u64, off: Option<u64>) -> i64 {
        let at = off.unwrap_or(0);
        // SAFETY: as above.
        unsafe { esca_glue_read(self.run, fd, ptr, len, off.is_some(), at) }
    }
    #[inline(always)]
    fn shutdown(&mut self, fd: i32, how: i32) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_shutdown(self.run, fd, how) }
    }
    #[inline(always)]
    fn close(&mut self, fd: i32) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_close(self.run, fd) }
    }
    #[inline(always)]
    fn set_option(&mut self, fd: i32, level: i32, name: i32, value: u64, len: u32) -> i64 {
        // SAFETY: as above.
        unsafe { esca_glue_setsockopt(self.run, fd, level, name, value, len) }
    }
    #[inline(always)]
    fn wanted(&self) -> bool {
        // SAFETY: the current task's word, which lives as long as the task.
        unsafe { read_volatile(self.word) & self.mask != 0 }
    }
    #[cold]
    fn pause(&mut self) -> bool {
        // SAFETY: no arguments.
        unsafe { esca_glue_pause() }
    }
}

/// Runs the first `n` entries; gives how many got a result.
///
/// # Safety
/// `table` is a kernel mapping of at least `n` entries, `r` the C side's state of
/// this run, `word` the current task's flags.
#[unsafe(no_mangle)]
unsafe extern "C" fn esca_rs_run(
    table: *mut Op,
    n: u32,
    r: *mut Run,
    word: *const usize,
    mask: usize,
) -> i64 {
    let mut k = Glue { run: r, word, mask };
    // SAFETY: the caller's promise.
    i64::from(unsafe { run(table, n, &mut k) })
}

/// Answers a SETUP in place: 0, or minus an errno.
///
/// # Safety
/// `ask` is a valid struct of the caller's.
#[unsafe(no_mangle)]
unsafe extern "C" fn esca_rs_setup(ask: *mut Setup, opcodes: u64) -> i32 {
    // SAFETY: the caller's promise.
    setup::answer(unsafe { &mut *ask }, opcodes)
}
