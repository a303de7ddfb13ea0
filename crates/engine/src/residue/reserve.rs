//! Memory for residues where the kernel gives none: had before anything is
//! promised, so that one thread's custody can always be kept without waiting
//! for a peer. While it is missing or in use, nothing more is promised.

use super::one::{HEAD, Residue, Shared};
use crate::custody::{ARENA, OPS};
use crate::sys;
use std::ptr::null_mut;

/// Where a residue stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In mappings of its own.
    Own,
    /// In the reserve.
    Reserve,
    /// In the reserve of the process that forked this one.
    Inherited,
}

/// Room for a residue.
pub(super) struct Place {
    pub residue: *mut Residue,
    pub shared: *mut Shared,
    pub home: Home,
}

const PAD: usize = 64;
/// All bytes of a thread's custody, as residues of as many streams.
const SHARED: usize = ARENA + OPS * (HEAD + PAD);
const OWN: usize = OPS * size_of::<Residue>();

/// Two mappings, untouched until they are needed.
pub(super) struct Reserve {
    shared: *mut u8,
    own: *mut Residue,
    /// Bytes and residues given out since it was last empty.
    used: usize,
    given: usize,
    /// Residues that stand in it.
    users: usize,
}

impl Reserve {
    pub const fn none() -> Self {
        Reserve {
            shared: null_mut(),
            own: null_mut(),
            used: 0,
            given: 0,
            users: 0,
        }
    }

    pub fn is_mapped(&self) -> bool {
        !self.shared.is_null()
    }

    pub fn is_used(&self) -> bool {
        self.users > 0
    }

    /// Has the kernel make it; whether it did.
    pub fn map(&mut self) -> bool {
        let Ok(shared) = sys::map_shared(SHARED) else {
            return false;
        };
        let Ok(own) = sys::map_private(OWN) else {
            // SAFETY: just made, and nobody knows it.
            unsafe { sys::unmap(shared, SHARED) };
            return false;
        };
        (self.shared, self.own) = (shared.cast(), own.cast());
        true
    }

    /// Room for a residue of `len` bytes, if there is any.
    pub fn take(&mut self, len: usize) -> Option<Place> {
        let size = (HEAD + len).next_multiple_of(PAD);
        if !self.is_mapped() || self.given == OPS || self.used + size > SHARED {
            return None;
        }
        // SAFETY: used + size and given + 1 are inside the mappings.
        let place = unsafe {
            Place {
                residue: self.own.add(self.given),
                shared: self.shared.add(self.used).cast(),
                home: Home::Reserve,
            }
        };
        self.used += size;
        self.given += 1;
        self.users += 1;
        Some(place)
    }

    /// One of its residues is gone.
    pub fn give_back(&mut self) {
        self.users -= 1;
        if self.users == 0 {
            (self.used, self.given) = (0, 0);
        }
    }

    /// Lets go of it, unless residues stand in it: a forked child's is its
    /// parent's, and those are only looked at.
    pub fn leave(&mut self) {
        if self.is_mapped() && !self.is_used() {
            // SAFETY: the two mappings, in which nothing stands.
            unsafe {
                sys::unmap(self.shared.cast(), SHARED);
                sys::unmap(self.own.cast(), OWN);
            }
        }
        *self = Reserve::none();
    }
}

/// Room in mappings of its own for a residue of `len` bytes.
pub(super) fn own(len: usize) -> Option<Place> {
    let residue = sys::map_private(size_of::<Residue>()).ok()?;
    match sys::map_shared(HEAD + len) {
        Ok(shared) => Some(Place {
            residue: residue.cast(),
            shared: shared.cast(),
            home: Home::Own,
        }),
        Err(_) => {
            // SAFETY: just made, and nobody knows it.
            unsafe { sys::unmap(residue, size_of::<Residue>()) };
            None
        }
    }
}
