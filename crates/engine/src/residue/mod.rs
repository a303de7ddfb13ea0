//! What the kernel did not take of bytes that were promised: kept, and sent
//! as the socket becomes writable (contract 3).
//!
//! Residues are rare: a promise is made only where the socket has room
//! (`stream/credit.rs`), so the machine must be short of socket memory. One
//! lock for all of them is enough, and trying again now and then does for
//! events.
//!
//! The sweeper has a descriptor of its own for each, so that a residue
//! outlives a close by the program. A forked child sees in a shared table how
//! far its parent got ([`progress`]).

mod ends;
mod entry;
pub(crate) mod last_resort;
mod memory_budget;
mod progress;
mod reserve;

use crate::backend::{Backend, Direct};
use crate::lock::Lock;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Futex};
pub(crate) use ends::await_other_process;
use entry::{Hold, Residue};
pub(crate) use entry::{Side, Standing};
use libc::iovec;
use progress::Progress;
use reserve::{Reserve, memory};
use std::sync::atomic::Ordering::*;

/// Memory of the process's residues above which nothing more is promised.
pub(crate) const BOUND: usize = 16 << 20;

/// All residues of a process.
pub(crate) struct Residues {
    list: Lock<List>,
    /// Their memory; and [`BOUND`] more while there is no reserve, or it is in
    /// use: then there is no room either.
    memory: AtomicUsize,
    /// Promises refused for want of room.
    refused: AtomicU32,
    count: AtomicU32,
    /// One of them waits for something other than room in its socket.
    starving: AtomicBool,
    /// Counts the sweeper's rounds: who waits for it to fetch a socket sleeps
    /// on this.
    rounds: Futex,
    progress: Progress,
    /// Drains them: plain calls, but in tests.
    pub(crate) backend: Box<dyn Backend>,
}

struct List {
    head: *mut Residue,
    reserve: Reserve,
}

// SAFETY: the list and what it points to are touched only under its lock.
unsafe impl Send for List {}

impl List {
    /// Runs `f` on each, and takes those off for which it is true.
    fn retain_not(&mut self, mut f: impl FnMut(&mut Reserve, &mut Residue) -> bool) {
        let mut at: *mut *mut Residue = &raw mut self.head;
        // SAFETY: the list belongs to its lock, which the caller holds; links
        // lead to residues that live until they are taken off.
        unsafe {
            while !(*at).is_null() {
                let r = &mut **at;
                let next = r.next;
                if f(&mut self.reserve, r) {
                    *at = next;
                } else {
                    at = &raw mut (**at).next;
                }
            }
        }
    }
}

impl Residues {
    /// # Errors
    /// Those of mmap(2).
    pub fn new() -> rustix::io::Result<Self> {
        Ok(Residues {
            list: Lock::new(List {
                head: std::ptr::null_mut(),
                reserve: Reserve::none(),
            }),
            memory: AtomicUsize::new(BOUND),
            refused: AtomicU32::new(0),
            count: AtomicU32::new(0),
            starving: AtomicBool::new(false),
            rounds: Futex::new(0),
            progress: Progress::new()?,
            backend: Box::new(Direct),
        })
    }

    /// Residues there are.
    pub fn count(&self) -> u32 {
        self.count.load(Acquire)
    }

    /// Whether one of them waits for the kernel's memory; asks once.
    pub fn take_starving(&self) -> bool {
        self.starving.swap(false, Relaxed)
    }

    /// Keeps the bytes of `pieces` after the first `skip`, and tells `publish`
    /// the number to store in the stream's slot before anybody can drain it.
    /// Fails without memory.
    pub fn keep(
        &self,
        fd: i32,
        pieces: &[iovec],
        skip: usize,
        total: usize,
        publish: impl FnOnce(u32),
    ) -> Result<(), ()> {
        let len = total - skip;
        let mut list = self.list.lock();
        let id = self.progress.claim().ok_or(())?;
        let Some(place) = self.place(&mut list, len) else {
            self.progress.free(id);
            return Err(());
        };
        // SAFETY: room for a residue and for len bytes; the pieces are valid
        // (they are in locked custody).
        unsafe {
            let mut to = place.bytes;
            let mut skip = skip;
            for p in pieces {
                let s = skip.min(p.iov_len);
                skip -= s;
                std::ptr::copy_nonoverlapping(p.iov_base.cast::<u8>().add(s), to, p.iov_len - s);
                to = to.add(p.iov_len - s);
            }
            place.residue.write(Residue {
                next: list.head,
                id,
                hold: Hold::Unfetched,
                fd,
                lent: false,
                starved: false,
                len,
                done: 0,
                error: 0,
                bytes: place.bytes,
                home: place.home,
            });
        }
        list.head = place.residue;
        self.memory.fetch_add(memory(len), Relaxed);
        self.count.fetch_add(1, Release);
        publish(id);
        Ok(())
    }

    /// Gives the reserve back: the engine ends.
    pub fn close(&mut self) {
        self.list.lock().reserve.unmap();
    }

    /// Runs `f` on residue `id` (`None` if it is not this process's, or gone),
    /// under the lock; then lets it go if it is over.
    fn look<R>(&self, side: Side, id: u32, f: impl FnOnce(Option<&mut Residue>) -> R) -> R {
        let mut list = self.list.lock();
        // SAFETY: the list belongs to its lock, which is held; links lead to
        // residues that live until they are taken off.
        unsafe {
            let mut at: *mut *mut Residue = &raw mut list.head;
            while !(*at).is_null() && (**at).id != id {
                at = &raw mut (**at).next;
            }
            if (*at).is_null() {
                return f(None);
            }
            let r = &mut **at;
            let got = f(Some(r));
            self.starving.fetch_or(r.starved, Relaxed);
            let next = r.next;
            if r.over() && self.let_go(side, &mut list.reserve, r) {
                *at = next;
            }
            got
        }
    }

    /// Lets a residue go that is over, if `side` can: the sweeper's descriptor
    /// is for the sweeper to close.
    fn let_go(&self, side: Side, reserve: &mut Reserve, r: &mut Residue) -> bool {
        r.let_go(side);
        if matches!(r.hold, Hold::Held(_)) {
            return false;
        }
        self.progress.free(r.id);
        self.memory.fetch_sub(memory(r.len), Relaxed);
        self.count.fetch_sub(1, Release);
        // SAFETY: the caller takes it off the list, under the lock; nobody
        // else has a pointer to it.
        unsafe { self.vacate(reserve, r) };
        true
    }

    /// Drains residue `id` and says how it stands; one that is gone is done.
    /// If nothing is left, tells `end` its descriptor (-1 for none) under the
    /// lock: the number cannot get a new residue meanwhile.
    pub fn drain(&self, side: Side, id: u32, end: impl FnOnce(i32, &Standing)) -> Standing {
        self.look(side, id, |r| {
            let Some(r) = r else {
                if self.progress.is_left(id) {
                    return Standing::Left;
                }
                end(-1, &Standing::Done);
                return Standing::Done;
            };
            r.drain(side, &*self.backend, &self.progress);
            let now = r.standing();
            if now != Standing::Left {
                end(r.fd, &now);
                r.fd = -1;
            }
            now
        })
    }

    /// The program's descriptor of residue `id` is not the socket's any more:
    /// only the library's own is of use.
    pub fn orphan(&self, id: u32) {
        self.any(|r| {
            if r.id == id {
                r.fd = -1;
                if r.hold == Hold::Unfetched {
                    r.error = libc::EBADF;
                }
            }
            false
        });
    }

    /// Drops what is left of residue `id`, and its hold on the socket.
    pub fn discard(&self, side: Side, id: u32) {
        self.look(side, id, |r| {
            if let Some(r) = r {
                r.error = libc::ECONNRESET;
                r.fd = -1;
            }
        });
    }

    /// The program shuts its socket down: once the bytes are out. False if
    /// they are, so that the plain call is due.
    pub fn shutdown_later(&self, side: Side, id: u32, how: i32) -> bool {
        // Before the look at what is left: where another process sends, it
        // does this too, if it sees it in time.
        self.progress.set_shutdown(id, how);
        self.drain(side, id, |_, _| ()) == Standing::Left
    }

    /// Whether a shutdown waits for the bytes of residue `id`.
    pub fn is_shut(&self, id: u32) -> bool {
        self.progress.shutdown(id).is_some()
    }

    /// Before the program's descriptor of residue `id` is closed: the residue
    /// lives on by itself. False while the library has no descriptor of its
    /// own yet: [`Residues::await_round`] and ask again; `None` if it cannot
    /// have one.
    pub fn detach(&self, side: Side, id: u32) -> Option<bool> {
        self.look(side, id, |r| {
            let Some(r) = r else { return Some(true) };
            r.drain(side, &*self.backend, &self.progress);
            r.fetch(side);
            match r.hold {
                _ if r.standing() != Standing::Left => {}
                Hold::Held(_) => {}
                Hold::Unfetched => return Some(false),
                Hold::Refused => return None,
            }
            r.fd = -1;
            Some(true)
        })
    }

    /// The sweeper's rounds so far.
    pub fn rounds(&self) -> u32 {
        self.rounds.load(SeqCst)
    }

    /// Waits until the sweeper has made a round after `seen`.
    pub fn await_round(&self, seen: u32) {
        let limit = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        self.rounds.wait(seen, Some(&limit));
    }

    /// Whether `fd` is the library's own in the program's table.
    pub fn is_private(&self, side: Side, fd: i32) -> bool {
        let shared = matches!(side, Side::Program { shared: true });
        shared && self.count() != 0 && self.any(|r| r.hold == Hold::Held(fd))
    }

    /// The program gives the number `fd` a meaning of its own: the library's
    /// descriptor there moves away.
    pub fn make_way(&self, side: Side, fd: i32) {
        if self.is_private(side, fd) {
            self.any(|r| {
                if r.hold == Hold::Held(fd) {
                    let new = crate::numbers::duplicate(fd);
                    r.hold = new.map_or(Hold::Refused, |fd| Hold::Held(fd.into_raw()));
                }
                false
            });
        }
    }

    fn any(&self, mut f: impl FnMut(&mut Residue) -> bool) -> bool {
        let mut found = false;
        self.list.lock().retain_not(|_, r| {
            found |= f(r);
            false
        });
        found
    }

    /// The sweeper's round: fetches sockets, sends what goes, and tells `end`
    /// of each that is over.
    pub fn serve(&self, side: Side, end: impl FnMut(i32, u32, &Standing)) {
        self.drain_all(side, end, |_| false);
        self.rounds.fetch_add(1, SeqCst);
        self.rounds.wake();
    }

    /// Tries all, tells `end` of each that is over, and lets those go;
    /// whether any that `counts` is left.
    fn drain_all(
        &self,
        side: Side,
        mut end: impl FnMut(i32, u32, &Standing),
        counts: impl Fn(&Residue) -> bool,
    ) -> bool {
        let mut left = false;
        self.list.lock().retain_not(|reserve, r| {
            r.fetch(side);
            r.drain(side, &*self.backend, &self.progress);
            self.starving.fetch_or(r.starved, Relaxed);
            let now = r.standing();
            if now != Standing::Left && r.fd >= 0 {
                end(r.fd, r.id, &now);
                r.fd = -1;
            }
            left |= now == Standing::Left && counts(r);
            r.over() && self.let_go(side, reserve, r)
        });
        left
    }

    /// In a forked child: the parent sends, the child only watches.
    pub fn forked(&self) {
        // SAFETY: the child has one thread.
        unsafe { self.list.reset() };
        let mut list = self.list.lock();
        // What the list leads to is the parent's, and may be half made.
        list.head = std::ptr::null_mut();
        list.reserve = Reserve::none();
        self.memory.store(BOUND, Relaxed);
        self.refused.store(0, Relaxed);
        self.count.store(0, Release);
    }

    /// A child has the stream of residue `id`: it is to be told of the end.
    pub fn watch(&self, id: u32) {
        self.progress.watch(id);
    }
}
