//! A value in shared memory, through a file that other processes map too.

use rustix::fs::{Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

/// What can live in shared memory.
///
/// # Safety
/// All zeroes is a value, and every field is an atomic.
pub unsafe trait Shareable: Sync {}

// SAFETY: the statistics are atomics, and a table of zeroes is one before
// its `init`.
unsafe impl Shareable for esca_abi::stats::Table {}

/// A mapped value.
pub struct Shared<T: Shareable> {
    path: PathBuf,
    at: NonNull<T>,
    owner: bool,
}

// SAFETY: the value is `Sync` and the mapping lives as long as this does.
unsafe impl<T: Shareable> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for Shared<T> {}

impl<T: Shareable> Shared<T> {
    /// Makes the file, of zeroes; it is removed when this is dropped.
    #[must_use]
    pub fn create(path: &Path) -> Self {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Self::map(path, flags, true)
    }

    /// Maps a file that another process made.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self::map(path, OFlags::RDWR, false)
    }

    fn map(path: &Path, flags: OFlags, owner: bool) -> Self {
        let file = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from(0o666))
            .expect("a file for shared memory");
        let len = size_of::<T>();
        if owner {
            rustix::fs::fchmod(&file, Mode::from(0o666)).expect("chmod");
            rustix::fs::ftruncate(&file, len as u64).expect("room for shared memory");
        }
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, over nothing else, of a file that is as long.
        let at = unsafe { mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, &file, 0) };
        let at = NonNull::new(at.expect("shared memory").cast()).expect("an address");
        Shared {
            path: path.to_owned(),
            at,
            owner,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl<T: Shareable> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: mapped, as long as a `T`, and any content of it is one.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Shareable> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, used by nobody any more.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), size_of::<T>()) };
        if self.owner {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
