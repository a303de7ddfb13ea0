//! What the kernel did not take of bytes that were promised: kept, and
//! drained as the socket becomes writable (contract 3).
//!
//! Each residue has a private duplicate of its socket in a high descriptor
//! range, so that it outlives a close by the program. Its bytes stand in
//! memory that a forked child shares, with a header that tells the child how
//! far its parent got; all else is each process's own.
//! Residues are rare (the kernel's buffer must be full), so one lock for all
//! of them is enough. The sweeper drains them (sweeper.rs); a write on the
//! stream drains inline first.

use crate::backend::{Backend, Direct, Op, OpCode};
use crate::lock::Lock;
use crate::outcome::is_transient;
use crate::sys;
use libc::iovec;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::*};
use std::time::{Duration, Instant};

/// Bytes of residue in the process above which nothing more is promised.
pub(crate) const BOUND: usize = 16 << 20;

/// One residue: what this process knows of it.
struct Residue {
    next: *mut Residue,
    id: u32,
    /// The private duplicate; -1 in a child, which only watches.
    private: i32,
    /// The program's descriptor, while it is open; else -1.
    fd: i32,
    /// The kernel lacked something other than room in the socket (memory):
    /// no event will say when to try again.
    starved: bool,
    len: usize,
    shared: *mut Shared,
}

/// What a forked child shares: this header, and the bytes behind it.
#[repr(C)]
struct Shared {
    /// The process that drains.
    owner: AtomicI32,
    /// `how` of a shutdown that waits for the bytes; -1 for none.
    shutdown: AtomicI32,
    /// What ended it early: an errno.
    error: AtomicI32,
    /// A child watches too.
    inherited: AtomicBool,
    /// Bytes handed over. Equal to the length when done.
    done: AtomicUsize,
}

const HEAD: usize = size_of::<Shared>();

/// All residues of a process.
pub(crate) struct Residues {
    list: Lock<List>,
    bytes: AtomicUsize,
    count: AtomicU32,
    /// The epoll set of the private duplicates; -1 while there is none.
    epoll: AtomicI32,
    /// One of them waits for something that gives no event.
    starving: AtomicBool,
    /// Drains them: plain calls, but in tests.
    pub(crate) backend: Box<dyn Backend>,
}

struct List {
    head: *mut Residue,
    next_id: u32,
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

/// How a stream's residue stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All was handed over.
    Done,
    /// Some is left.
    Left,
    /// It failed with this errno.
    Failed(i32),
}

/// Length of one step of a wait for the end.
const STEP_MS: i64 = 20;
const STEP: Duration = Duration::from_millis(STEP_MS as u64);

/// Data of the wake-up descriptor in the epoll set.
pub(crate) const WAKE: u64 = u64::MAX;

impl Residue {
    /// Another process drains; this one only looks how far it is.
    fn watch_only(&mut self) {
        if self.private >= 0 {
            // SAFETY: this process's copy of the private duplicate is ours.
            drop(unsafe { OwnedFd::from_raw_fd(self.private) });
            self.private = -1;
        }
    }

    fn shared(&self) -> &Shared {
        // SAFETY: mapped as long as this is on the list.
        unsafe { &*self.shared }
    }

    fn rest(&self) -> &[u8] {
        let done = self.shared().done.load(Acquire).min(self.len);
        // SAFETY: the mapping holds len bytes behind the header.
        unsafe {
            let base = self.shared.cast::<u8>().add(HEAD);
            std::slice::from_raw_parts(base.add(done), self.len - done)
        }
    }

    fn standing(&self) -> Standing {
        let shared = self.shared();
        match shared.error.load(Acquire) {
            0 if self.rest().is_empty() => Standing::Done,
            0 if self.private < 0 && !alive(shared.owner.load(Acquire)) => Standing::Done,
            0 => Standing::Left,
            e => Standing::Failed(e),
        }
    }

    /// Whether nobody needs it any more. A failed one stays until its stream
    /// has been told; a child's view stays while its descriptor is open.
    fn over(&self) -> bool {
        match self.standing() {
            Standing::Done => true,
            Standing::Failed(_) => self.fd < 0,
            Standing::Left => self.fd < 0 && self.private < 0,
        }
    }

    /// Hands over what the socket takes now.
    fn drain(&mut self, backend: &dyn Backend) {
        self.starved = false;
        while self.private >= 0 && self.standing() == Standing::Left {
            let rest = self.rest();
            let mut op = Op {
                opcode: OpCode::Send as u32,
                fd: self.private,
                ptr: rest.as_ptr() as u64,
                len: rest.len() as u64,
                ..Op::nop()
            };
            // SAFETY: the bytes stand in this mapping.
            unsafe { backend.run(std::slice::from_mut(&mut op)) };
            match op.result {
                0 => {
                    self.starved = true;
                    return;
                }
                n if n > 0 => {
                    let n = (n as usize).min(rest.len());
                    // SeqCst: a child that asks for a shutdown looks at this.
                    self.shared().done.fetch_add(n, SeqCst);
                }
                e if is_transient(-e as i32) => {
                    self.starved = -e as i32 != libc::EAGAIN;
                    return;
                }
                e => self.shared().error.store(-e as i32, SeqCst),
            }
        }
        if self.private >= 0 {
            self.ended();
        }
    }

    /// Nothing is left to hand over.
    fn ended(&self) {
        let shared = self.shared();
        match shared.shutdown.swap(-1, SeqCst) {
            -1 => {}
            how => shut(self.private, how),
        }
        // A child was told EAGAIN without asking the kernel, so no edge would
        // come to it.
        if shared.inherited.swap(false, SeqCst) {
            announce_room(borrow(self.private));
        }
    }
}

/// shutdown(2); an error would be ENOTCONN: the peer is gone.
fn shut(fd: i32, how: i32) {
    let how = match how {
        libc::SHUT_WR => rustix::net::Shutdown::Write,
        _ => rustix::net::Shutdown::Both,
    };
    let _ = rustix::net::shutdown(borrow(fd), how);
}

/// Has the kernel tell every waiter of a socket that it may be written, now
/// or once there is room: setting TCP_NOTSENT_LOWAT does so, also to the
/// value it has, and a poll that finds no room asks for the event.
fn announce_room(fd: BorrowedFd<'_>) {
    let now = rustix::time::Timespec::default();
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    if poll(&mut fds, Some(&now)) != Ok(1) {
        return;
    }
    let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
    let at: *mut libc::c_void = (&raw mut value).cast();
    // SAFETY: value and length are local. rustix has no TCP_NOTSENT_LOWAT.
    unsafe {
        if libc::getsockopt(fd.as_raw_fd(), level, name, at, &raw mut len) == 0 {
            libc::setsockopt(fd.as_raw_fd(), level, name, at, len);
        }
    }
}

/// Whether a process exists (or may: EPERM).
fn alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid)
        .is_some_and(|p| rustix::process::test_kill_process(p) != Err(Errno::SRCH))
}

/// A number as a descriptor for one call.
pub(crate) fn borrow(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: only passed to the kernel, which checks it; never -1 here.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Where private descriptors start: out of the way of the program's own.
fn high() -> i32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let soft = limit.current.unwrap_or(65_536).min(65_536) as i32;
    soft - soft / 8
}

fn duplicate(fd: i32) -> rustix::io::Result<OwnedFd> {
    let fd = borrow(fd);
    fcntl_dupfd_cloexec(fd, high()).or_else(|_| fcntl_dupfd_cloexec(fd, 3))
}

/// Moves a descriptor of ours into the high range.
pub(crate) fn to_high(fd: OwnedFd) -> OwnedFd {
    fcntl_dupfd_cloexec(&fd, high()).unwrap_or(fd)
}

impl Residues {
    pub fn new() -> Self {
        Residues {
            list: Lock::new(List {
                head: std::ptr::null_mut(),
                next_id: 1,
            }),
            bytes: AtomicUsize::new(0),
            count: AtomicU32::new(0),
            epoll: AtomicI32::new(-1),
            starving: AtomicBool::new(false),
            backend: Box::new(Direct),
        }
    }

    /// Residues there are.
    pub fn count(&self) -> u32 {
        self.count.load(Acquire)
    }

    /// Whether more promises may be made.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.bytes.load(Relaxed) < BOUND
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
        let r: *mut Residue = sys::map_private(size_of::<Residue>()).map_err(drop)?.cast();
        // SAFETY: nothing else knows that mapping yet.
        let forget = || unsafe { sys::unmap(r.cast(), size_of::<Residue>()) };
        let shared: *mut Shared = sys::map_shared(HEAD + len).map_err(|_| forget())?.cast();
        let id = list.next_id;
        list.next_id = id.wrapping_add(1).max(1);
        // SAFETY: fresh mappings, of a residue and of HEAD + len bytes; the
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
            shared.write(Shared {
                owner: AtomicI32::new(rustix::process::getpid().as_raw_nonzero().get()),
                shutdown: AtomicI32::new(-1),
                error: AtomicI32::new(0),
                inherited: AtomicBool::new(false),
                done: AtomicUsize::new(0),
            });
            r.write(Residue {
                next: list.head,
                id,
                private: private.as_raw_fd(),
                fd,
                starved: false,
                len,
                shared,
            });
        }
        let watch = epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(u64::from(id));
        if epoll::add(borrow(set), &private, data, watch).is_err() {
            // SAFETY: nothing else knows the mapping yet.
            unsafe { sys::unmap(shared.cast(), HEAD + len) };
            forget();
            return Err(());
        }
        let _ = private.into_raw_fd();
        list.head = r;
        self.bytes.fetch_add(len, Relaxed);
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
                self.let_go(r);
            }
            got
        }
    }

    /// Runs `f` on residue `id`, if it is there.
    fn with<R>(&self, id: u32, f: impl FnOnce(&mut Residue) -> R) -> Option<R> {
        self.look(id, |r| r.map(f))
    }

    fn let_go(&self, r: *mut Residue) {
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
            self.bytes.fetch_sub((*r).len, Relaxed);
            self.count.fetch_sub(1, Release);
            sys::unmap((*r).shared.cast(), HEAD + (*r).len);
            sys::unmap(r.cast(), size_of::<Residue>());
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

    /// As [`Residues::drain`], but waits until nothing is left: for a socket
    /// that was made blocking.
    pub fn drain_blocking(&self, id: u32, mut end: impl FnMut(i32, &Standing)) -> Standing {
        loop {
            match self.drain(id, &mut end) {
                Standing::Left => {
                    wait_writable(self.with(id, |r| r.private).unwrap_or(-1), None);
                }
                end => return end,
            }
        }
    }

    /// As [`Residues::drain_blocking`], for no longer than `limit`.
    pub fn drain_within(&self, id: u32, limit: Duration) {
        let start = Instant::now();
        while self.drain(id, |_, _| ()) == Standing::Left {
            let Some(left) = limit.checked_sub(start.elapsed()) else {
                return;
            };
            let private = self.with(id, |r| r.private).unwrap_or(-1);
            wait_writable(private, Some(left.min(STEP)));
        }
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

    /// Tries all, tells `end` of each that is over, and lets those go;
    /// whether any is left.
    pub fn drain_all(&self, mut end: impl FnMut(i32, u32, &Standing)) -> bool {
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
                left |= r.private >= 0 && now == Standing::Left;
                if r.over() {
                    *at = r.next;
                    self.let_go(r);
                } else {
                    at = &raw mut (**at).next;
                }
            }
        }
        left
    }

    /// Before the process ends: makes the sockets' buffers large enough for
    /// what is left, as far as the system allows; whether any is left.
    pub fn enlarge_and_drain(&self) -> bool {
        self.any(|r| {
            if r.private >= 0 && r.standing() == Standing::Left {
                let fd = borrow(r.private);
                let now = rustix::net::sockopt::socket_send_buffer_size(fd).unwrap_or(0);
                // The kernel doubles the value: this adds at least the rest.
                let _ = rustix::net::sockopt::set_socket_send_buffer_size(fd, now + r.len);
                r.drain(&*self.backend);
            }
            r.private >= 0 && r.standing() == Standing::Left
        })
    }

    /// Waits until all are out or `idle_ms` pass without progress.
    pub fn drain_to_end(&self, idle_ms: i64) {
        let mut idle = 0;
        let mut before = 0;
        while self.drain_all(|_, _, _| ()) && idle < idle_ms {
            let done = self.bytes_done();
            idle = if done == before { idle + STEP_MS } else { 0 };
            before = done;
            // In short steps: the sweeper may take an edge that this poll
            // would wait for.
            let limit = rustix::time::Timespec {
                tv_sec: 0,
                tv_nsec: STEP_MS * 1_000_000,
            };
            if let Some(set) = self.epoll() {
                let mut fds = [PollFd::from_borrowed_fd(borrow(set), PollFlags::IN)];
                let _ = poll(&mut fds, Some(&limit));
                self.consume_events(set);
            } else {
                let _ = poll(&mut [], Some(&limit));
            }
        }
    }

    fn bytes_done(&self) -> usize {
        let mut sum = 0;
        self.any(|r| {
            sum += r.shared().done.load(Relaxed);
            false
        });
        sum
    }

    /// Takes the edges of the set, so that a poll of it waits for new ones.
    fn consume_events(&self, set: i32) {
        let mut buf = [const { std::mem::MaybeUninit::uninit() }; 64];
        let zero = rustix::time::Timespec::default();
        let _ = epoll::wait(borrow(set), &mut buf, Some(&zero));
    }

    /// In a forked child: the parent drains, the child only watches.
    pub fn forked(&self) {
        // SAFETY: the child has one thread, and the parent's fork handler
        // held the lock.
        unsafe { self.list.reset() };
        self.any(|r| {
            r.shared().inherited.store(true, SeqCst);
            r.watch_only();
            false
        });
        let e = self.epoll.swap(-1, SeqCst);
        if e >= 0 {
            // SAFETY: the child's copy is ours.
            drop(unsafe { OwnedFd::from_raw_fd(e) });
        }
    }

    /// Makes, by `clone`, a process that drains from now on in place of this
    /// one; what `clone` gave. The list is held meanwhile: two processes would
    /// send the same bytes.
    pub fn split_off(&self, clone: impl FnOnce() -> i32) -> i32 {
        let list = self.list.lock();
        let pid = clone();
        if pid > 0 {
            list.each(|r| {
                if r.private >= 0 {
                    r.shared().owner.store(pid, SeqCst);
                    r.watch_only();
                }
            });
        }
        pid
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

    /// Keeps the list still over a fork.
    pub fn hold(&self) {
        self.list.hold();
    }

    /// Ends [`Residues::hold`].
    ///
    /// # Safety
    /// The calling thread called `hold`.
    pub unsafe fn release(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.list.release() }
    }
}

fn wait_writable(fd: i32, limit: Option<Duration>) {
    if fd < 0 {
        // A child waits for its parent's progress.
        let _ = rustix::thread::nanosleep(&rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        });
        return;
    }
    let mut fds = [PollFd::from_borrowed_fd(borrow(fd), PollFlags::OUT)];
    let limit = limit.and_then(|l| l.try_into().ok());
    let _ = poll(&mut fds, limit.as_ref());
}

/// Sends all of `pieces` after `skip`, waiting for the peer; an error drops
/// the rest, as it would in the kernel's buffer.
pub(crate) fn send_blocking(fd: i32, pieces: &[iovec], mut skip: usize) {
    for p in pieces {
        let s = skip.min(p.iov_len);
        skip -= s;
        // SAFETY: the pieces stand in locked custody.
        let bytes = unsafe { std::slice::from_raw_parts(p.iov_base.cast::<u8>(), p.iov_len) };
        let mut rest = &bytes[s..];
        while !rest.is_empty() {
            let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
            match rustix::net::send(borrow(fd), rest, flags) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => {
                    wait_writable(fd, None)
                }
                Err(_) => return,
            }
        }
    }
}

/// Writes all of `pieces` to something that turned out not to be a socket.
pub(crate) fn write_blocking(fd: i32, pieces: &[iovec]) {
    for p in pieces {
        // SAFETY: the pieces stand in locked custody.
        let mut rest = unsafe { std::slice::from_raw_parts(p.iov_base.cast::<u8>(), p.iov_len) };
        while !rest.is_empty() {
            match rustix::io::write(borrow(fd), rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::AGAIN) => wait_writable(fd, None),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
