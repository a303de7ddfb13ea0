//! Memory straight from the kernel: the engine must not allocate where a
//! signal handler may have interrupted the program's allocator.

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::ffi::c_void;

fn map(len: usize, flags: MapFlags) -> rustix::io::Result<*mut c_void> {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice
    // overlaps nothing.
    unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            flags,
        )
    }
}

/// Zeroed pages of this process, filled on first touch.
pub(crate) fn map_private(len: usize) -> rustix::io::Result<*mut c_void> {
    map(len, MapFlags::PRIVATE | MapFlags::NORESERVE)
}

/// Zeroed pages that a forked child shares.
pub(crate) fn map_shared(len: usize) -> rustix::io::Result<*mut c_void> {
    map(len, MapFlags::SHARED)
}

/// Gives a mapping back.
///
/// # Safety
/// `base` and `len` are those of one mapping made here; nothing refers to it.
pub(crate) unsafe fn unmap(base: *mut c_void, len: usize) {
    if cfg!(esca_tsan) {
        // ThreadSanitizer does not see these system calls: what comes to stand
        // at the same address would look like a race with what stood there.
        return;
    }
    // SAFETY: the caller's promise. An error would mean a wrong address, and
    // there is nothing to be done about it.
    let _ = unsafe { munmap(base, len) };
}
