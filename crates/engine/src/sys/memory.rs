//! Memory straight from the kernel: the engine must not allocate where a
//! signal handler may have interrupted the program's allocator.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::ops::Deref;
use std::ptr::NonNull;

/// Types of which all zeroes are a value, and which threads may share.
///
/// # Safety
/// Both hold.
pub(crate) unsafe trait Zeroed: Sync {}

// SAFETY: an array of such values is one.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

/// A mapping that begins as zeroes and is given back with the value.
pub(crate) struct Mapping<T: Zeroed>(NonNull<T>);

// SAFETY: the mapping belongs to the value; T may be shared (Zeroed).
unsafe impl<T: Zeroed> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: Zeroed> Sync for Mapping<T> {}

impl<T: Zeroed> Mapping<T> {
    fn made(at: *mut c_void) -> rustix::io::Result<Self> {
        NonNull::new(at.cast())
            .map(Mapping)
            .ok_or(rustix::io::Errno::NOMEM)
    }

    /// Pages of this process.
    pub fn private() -> rustix::io::Result<Self> {
        map_private(size_of::<T>()).and_then(Self::made)
    }

    /// Pages that forked children share.
    pub fn shared() -> rustix::io::Result<Self> {
        map_shared(size_of::<T>()).and_then(Self::made)
    }

    /// Pages that are zeroes again in a forked child (`MADV_WIPEONFORK`,
    /// Linux 4.14).
    pub fn wiped_on_fork() -> rustix::io::Result<Self> {
        let me = Self::private()?;
        // SAFETY: this value's own pages.
        unsafe {
            madvise(
                me.0.as_ptr().cast(),
                size_of::<T>(),
                Advice::LinuxWipeOnFork,
            )?
        };
        Ok(me)
    }
}

impl<T: Zeroed> Deref for Mapping<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: mapped for as long as this value lives; zeroes are a T.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Zeroed> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and no reference is left.
        unsafe { unmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}

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
    map(len, MapFlags::SHARED | MapFlags::NORESERVE)
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
