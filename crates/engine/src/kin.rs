//! Who else has a stream. A forked child inherits its parent's and promises
//! nothing on them ([`bits::INHERITED`]), until it knows that the parent has
//! closed its own copy and that nobody else was given one: then the stream is
//! the child's alone, as it was the parent's.
//!
//! A process counts what may give its streams away: forks, and programs that
//! it runs. A stream that it made since the last of them is its own. If a fork
//! comes next, two processes have it; if the parent then closes it and nothing
//! else came meanwhile, it says so on a board that the family shares, under
//! the fork's number. What goes other ways (dup, SCM_RIGHTS) is not a stream
//! any more ([`Engine::escape`]). All this only in processes of one thread: in
//! others a stream may be made or closed while a fork is under way.

use crate::engine::Engine;
use crate::slot::{Slot, bits};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
use crate::sys;
use std::sync::atomic::Ordering::*;

/// Closes that the board remembers; one that is overwritten is forgotten, and
/// its child goes on without promises.
const CLOSES: usize = 511;

/// One page that all processes of a family share. Not loom's atomics: there is
/// one process where the models run.
#[repr(C)]
struct Board {
    /// Forks so far, of the whole family.
    forks: std::sync::atomic::AtomicU64,
    /// A fork's number (upper half), and the descriptor that the parent closed.
    closes: [std::sync::atomic::AtomicU64; CLOSES],
}

impl Board {
    fn place(&self, close: u64) -> &std::sync::atomic::AtomicU64 {
        &self.closes[((close >> 32) * 31 + (close & 0xffff_ffff)) as usize % CLOSES]
    }
}

/// What a process knows of its kin.
pub(crate) struct Kin {
    /// Upper half: events so far, from 2 on. Lower half: the number of the
    /// fork that the last one was; 0 for anything else.
    state: AtomicU64,
    /// Between the two hooks of a fork.
    forking: AtomicBool,
    /// The number of the fork that made this process; 0 once there was an
    /// event of its own.
    born: AtomicU32,
    board: AtomicPtr<Board>,
}

/// A stream that is about to be closed, of which one child has a copy.
#[derive(Clone, Copy, Debug)]
pub struct Legacy {
    state: u64,
    fd: i32,
}

fn close_of(fork: u32, fd: i32) -> u64 {
    u64::from(fork) << 32 | u64::from(fd.cast_unsigned())
}

impl Kin {
    pub fn new() -> Self {
        Kin {
            state: AtomicU64::new(2 << 32),
            forking: AtomicBool::new(false),
            born: AtomicU32::new(0),
            board: AtomicPtr::default(),
        }
    }

    /// Events so far: what a stream notes that is made now.
    #[inline]
    pub fn now(&self) -> u32 {
        (self.state.load(Relaxed) >> 32) as u32
    }

    /// Others may get this process's streams: by fork number `fork`, or in
    /// another way.
    fn event(&self, fork: u32) {
        self.born.store(0, SeqCst);
        let next = |s: u64| Some(((s >> 32) + 1) << 32 | u64::from(fork));
        let _ = self.state.fetch_update(SeqCst, SeqCst, next);
    }

    /// A number for the fork that comes; 0 where there is no board.
    fn number(&self) -> u32 {
        if self.board.load(Acquire).is_null()
            && let Ok(page) = sys::map_shared(size_of::<Board>())
        {
            self.board.store(page.cast(), Release);
        }
        // Of 32 bits, and not 0 but once in 4 billion forks: no claims then.
        self.board()
            .map_or(0, |b| (b.forks.fetch_add(1, Relaxed) + 1) as u32)
    }

    fn board(&self) -> Option<&Board> {
        // SAFETY: null, or a mapping that lives as long as this; zeroes are a
        // board, and all of it is atomic.
        unsafe { self.board.load(Acquire).as_ref() }
    }

    /// In a forked child.
    pub fn forked(&self) {
        let fork = self.state.load(Relaxed) as u32;
        let announced = self.forking.swap(false, Relaxed);
        self.state.fetch_and(!0xffff_ffff, Relaxed);
        self.born.store(if announced { fork } else { 0 }, Relaxed);
    }

    /// In the parent, after a fork: one that was not announced (a signal
    /// handler made it that interrupted the library) is heard of here.
    pub fn has_forked(&self) {
        if !self.forking.swap(false, SeqCst) {
            self.event(0);
        }
    }

    /// Whether the parent has closed its copy of stream `fd`, which it made
    /// at `made`, and nobody but this process has one.
    fn is_alone(&self, made: u32, fd: i32) -> bool {
        let born = self.born.load(SeqCst);
        let close = close_of(born, fd);
        let closed = |b: &Board| b.place(close).load(Acquire) == close;
        born != 0 && made + 1 == self.now() && self.board().is_some_and(closed)
    }
}

impl Drop for Kin {
    fn drop(&mut self) {
        let board = self.board.load(Acquire);
        if !board.is_null() {
            // SAFETY: mapped in `number`; nothing refers to it any more.
            unsafe { sys::unmap(board.cast(), size_of::<Board>()) };
        }
    }
}

impl Engine {
    /// Before a fork of which [`Engine::after_fork_parent`] will hear.
    pub(crate) fn will_fork(&self) {
        let one = !self.threaded.load(SeqCst);
        self.kin.event(if one { self.kin.number() } else { 0 });
        self.kin.forking.store(true, SeqCst);
    }

    /// Others may get this process's streams from here on.
    pub fn gives_streams_away(&self) {
        self.kin.event(0);
    }

    /// After a fork, in a parent that did not call [`Engine::before_fork`].
    pub fn has_forked(&self) {
        self.kin.has_forked();
    }

    /// Before the plain `close(fd)` and before [`Engine::close`]: what the one
    /// child that has a copy must hear. Tell [`Engine::closed`].
    #[inline]
    pub fn legacy(&self, fd: i32) -> Option<Legacy> {
        let state = self.kin.state.load(SeqCst);
        if state as u32 == 0 {
            return None;
        }
        self.legacy_of(state, fd)
    }

    #[cold]
    fn legacy_of(&self, state: u64, fd: i32) -> Option<Legacy> {
        let slot = self.slots.get(fd)?;
        // A residue outlives the close.
        let whole = slot.state() & (bits::KIND | bits::RESIDUE | bits::INHERITED) == bits::STREAM;
        let before = u64::from(slot.made.load(Relaxed)) + 1 == state >> 32;
        let one = !self.threaded.load(SeqCst);
        (whole && before && one).then_some(Legacy { state, fd })
    }

    /// The plain close was made.
    #[inline]
    pub fn closed(&self, legacy: Option<Legacy>) {
        if let Some(Legacy { state, fd }) = legacy
            && self.kin.state.load(SeqCst) == state
            && let Some(board) = self.kin.board()
        {
            let close = close_of(state as u32, fd);
            board.place(close).store(close, Release);
        }
    }

    /// An inherited stream is about to be written to: is it ours by now?
    #[cold]
    pub(crate) fn inherit(&self, slot: &Slot, fd: i32) {
        if self.kin.is_alone(slot.made.load(Relaxed), fd) {
            slot.clear(bits::INHERITED);
        }
    }
}
