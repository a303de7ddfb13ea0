//! Room for residues: their memory, bounded, and the reserve that is there
//! when the system has none.

use super::entry::Residue;
use super::reserve::{self, Home, Place, Reserve};
use super::{BOUND, List, Residues};
use std::sync::atomic::Ordering::*;

/// Refused promises from one attempt to have a reserve to the next.
const REFUSALS: u32 = 256;

impl Residues {
    /// Whether more promises may be made.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.memory.load(Relaxed) < BOUND || self.prepare()
    }

    /// There is no room. If that is because there is no reserve, makes it, or
    /// tries to at times.
    #[cold]
    fn prepare(&self) -> bool {
        if !self.refused.fetch_add(1, Relaxed).is_multiple_of(REFUSALS) {
            return false;
        }
        let mut list = self.list.lock();
        if !list.reserve.is_mapped() && list.reserve.map() {
            self.memory.fetch_sub(BOUND, Relaxed);
        }
        self.memory.load(Relaxed) < BOUND
    }

    /// Room for a residue of `len` bytes.
    pub(super) fn place(&self, list: &mut List, len: usize) -> Option<Place> {
        if let Some(place) = reserve::own(len) {
            return Some(place);
        }
        let was_used = list.reserve.is_used();
        let place = list.reserve.take(len)?;
        if !was_used {
            self.memory.fetch_add(BOUND, Relaxed);
        }
        Some(place)
    }

    /// Gives a residue's room back.
    ///
    /// # Safety
    /// It is on no list, and its bytes and itself are not used any more.
    pub(super) unsafe fn vacate(&self, reserve: &mut Reserve, r: *mut Residue) {
        // SAFETY: the caller's promise.
        let (home, len) = unsafe { ((*r).home, (*r).len) };
        match home {
            // SAFETY: it is the mapping that reserve::own made.
            Home::Own => unsafe { reserve::disown(r, len) },
            Home::Reserve => {
                reserve.give_back();
                if !reserve.is_used() {
                    self.memory.fetch_sub(BOUND, Relaxed);
                }
            }
        }
    }
}
