//! What the kernel did not take of bytes that were promised: kept, and
//! drained as the socket becomes writable (contract 3).
//!
//! Each residue has a private duplicate of its socket in a high descriptor
//! range, so that it outlives a close by the program. Its bytes stand in
//! memory that a forked child shares, with a header that tells the child how
//! far its parent got; all else is each process's own.
//! Residues are rare (the kernel's buffer must be full), so one lock for all
//! of them is enough. The sweeper drains them (sweep.rs); a write on the
//! stream drains inline first.

mod ends;
mod headroom;
pub(crate) mod last_resort;
mod one;
mod processes;
mod reserve;
mod room;

use crate::backend::{Backend, Direct};
use crate::lock::Lock;
use crate::numbers::{borrow, duplicate, to_high};
use crate::sync::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize};
pub(crate) use ends::await_other_process;
use headroom::Headroom;
use libc::iovec;
pub(crate) use one::Standing;
use one::{HEAD, Residue, Shared, memory};
use reserve::Reserve;
use rustix::event::epoll;
use rustix::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
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
    /// The epoll set of the private duplicates; -1 while there is none.
    epoll: AtomicI32,
    /// One of them waits for something that gives no event.
    starving: AtomicBool,
    /// Whether more of them will find descriptors.
    pub(crate) headroom: Headroom,
    /// Drains them: plain calls, but in tests.
    pub(crate) backend: Box<dyn Backend>,
}

struct List {
    head: *mut Residue,
    next_id: u32,
    reserve: Reserve,
}

// SAFETY: the list and what it points to are touched only under its lock.
unsafe impl Send for List {}

impl List {
    fn each(&self, mut f: impl FnMut(&mut Residue)) {
        let mut at = self.head;
        while !at.is_null() {
            // SAFETY: the list belongs to its lock, which the caller holds.
            let r = unsafe { &mut *at };
            f(r);
            at = r.next;
        }
    }
}

/// Data of the wake-up descriptor in the epoll set.
pub(crate) const WAKE: u64 = u64::MAX;

impl Residues {
    pub fn new() -> Self {
        Residues {
            list: Lock::new(List {
                head: std::ptr::null_mut(),
                next_id: 1,
                reserve: Reserve::none(),
            }),
            memory: AtomicUsize::new(BOUND),
            refused: AtomicU32::new(0),
            count: AtomicU32::new(0),
            epoll: AtomicI32::new(-1),
            starving: AtomicBool::new(false),
            headroom: Headroom::new(),
            backend: Box::new(Direct),
        }
    }

    /// Residues there are.
    pub fn count(&self) -> u32 {
        self.count.load(Acquire)
    }

    /// Whether one of them is to be tried again without an event; asks once.
    pub fn take_starving(&self) -> bool {
        self.starving.swap(false, Relaxed)
    }

    /// The epoll set of sockets that are to become writable, if any.
    pub fn epoll(&self) -> Option<i32> {
        Some(self.epoll.load(Acquire)).filter(|e| *e >= 0)
    }

    /// Keeps the bytes of `pieces` after the first `skip`, and tells `publish`
    /// the number to store in the stream's slot before anybody can drain it.
    /// Fails without memory or descriptors.
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
        let set = self.epoll_or_new()?;
        let private = duplicate(fd).map_err(drop)?;
        let place = self.place(&mut list, len).ok_or(())?;
        let (r, shared, home) = (place.residue, place.shared, place.home);
        let id = list.next_id;
        list.next_id = id.wrapping_add(1).max(1);
        // SAFETY: room for a residue and for HEAD + len bytes; the
        // pieces are valid (they stand in locked custody).
        unsafe {
            let mut to = shared.cast::<u8>().add(HEAD);
            let mut skip = skip;
            for p in pieces {
                let s = skip.min(p.iov_len);
                skip -= s;
                std::ptr::copy_nonoverlapping(p.iov_base.cast::<u8>().add(s), to, p.iov_len - s);
                to = to.add(p.iov_len - s);
            }
            shared.write(Shared::new());
            r.write(Residue {
                next: list.head,
                id,
                private: private.as_raw_fd(),
                fd,
                starved: false,
                len,
                shared,
                home,
            });
        }
        let watch = epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(u64::from(id));
        if epoll::add(borrow(set), &private, data, watch).is_err() {
            // SAFETY: nothing else knows it yet.
            unsafe { self.vacate(&mut list.reserve, r) };
            return Err(());
        }
        let _ = private.into_raw_fd();
        list.head = r;
        self.memory.fetch_add(memory(len), Relaxed);
        self.count.fetch_add(1, Release);
        publish(id);
        Ok(())
    }

    /// The epoll set, made now if there is none.
    pub fn epoll_or_new(&self) -> Result<i32, ()> {
        if let Some(e) = self.epoll() {
            return Ok(e);
        }
        let e = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(drop)?;
        let e = to_high(e).into_raw_fd();
        self.epoll.store(e, Release);
        Ok(e)
    }

    /// Gives the epoll set and the reserve back: the engine ends.
    pub fn close(&mut self) {
        self.list.lock().reserve.leave();
        let e = self.epoll.swap(-1, AcqRel);
        if e >= 0 {
            // SAFETY: ours, and the swap took the only reference to it.
            drop(unsafe { OwnedFd::from_raw_fd(e) });
        }
    }

    /// Runs `f` on residue `id` (`None` if it is gone), under the lock; then
    /// lets it go if it is over.
    fn look<R>(&self, id: u32, f: impl FnOnce(Option<&mut Residue>) -> R) -> R {
        let mut list = self.list.lock();
        // SAFETY: list and residues belong to the lock, which is held.
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
            if r.over() {
                *at = r.next;
                self.let_go(&mut list.reserve, r);
            }
            got
        }
    }

    /// Runs `f` on residue `id`, if it is there.
    fn with<R>(&self, id: u32, f: impl FnOnce(&mut Residue) -> R) -> Option<R> {
        self.look(id, |r| r.map(f))
    }

    fn let_go(&self, reserve: &mut Reserve, r: *mut Residue) {
        // SAFETY: r was just taken off the list, under the lock; nobody else
        // has a pointer to it.
        unsafe {
            if (*r).private >= 0 {
                let private = OwnedFd::from_raw_fd((*r).private);
                // The program's own descriptor keeps the socket, and so the
                // registration, alive: closing is not enough.
                if let Some(set) = self.epoll() {
                    let _ = epoll::delete(borrow(set), &private);
                }
            }
            self.memory.fetch_sub(memory((*r).len), Relaxed);
            self.count.fetch_sub(1, Release);
            self.vacate(reserve, r);
        }
    }

    /// Drains residue `id` and says how it stands; one that is gone is done.
    /// If nothing is left, tells `end` its descriptor (-1 for none) under the
    /// lock: the number cannot get a new residue meanwhile.
    pub fn drain(&self, id: u32, end: impl FnOnce(i32, &Standing)) -> Standing {
        self.look(id, |r| {
            let Some(r) = r else {
                end(-1, &Standing::Done);
                return Standing::Done;
            };
            r.drain(&*self.backend);
            let now = r.standing();
            if now != Standing::Left {
                end(r.fd, &now);
                r.fd = -1;
            }
            now
        })
    }

    /// Drops what is left of residue `id`, and its hold on the socket.
    pub fn discard(&self, id: u32) {
        self.with(id, |r| {
            r.shared().error.store(libc::ECONNRESET, Release);
            r.fd = -1;
        });
    }

    /// The program shuts its socket down: once the bytes are out. False if
    /// they are, so that the plain call is due.
    pub fn shutdown_later(&self, id: u32, how: i32) -> bool {
        self.with(id, |r| {
            // Before the look at what is left: in a child the parent does it,
            // if it sees this in time.
            r.shared().shutdown.store(how, SeqCst);
            r.drain(&*self.backend);
            r.private >= 0 || r.standing() == Standing::Left
        })
        .unwrap_or(false)
    }

    /// Whether a shutdown waits for the bytes of residue `id`.
    pub fn is_shut(&self, id: u32) -> bool {
        self.with(id, |r| r.shared().shutdown.load(SeqCst) != -1)
            .unwrap_or(false)
    }

    /// The program closed the descriptor (or asked for the error): the
    /// residue lives on by itself until it is out.
    pub fn detach(&self, id: u32) {
        self.with(id, |r| {
            r.fd = -1;
            r.drain(&*self.backend);
        });
    }

    /// Whether `fd` is one of ours, not the program's.
    pub fn is_private(&self, fd: i32) -> bool {
        self.epoll() == Some(fd) || self.count() != 0 && self.any(|r| r.private == fd)
    }

    fn any(&self, mut f: impl FnMut(&mut Residue) -> bool) -> bool {
        let mut found = false;
        self.list.lock().each(|r| found |= f(r));
        found
    }

    /// Tries all, and tells `end` of each that is over.
    pub fn retry(&self, end: impl FnMut(i32, u32, &Standing)) {
        self.drain_all(end, |_| false);
    }

    /// Tries all, tells `end` of each that is over, and lets those go;
    /// whether any that `counts` is left.
    fn drain_all(
        &self,
        mut end: impl FnMut(i32, u32, &Standing),
        counts: impl Fn(&Residue) -> bool,
    ) -> bool {
        let mut list = self.list.lock();
        let mut left = false;
        // SAFETY: list and residues belong to the lock, which is held.
        unsafe {
            let mut at: *mut *mut Residue = &raw mut list.head;
            while !(*at).is_null() {
                let r = &mut **at;
                r.drain(&*self.backend);
                self.starving.fetch_or(r.starved, Relaxed);
                let now = r.standing();
                if now != Standing::Left && r.fd >= 0 {
                    end(r.fd, r.id, &now);
                    r.fd = -1;
                }
                left |= now == Standing::Left && counts(r);
                if r.over() {
                    *at = r.next;
                    self.let_go(&mut list.reserve, r);
                } else {
                    at = &raw mut (**at).next;
                }
            }
        }
        left
    }

    /// The least private descriptor from `least` on.
    pub fn next_private(&self, least: i32) -> Option<i32> {
        let mut next = self.epoll().filter(|e| *e >= least);
        self.list.lock().each(|r| {
            if r.private >= least {
                next = Some(next.map_or(r.private, |n| n.min(r.private)));
            }
        });
        next
    }
}
