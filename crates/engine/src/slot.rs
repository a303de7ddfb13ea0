//! What is known of each descriptor: one word of state that threads change
//! by compare-and-swap, and a table of them indexed by the descriptor.

use crate::stream::credit::Credit;
use crate::sync::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};
use std::sync::atomic::Ordering::*;

/// The facts in a state word.
pub mod bits {
    /// Mask of the kind.
    pub const KIND: u64 = 0b111;
    /// Nothing is known: a look is due before anything is deferred.
    pub const UNKNOWN: u64 = 0;
    /// Straight through, for good.
    pub const PASS: u64 = 1;
    /// A listening (or not yet connected) TCP socket that was looked at.
    pub const TCP: u64 = 2;
    /// A connected TCP socket: may be deferred while non-blocking.
    pub const STREAM: u64 = 3;
    /// A file opened for reading only: closing or reading it is no effect.
    pub const FILE: u64 = 4;

    /// `O_NONBLOCK` is on.
    pub const NONBLOCK: u64 = 1 << 3;
    /// The program corked the socket; the kernel was not told.
    pub const CORK_VIRTUAL: u64 = 1 << 4;
    /// The kernel was told to cork.
    pub const CORK_REAL: u64 = 1 << 5;
    /// The program turned `TCP_NODELAY` on and the kernel knows.
    pub const NODELAY: u64 = 1 << 6;
    /// The last bytes went with `MSG_MORE`: something may be held back.
    pub const HELD_BACK: u64 = 1 << 7;
    /// In an epoll set, level-triggered.
    pub const EPOLL_LEVEL: u64 = 1 << 8;
    /// In an epoll set, edge-triggered.
    pub const EPOLL_EDGE: u64 = 1 << 9;
    /// Edge-triggered with `EPOLLRDHUP`, registered while hang-ups are
    /// watched: a hang-up cannot have gone unseen.
    pub const HANGUP_WATCHED: u64 = 1 << 10;
    /// A hang-up was reported.
    pub const HANGUP: u64 = 1 << 11;
    /// Bytes the kernel did not take are kept for this stream.
    pub const RESIDUE: u64 = 1 << 12;
    /// A deferred operation failed; the next call says so.
    pub const ERROR: u64 = 1 << 13;
    /// The kernel's buffer was full lately: no promises, plain calls.
    pub const FULL: u64 = 1 << 14;
    /// A close is under way, or the stream was shut for writing: no new
    /// custody.
    pub const CLOSING: u64 = 1 << 15;
    /// Shut for writing (by a shutdown that waits behind a residue).
    pub const SHUT: u64 = 1 << 16;
    /// An epoll set.
    pub const EPOLL_SET: u64 = 1 << 17;
    /// `SO_LINGER` is on: a close may wait, or reset.
    pub const LINGER: u64 = 1 << 18;
    /// Inherited by a forked child, or by exec: the parent has the socket too.
    /// It would not know of a residue here, and write before it. Until the
    /// parent has closed its copy (kin.rs), if that is heard of.
    pub const INHERITED: u64 = 1 << 19;

    /// A forked child may have it: its send buffer may fill by itself.
    pub const SHARED: u64 = 1 << 20;
    /// The program limited what may wait unsent (`TCP_NOTSENT_LOWAT`): the room
    /// of its send buffer is not all there is to know.
    pub const LOWAT: u64 = 1 << 21;
    /// A listener whose port is known.
    pub const PORT_KNOWN: u64 = 1 << 24;
    /// A poll or select of this process reported it.
    pub const POLLED: u64 = 1 << 23;

    /// First bit of the owner: the segment that has bytes in custody, plus 1.
    pub const OWNER_SHIFT: u32 = 32;
    /// Mask of the owner.
    pub const OWNER: u64 = 0xffff << OWNER_SHIFT;

    /// What must be absent for a new promise.
    pub const NO_PROMISE: u64 =
        RESIDUE | ERROR | FULL | CLOSING | SHUT | CORK_REAL | INHERITED | LOWAT | OWNER;
}

/// The state of one descriptor.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub struct Slot {
    state: AtomicU64,
    /// Where the last short read was: see [`crate::rules::drained`].
    pub(crate) drained: AtomicU64,
    /// The `epoll_data` of an edge-triggered registration.
    pub(crate) epoll_data: AtomicU64,
    /// A short read that could not be used: see [`Slot::hint`].
    hint: AtomicU64,
    /// An errno to report ([`bits::ERROR`]).
    pub(crate) error: AtomicI32,
    /// The residue's number ([`bits::RESIDUE`]).
    pub(crate) residue: AtomicU32,
    /// Plain calls that send on it and have not come back: see
    /// [`Slot::take_off`].
    flying: AtomicU32,
    /// Bytes came in that nothing was sent after yet.
    asked: AtomicBool,
    /// When the process made it (`Kin::now`); 0 if it did not.
    pub(crate) made: AtomicU32,
    /// What may be promised.
    pub(crate) credit: Credit,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    /// The state word.
    #[inline]
    #[must_use]
    pub fn state(&self) -> u64 {
        self.state.load(Acquire)
    }

    /// A thread is about to make a plain call that sends. The look at the
    /// state comes after: either this thread sees the owner of a promise that
    /// another one makes now and has it flushed, or the other one sees the
    /// call ([`Slot::flies`]) and makes none. Else the call could come between
    /// the part of a promise that the kernel took and the rest.
    #[inline]
    pub(crate) fn take_off(&self) {
        self.flying.fetch_add(1, SeqCst);
        // Orders the looks at the state behind it.
        self.state.load(SeqCst);
    }

    /// The call came back.
    #[inline]
    pub(crate) fn land(&self) {
        self.flying.fetch_sub(1, Release);
    }

    /// Whether such a call is under way, asked after the owner was set.
    #[inline]
    pub(crate) fn flies(&self) -> bool {
        self.flying.load(SeqCst) != 0
    }

    /// In a forked child, all there is belongs to the parent too. There are no
    /// calls under way, because there is one thread. An epoll set's events are
    /// the parent's, and a close here must not end them (see
    /// `Engine::leave_sets`), until the child registers something.
    pub(crate) fn forked(&self) {
        self.flying.store(0, Relaxed);
        self.credit.forget();
        self.change(bits::EPOLL_SET | bits::OWNER, bits::INHERITED);
    }

    /// In the parent of a fork: the child may write to it at any time.
    pub(crate) fn has_forked(&self) {
        self.credit.forget();
        self.set(bits::SHARED);
    }

    /// Turns facts on.
    #[inline]
    pub(crate) fn set(&self, b: u64) {
        self.state.fetch_or(b, SeqCst);
    }

    /// Turns facts off.
    #[inline]
    pub(crate) fn clear(&self, b: u64) {
        self.state.fetch_and(!b, SeqCst);
    }

    /// Remembers a short read on an edge-triggered stream that is not
    /// watched yet.
    #[inline]
    pub(crate) fn hint(&self, mark: u64) {
        self.hint.store(mark, Relaxed);
    }

    /// Whether the last short read was at `mark`.
    #[inline]
    pub(crate) fn hinted(&self, mark: u64) -> bool {
        self.hint.load(Relaxed) == mark
    }

    /// Bytes came in.
    #[inline]
    pub(crate) fn asked(&self) {
        self.asked.store(true, Relaxed);
    }

    /// Something is sent; whether bytes came in since the last time.
    #[inline]
    pub(crate) fn answers(&self) -> bool {
        let asked = self.asked.load(Relaxed);
        if asked {
            self.asked.store(false, Relaxed);
        }
        asked
    }

    /// Forgets all and starts as `b`: the number means something new.
    #[inline]
    pub(crate) fn reset(&self, b: u64) {
        self.drained.store(0, Relaxed);
        self.asked.store(false, Relaxed);
        self.made.store(0, Relaxed);
        self.credit.forget();
        self.state.store(b, SeqCst);
    }

    /// Turns facts off and others on in one step.
    #[inline]
    pub(crate) fn change(&self, off: u64, on: u64) {
        let _ = self
            .state
            .fetch_update(SeqCst, Acquire, |s| Some(s & !off | on));
    }

    /// Changes the kind, keeps the rest.
    pub(crate) fn set_kind(&self, kind: u64) {
        self.change(bits::KIND, kind);
    }

    /// Makes segment `owner` the one with custody, if a promise is allowed
    /// and nobody else has it. One word decides: a close that sets
    /// [`bits::CLOSING`] first either sees the owner or makes this fail.
    #[inline]
    pub(crate) fn own(&self, owner: u64, forbidden: u64) -> bool {
        let mut s = self.state.load(Acquire);
        loop {
            if s & bits::OWNER == owner {
                return s & (forbidden & !bits::OWNER) == 0;
            }
            if s & forbidden != 0
                || s & (bits::KIND | bits::NONBLOCK) != bits::STREAM | bits::NONBLOCK
            {
                return false;
            }
            match self
                .state
                .compare_exchange_weak(s, s | owner, SeqCst, Acquire)
            {
                Ok(_) => return true,
                Err(now) => s = now,
            }
        }
    }
}

/// The owner bits of segment `id`.
#[inline]
#[must_use]
pub const fn owner_bits(id: u16) -> u64 {
    (id as u64 + 1) << bits::OWNER_SHIFT
}

/// The segment named by a state word's owner bits.
#[inline]
#[must_use]
pub const fn owner_of(state: u64) -> Option<u16> {
    match (state & bits::OWNER) >> bits::OWNER_SHIFT {
        0 => None,
        n => Some((n - 1) as u16),
    }
}

/// A slot for every descriptor below a limit, in one lazily filled mapping.
pub struct Slots {
    base: *const Slot,
    len: usize,
}

// SAFETY: the mapping lives as long as the value and holds only atomics.
unsafe impl Sync for Slots {}
// SAFETY: as above.
unsafe impl Send for Slots {}

impl Slots {
    /// Reserves `len` slots (untouched pages cost no memory).
    ///
    /// # Errors
    /// Those of mmap(2): the address space may be limited.
    pub fn new(len: usize) -> rustix::io::Result<Self> {
        let base = crate::sys::map_private(len * size_of::<Slot>())?;
        #[cfg(loom)]
        for i in 0..len {
            // SAFETY: in bounds of the mapping. Loom's atomics are not zeroes.
            unsafe { base.cast::<Slot>().add(i).write(Slot::default()) };
        }
        Ok(Slots {
            base: base.cast(),
            len,
        })
    }

    /// The slot of `fd`, if it is below the limit.
    #[inline]
    #[must_use]
    pub fn get(&self, fd: i32) -> Option<&Slot> {
        if (fd as usize) < self.len && fd >= 0 {
            // SAFETY: in bounds of the mapping; zeroes are a valid Slot, and
            // every field is atomic.
            Some(unsafe { &*self.base.add(fd as usize) })
        } else {
            None
        }
    }

    /// Slots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: base and length are those of the mapping made in new.
        unsafe { crate::sys::unmap(self.base.cast_mut().cast(), self.len * size_of::<Slot>()) }
    }
}
