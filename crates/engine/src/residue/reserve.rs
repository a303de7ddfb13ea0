//! Memory for residues where the kernel gives none: had before anything is
//! promised, so that one thread's custody can always be kept without waiting
//! for a peer. While it is missing or in use, nothing more is promised.

use super::entry::Residue;
use crate::custody::{ARENA, OPS};
use crate::sys;
use std::ptr::null_mut;

/// Where a residue stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In a mapping of its own.
    Own,
    /// In the reserve.
    Reserve,
}

/// Room for a residue and its bytes.
pub(super) struct Place {
    pub residue: *mut Residue,
    pub bytes: *mut u8,
    pub home: Home,
}

const PAD: usize = 64;
/// Where the bytes begin behind a residue.
pub(super) const HEAD: usize = size_of::<Residue>().next_multiple_of(PAD);
/// All bytes of a thread's custody, as residues of as many streams.
const SIZE: usize = ARENA + OPS * (HEAD + PAD);

/// One mapping, untouched until it is needed.
pub(super) struct Reserve {
    base: *mut u8,
    /// Bytes given out since it was last empty.
    used: usize,
    /// Residues that are in it.
    users: usize,
}

impl Reserve {
    pub const fn none() -> Self {
        Reserve {
            base: null_mut(),
            used: 0,
            users: 0,
        }
    }

    pub fn is_mapped(&self) -> bool {
        !self.base.is_null()
    }

    pub fn is_used(&self) -> bool {
        self.users > 0
    }

    /// Has the kernel make it; whether it did.
    pub fn map(&mut self) -> bool {
        let Ok(base) = sys::map_private(SIZE) else {
            return false;
        };
        self.base = base.cast();
        true
    }

    /// Room for a residue of `len` bytes, if there is any.
    pub fn take(&mut self, len: usize) -> Option<Place> {
        let size = (HEAD + len).next_multiple_of(PAD);
        if !self.is_mapped() || self.used + size > SIZE {
            return None;
        }
        // SAFETY: used + size is inside the mapping.
        let place = unsafe { place(self.base.add(self.used), Home::Reserve) };
        self.used += size;
        self.users += 1;
        Some(place)
    }

    /// One of its residues is gone.
    pub fn give_back(&mut self) {
        self.users -= 1;
        if self.users == 0 {
            self.used = 0;
        }
    }

    /// Gives it back: the engine ends.
    pub fn unmap(&mut self) {
        if self.is_mapped() && !self.is_used() {
            // SAFETY: the mapping, in which nothing is.
            unsafe { sys::unmap(self.base.cast(), SIZE) };
        }
        *self = Reserve::none();
    }
}

/// A residue at `base`, and its bytes behind it.
///
/// # Safety
/// There is room for HEAD bytes and those of the residue.
unsafe fn place(base: *mut u8, home: Home) -> Place {
    Place {
        residue: base.cast(),
        // SAFETY: the caller's promise.
        bytes: unsafe { base.add(HEAD) },
        home,
    }
}

/// Room in a mapping of its own for a residue of `len` bytes.
pub(super) fn own(len: usize) -> Option<Place> {
    let base = sys::map_private(HEAD + len).ok()?;
    // SAFETY: HEAD + len bytes, just mapped.
    Some(unsafe { place(base.cast(), Home::Own) })
}

/// Gives back what [`own`] made.
///
/// # Safety
/// `residue` came from `own(len)`, and nothing refers to it or its bytes.
pub(super) unsafe fn disown(residue: *mut Residue, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { sys::unmap(residue.cast(), HEAD + len) };
}

/// The memory that a residue of `len` bytes takes: whole pages. Of a small one
/// this is most.
pub(super) fn memory(len: usize) -> usize {
    const PAGE: usize = 4096;
    (HEAD + len).next_multiple_of(PAGE)
}
