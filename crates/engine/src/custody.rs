//! The bytes in custody of one segment: an arena and the list of operations
//! whose bytes stand in it.

use crate::backend::Op;
use crate::flush::TABLE;
use crate::operation::SegmentResult;
use crate::sys;
use libc::iovec;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of one segment's arena: the bound of custody before a flush.
pub(crate) const ARENA: usize = 256 * 1024;
/// Operations in one segment before a flush.
pub(crate) const OPS: usize = 256;

/// One deferred operation: a run of bytes for one stream.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub fd: i32,
    pub off: u32,
    pub len: u32,
    /// The program passed `MSG_MORE`.
    pub more: bool,
    /// Place in an explicit segment's results; `u32::MAX` for none.
    pub result: u32,
}

/// What a flush of several streams builds: too large for a stack that may be
/// a signal handler's.
pub(crate) struct Scratch {
    /// Pieces of the streams' bytes.
    pub iov: [iovec; OPS],
    /// One send for each stream.
    pub table: [Op; TABLE],
    /// Where the pieces of each of those end.
    pub ends: [usize; TABLE],
    /// Operations that are in the table already.
    pub done: [bool; OPS],
}

/// A [`Scratch`] in a mapping of its own.
pub(crate) struct ScratchBox(NonNull<Scratch>);

impl ScratchBox {
    fn new() -> rustix::io::Result<Self> {
        let at = sys::map_private(size_of::<Scratch>())?;
        NonNull::new(at.cast())
            .map(ScratchBox)
            .ok_or(rustix::io::Errno::NOMEM)
    }
}

impl Deref for ScratchBox {
    type Target = Scratch;
    fn deref(&self) -> &Scratch {
        // SAFETY: this value's own mapping; zeroes are a Scratch.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for ScratchBox {
    fn deref_mut(&mut self) -> &mut Scratch {
        // SAFETY: as above, and borrowed mutably.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for ScratchBox {
    fn drop(&mut self) {
        // SAFETY: mapped in new with this size.
        unsafe { sys::unmap(self.0.as_ptr().cast(), size_of::<Scratch>()) };
    }
}

/// What the segment's lock protects.
pub(crate) struct Custody {
    arena: *mut u8,
    pub used: usize,
    ops: *mut Held,
    pub n: usize,
    /// How many streams the operations belong to.
    pub streams: usize,
    /// A stream's operations may have another's between them, or had.
    pub mixed: bool,
    /// Of the operations of an explicit segment.
    pub results: Vec<SegmentResult>,
    /// In its place but while a flush has it.
    scratch: Option<ScratchBox>,
}

// SAFETY: the two mappings belong to this value alone.
unsafe impl Send for Custody {}

impl Custody {
    pub fn new() -> rustix::io::Result<Self> {
        let arena = sys::map_private(ARENA)?.cast();
        let ops = sys::map_private(OPS * size_of::<Held>())?.cast();
        Ok(Custody {
            arena,
            used: 0,
            ops,
            n: 0,
            streams: 0,
            mixed: false,
            results: Vec::new(),
            scratch: Some(ScratchBox::new()?),
        })
    }

    /// For a flush, which gives it back.
    pub fn take_scratch(&mut self) -> Option<ScratchBox> {
        self.scratch.take()
    }

    /// The flush is over.
    pub fn put_scratch(&mut self, scratch: ScratchBox) {
        self.scratch = Some(scratch);
    }

    /// In a forked child, in whatever state a thread of the parent left this:
    /// what was in custody is the parent's to send.
    pub fn forked(&mut self) {
        self.clear();
        std::mem::forget(std::mem::take(&mut self.results));
        if self.scratch.is_none() {
            self.scratch = ScratchBox::new().ok();
        }
    }

    /// Whether one more operation of `len` bytes fits.
    #[inline]
    pub fn fits(&self, len: usize) -> bool {
        self.n < OPS && self.used + len <= ARENA
    }

    /// The free part of the arena, to be filled before [`Custody::push`].
    #[inline]
    pub fn room(&mut self) -> &mut [u8] {
        // SAFETY: used <= ARENA, the mapping is zero-filled at first and
        // borrowed mutably through self.
        unsafe { std::slice::from_raw_parts_mut(self.arena.add(self.used), ARENA - self.used) }
    }

    /// Records an operation whose bytes were just put into [`Custody::room`];
    /// `first` says that its stream has none yet.
    #[inline]
    pub fn push(&mut self, mut op: Held, first: bool) {
        debug_assert!(self.fits(op.len as usize));
        let turned = self.ops().last().is_some_and(|o| o.fd != op.fd);
        if first {
            self.streams += 1;
        } else if turned {
            self.mixed = true;
        }
        op.off = self.used as u32;
        // SAFETY: n < OPS (fits), inside the mapping of OPS entries.
        unsafe { self.ops.add(self.n).write(op) };
        self.n += 1;
        self.used += op.len as usize;
    }

    /// The operations, oldest first.
    #[inline]
    pub fn ops(&self) -> &[Held] {
        // SAFETY: the first n entries were written by push.
        unsafe { std::slice::from_raw_parts(self.ops, self.n) }
    }

    /// Bytes of an operation.
    #[inline]
    pub fn bytes(&self, op: &Held) -> &[u8] {
        // SAFETY: push put off..off+len inside the arena.
        unsafe { std::slice::from_raw_parts(self.arena.add(op.off as usize), op.len as usize) }
    }

    /// The operations of one stream from `start` on, with no other's between
    /// them, as one piece: where its last stands, and the bytes. Only while
    /// nothing is [`Custody::mixed`].
    #[inline]
    pub fn run(&self, start: usize) -> (usize, &[u8]) {
        debug_assert!(!self.mixed);
        let ops = &self.ops()[start..];
        let more = ops[1..].iter().take_while(|o| o.fd == ops[0].fd).count();
        let (first, last) = (&ops[0], &ops[more]);
        let len = (last.off + last.len - first.off) as usize;
        // SAFETY: push put first.off..last.off + last.len inside the arena.
        let bytes = unsafe { std::slice::from_raw_parts(self.arena.add(first.off as usize), len) };
        (start + more, bytes)
    }

    /// All bytes, where they are of one stream and stand in one piece (other
    /// streams' operations may have been removed from between them).
    #[inline]
    pub fn one_piece(&self) -> Option<&[u8]> {
        let (first, rest) = self.ops().split_first()?;
        let mut end = first.off + first.len;
        for op in rest {
            if op.off != end || op.fd != first.fd {
                return None;
            }
            end += op.len;
        }
        let len = (end - first.off) as usize;
        // SAFETY: push put first.off..end inside the arena.
        Some(unsafe { std::slice::from_raw_parts(self.arena.add(first.off as usize), len) })
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        self.used = 0;
        self.n = 0;
        self.streams = 0;
        self.mixed = false;
    }

    /// Forgets the operations of the streams that `keep` does not name. The
    /// arena's room comes back with the last operation.
    pub fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        let mut kept = 0;
        self.streams = 0;
        // Gaps in the arena.
        self.mixed = true;
        for i in 0..self.n {
            let op = self.ops()[i];
            if keep(op.fd) {
                let seen = self.ops()[..kept].iter().any(|o| o.fd == op.fd);
                self.streams += usize::from(!seen);
                // SAFETY: kept <= i < n.
                unsafe { self.ops.add(kept).write(op) };
                kept += 1;
            }
        }
        self.n = kept;
        if kept == 0 {
            self.clear();
        }
    }

    /// Whether the last bytes of `fd` are to be held back.
    pub fn ends_held_back(&self, fd: i32) -> bool {
        let last = self.ops().iter().rev().find(|op| op.fd == fd);
        last.is_some_and(|op| op.more)
    }

    /// The operations of `fd` are not to be held back.
    pub fn forget_more(&mut self, fd: i32) {
        for i in 0..self.n {
            let mut op = self.ops()[i];
            if op.fd == fd {
                op.more = false;
                // SAFETY: i < n.
                unsafe { self.ops.add(i).write(op) };
            }
        }
    }

    /// Brings the operations' bytes together at the front of the arena.
    pub fn compact(&mut self) {
        self.used = 0;
        for i in 0..self.n {
            let mut op = self.ops()[i];
            // SAFETY: push put off..off + len inside the arena. The operations
            // stand in the order of their bytes, so these move to the front.
            unsafe {
                let to = self.arena.add(self.used);
                std::ptr::copy(self.arena.add(op.off as usize), to, op.len as usize);
            }
            op.off = self.used as u32;
            self.used += op.len as usize;
            // SAFETY: i < n.
            unsafe { self.ops.add(i).write(op) };
        }
        self.mixed &= self.streams > 1;
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        // SAFETY: both mappings were made in new and end with this value.
        unsafe {
            sys::unmap(self.arena.cast(), ARENA);
            sys::unmap(self.ops.cast(), OPS * size_of::<Held>());
        }
    }
}
