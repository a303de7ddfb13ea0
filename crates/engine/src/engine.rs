//! The engine itself: its parts, and the segments of its threads.

use crate::backend::{self, Backend};
use crate::bytes;
use crate::kin::Kin;
use crate::lock::Lock;
use crate::residue::Residues;
use crate::rules::{Rule, drained};
use crate::segment::{Segment, WaitKind};
use crate::settings::{Policy, Settings};
use crate::slot::{Slots, bits};
use crate::stream::edges::Edges;
use crate::stream::ports::Ports;
use crate::sweeper::Sweeper;
use crate::sync::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32};
use crate::sys::fork_mark::ForkMark;
use crate::sys::memory::Zeroed;
use crate::sys::{self, Mapping};
use esca_abi::stats::{self, Counter};
use std::sync::atomic::Ordering::{self, *};

/// Threads that can have a segment; others go straight through.
pub(crate) const THREADS: usize = if cfg!(loom) { 3 } else { 4096 };

/// Where a segment is known by its number.
#[cfg_attr(loom, derive(Default))]
pub(crate) struct Place(AtomicPtr<Segment>);

// SAFETY: zero is a null pointer; the rest is atomic.
unsafe impl Zeroed for Place {}

impl Place {
    #[inline]
    fn get(&self) -> Option<&Segment> {
        // SAFETY: null, or a segment that lives as long as the engine.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    pub fn load(&self, order: Ordering) -> *mut Segment {
        self.0.load(order)
    }

    pub fn store(&self, seg: *mut Segment, order: Ordering) {
        self.0.store(seg, order);
    }
}

/// What is to be done with an interposed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answered: return this.
    Ret(isize),
    /// Answered: return -1 with this errno.
    Err(i32),
    /// Make the plain call.
    Pass,
    /// Make the plain call; bytes just went out with `MSG_MORE` before it.
    PassHeld,
    /// Make the plain call on a socket that takes no bytes: this one is shut
    /// behind some that are left over, and the kernel looks at the call's other
    /// end first.
    Shut,
}

/// Why custody is handed to the kernel.
pub type Cause = Counter;

/// Custody, streams, rules and backend of one process.
pub struct Engine {
    pub(crate) policy: Policy,
    pub(crate) settings: Settings,
    /// Rule `socket-calls` is in force.
    socket_calls: bool,
    pub(crate) slots: Slots,
    pub(crate) table: &'static stats::Table,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) segments: Mapping<[Place; THREADS]>,
    pub(crate) segments_len: AtomicU32,
    pub(crate) registry: Lock<()>,
    pub(crate) residues: Residues,
    pub(crate) sweeper: Sweeper,
    pub(crate) kin: Kin,
    /// Why nothing is promised: forks under way and the like, and a bit for
    /// good (life.rs).
    pub(crate) unpromising: AtomicU32,
    /// Whether this is still the process that the engine was made in.
    pub(crate) fork_mark: ForkMark,
    /// Promises do not depend on credit.
    pub(crate) boundless: bool,
    /// The network namespace's `tcp_notsent_lowat`, once the sweeper read it.
    pub(crate) notsent_lowat: AtomicU32,
    /// The process has forked, or was: others may have its sockets.
    pub(crate) forked: AtomicBool,
    /// More than one thread uses it, did, or may at any moment.
    pub(crate) threaded: AtomicBool,
    /// Counts what threads learn, where there are several.
    news: AtomicU32,
    /// Which stream an event's data is of, for hang-ups.
    pub(crate) edges: Mapping<Edges>,
    /// The process may have both ends of a connection.
    pub(crate) ports: Ports,
    /// Hang-ups of edge-triggered streams are being watched.
    pub(crate) watch_hangups: AtomicBool,
    /// Highest descriptor whose slot was used.
    pub(crate) top: AtomicI32,
    /// Whether a descriptor of unknown origin came from another process.
    pub(crate) is_given: fn(i32) -> bool,
}

impl Engine {
    /// An engine for descriptors below `descriptors`, that counts in `table`.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new(
        settings: Settings,
        descriptors: usize,
        table: &'static stats::Table,
    ) -> rustix::io::Result<Self> {
        table.policy.store(settings.policy as u32, Relaxed);
        table.rules.store(settings.rules.bits(), Relaxed);
        Ok(Engine {
            policy: settings.policy,
            settings,
            socket_calls: settings.rules.has(Rule::SocketCalls)
                && matches!(settings.policy, Policy::Coalesce | Policy::Batch),
            slots: Slots::new(descriptors)?,
            table,
            backend: backend::choose(settings.backend, table),
            segments: Mapping::private()?,
            segments_len: AtomicU32::new(0),
            registry: Lock::new(()),
            residues: Residues::new()?,
            sweeper: Sweeper::new(),
            kin: Kin::new(),
            unpromising: AtomicU32::new(0),
            fork_mark: ForkMark::new()?,
            boundless: false,
            notsent_lowat: AtomicU32::new(u32::MAX),
            forked: AtomicBool::new(false),
            threaded: AtomicBool::new(false),
            news: AtomicU32::new(1 << 31),
            edges: Mapping::private()?,
            ports: Ports::new(),
            watch_hangups: AtomicBool::new(false),
            top: AtomicI32::new(-1),
            is_given: |_| false,
        })
    }

    /// The same engine with other hands: `backend` carries out its flushes,
    /// `drain` what is left over of them. Tests have them fail on command.
    #[must_use]
    pub fn with_backends(mut self, backend: Box<dyn Backend>, drain: Box<dyn Backend>) -> Self {
        self.backend = backend;
        self.residues.backend = drain;
        self
    }

    /// The same engine, that asks `is_given` of a descriptor which was there
    /// before it whether another process may have it too.
    #[must_use]
    pub fn with_origin(mut self, is_given: fn(i32) -> bool) -> Self {
        self.is_given = is_given;
        self
    }

    /// The same engine, that takes every send buffer for boundless: for tests
    /// of a kernel that takes less than it said, as one short of memory does.
    #[must_use]
    pub fn without_credit(mut self) -> Self {
        self.boundless = true;
        self
    }

    /// The same engine without a bound on how long bytes stay in custody: for
    /// tests of everything else, which a slow machine must not disturb.
    #[must_use]
    pub fn without_age(mut self) -> Self {
        self.sweeper.age = u32::MAX;
        self
    }

    /// Gives the engine a place for as long as the process lives, past the
    /// program's allocator.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn install(self) -> rustix::io::Result<&'static Engine> {
        let place: *mut Engine = sys::map_private(size_of::<Engine>())?.cast();
        // SAFETY: a fresh, page-aligned mapping of the right size, that is
        // never given back.
        unsafe {
            place.write(self);
            Ok(&*place)
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Whether `rule` is on.
    #[inline]
    pub(crate) fn rule(&self, rule: Rule) -> bool {
        self.settings.rules.has(rule)
    }

    /// Whether a `read` or `write` of `n` bytes, which is to be made now, is
    /// made as `recv` or `send`: see [`rules::socket_calls`].
    ///
    /// [`rules::socket_calls`]: crate::rules::socket_calls
    #[inline]
    #[must_use]
    pub fn by_socket(&self, seg: &Segment, fd: i32, n: usize) -> bool {
        let by = self.socket_calls
            && bytes::is_some(n)
            && self
                .slots
                .get(fd)
                .is_some_and(|s| s.state() & bits::KIND == bits::STREAM);
        if by {
            seg.stats.add(Counter::RuleSocketCalls, 1);
        }
        by
    }

    /// Gives the calling thread a segment, or `None` when there are too many
    /// threads or no memory: such a thread goes straight through.
    pub fn enter_thread(&self) -> Option<&Segment> {
        let _quiet = sys::thread::Quiet::new();
        let _g = self.registry.lock();
        for seg in self.segments() {
            if !seg.taken.swap(true, Acquire) {
                seg.wait.set(WaitKind::None);
                self.renew(seg);
                self.renew_passes(seg);
                return Some(seg);
            }
        }
        let len = self.segments_len.load(Relaxed);
        if len > 0 {
            self.before_thread();
        }
        // One that a fork left empty, or the next.
        let id = (0..=len).find(|i| {
            let place = self.segments.get(*i as usize);
            place.is_none_or(|p| p.load(Relaxed).is_null())
        })?;
        let place = self.segments.get(id as usize)?;
        // Not from the allocator: a signal handler may be what got us here.
        let seg: *mut Segment = sys::map_private(size_of::<Segment>()).ok()?.cast();
        let fresh = Segment::new(id as u16, self.table.claim()).ok()?;
        // SAFETY: a fresh, page-aligned mapping of the right size.
        unsafe { seg.write(fresh) };
        place.store(seg, Release);
        self.segments_len.store(len.max(id + 1), Release);
        // SAFETY: segments are never unmapped before the engine ends.
        let seg = unsafe { &*seg };
        self.renew_passes(seg);
        Some(seg)
    }

    /// The calling thread is about to start another one. From here on, plain
    /// calls that send are marked while they are under way
    /// ([`Slot::take_off`]): the new thread may promise on the stream of one
    /// that began before the thread was heard of. (A thread that is started
    /// unseen, by the C library itself or by a raw clone, is heard of in
    /// [`Engine::enter_thread`].)
    pub fn before_thread(&self) {
        self.threaded.store(true, SeqCst);
    }

    /// Takes the segment back from a thread that ends.
    pub fn leave_thread(&self, seg: &Segment) {
        self.landed(seg);
        self.flush(seg, seg.stats, Counter::FlushLife);
        seg.explicit.set(false);
        seg.taken.store(false, Release);
    }

    /// Every segment there has been.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments[..self.segments_len.load(Acquire) as usize]
            .iter()
            .filter_map(Place::get)
    }

    /// The segment of this number, if there is one.
    pub(crate) fn segment(&self, id: u16) -> Option<&Segment> {
        self.segments.get(id as usize).and_then(Place::get)
    }

    /// Whether the segment's thread keeps all streams until the end.
    #[inline]
    pub(crate) fn batching(&self, seg: &Segment) -> bool {
        self.policy == Policy::Batch || seg.explicit.get()
    }

    /// Called before something that another process could observe: all that
    /// this thread has in custody goes first.
    #[inline]
    pub fn effect(&self, seg: &Segment) {
        if seg.pending.load(Acquire) != 0 {
            self.flush(seg, seg.stats, Counter::FlushEffect);
        }
        seg.predictor.ended();
        // It may block (a condition variable), and a stream be handed over
        // meanwhile.
        self.renew(seg);
    }

    /// What is known of the thread's last reads ends here.
    #[inline]
    pub(crate) fn renew(&self, seg: &Segment) {
        seg.serial.set(self.next_serial(seg));
        seg.mark.set(if self.remembers_reads(seg) {
            drained::mark(seg)
        } else {
            0
        });
    }

    /// The thread may have learned what postdates its last reads.
    #[inline]
    pub(crate) fn news(&self, seg: &Segment) {
        if seg.mark.get() != 0 {
            seg.serial.set(self.next_serial(seg));
            seg.mark.set(drained::mark(seg));
        }
    }

    /// A number for what the thread knows now. Where there are threads it is
    /// one for all of them, so that each sees that another learned something.
    #[inline]
    fn next_serial(&self, seg: &Segment) -> u32 {
        if self.threaded.load(Relaxed) {
            self.news.fetch_add(1, SeqCst).wrapping_add(1)
        } else {
            seg.serial.get().wrapping_add(1)
        }
    }

    /// A wait of this thread is over: it may have used up an edge of a stream
    /// that another thread reads.
    #[inline]
    pub(crate) fn wait_is_over(&self) {
        if self.threaded.load(Relaxed) {
            self.news.fetch_add(1, SeqCst);
        }
    }

    /// Whether no thread has learned anything since `seg` numbered its
    /// knowledge, as far as the others can tell.
    #[inline]
    pub(crate) fn nothing_new(&self, seg: &Segment) -> bool {
        !self.threaded.load(Relaxed) || self.news.load(SeqCst) == seg.serial.get()
    }

    fn remembers_reads(&self, seg: &Segment) -> bool {
        self.rule(Rule::Drained)
            && seg.wait.get() != WaitKind::None
            && (self.policy != Policy::Off || seg.explicit.get())
    }

    /// Whether writes go straight through unless they are known to be
    /// followed: told again whenever that may change.
    #[inline]
    pub(crate) fn renew_passes(&self, seg: &Segment) {
        seg.passes.set(match self.policy {
            _ if seg.explicit.get() => false,
            Policy::Coalesce => true,
            Policy::Batch => seg.lone.get(),
            _ => false,
        });
    }

    /// Before a call that is not understood: as [`Engine::effect`].
    pub fn before_unknown_call(&self, seg: &Segment) {
        seg.stats.add(Counter::CallOther, 1);
        seg.stats.add(Counter::Made, 1);
        self.effect(seg);
    }

    /// Whether any thread holds bytes of `fd`.
    #[must_use]
    pub fn in_custody(&self, fd: i32) -> bool {
        self.slots
            .get(fd)
            .is_some_and(|s| s.state() & (bits::OWNER | bits::RESIDUE) != 0)
    }

    /// Raises the mark below which slots may be in use.
    #[inline]
    pub(crate) fn used(&self, fd: i32) {
        if fd > self.top.load(Relaxed) {
            self.top.fetch_max(fd, Relaxed);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.flush_everything(&stats::Slot::new(), Counter::FlushLife);
        self.sweeper.stop(&self.fork_mark);
        self.residues.close();
        for p in self.segments.iter() {
            let seg = p.load(Acquire);
            if !seg.is_null() {
                // SAFETY: mapped and written in enter_thread; the engine ends,
                // so no reference is left.
                unsafe {
                    seg.drop_in_place();
                    sys::unmap(seg.cast(), size_of::<Segment>());
                }
            }
        }
    }
}
