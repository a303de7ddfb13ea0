//! The engine itself: its parts, the segments of its threads, and the flush
//! that hands custody to the kernel.

use crate::backend::{self, Backend, F_MORE, Op, OpCode};
use crate::bytes;
use crate::custody::{Custody, OPS};
use crate::kin::Kin;
use crate::lock::Lock;
use crate::residue::Residues;
use crate::rules::{Rule, drained};
use crate::segment::{Segment, WaitKind};
use crate::settings::{Policy, Settings};
use crate::slot::{Slot, Slots, bits, owner_of};
use crate::sweeper::Sweeper;
use crate::sync::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32};
use crate::sys;
use esca_abi::stats::{self, Counter};
use libc::iovec;
use std::sync::atomic::Ordering::*;

/// Threads that can have a segment; others go straight through.
pub(crate) const THREADS: usize = if cfg!(loom) { 3 } else { 4096 };
/// Streams that one flush hands to the backend at a time.
pub(crate) const TABLE: usize = 64;

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
    pub(crate) segments: Box<[AtomicPtr<Segment>]>,
    pub(crate) segments_len: AtomicU32,
    pub(crate) registry: Lock<()>,
    pub(crate) residues: Residues,
    pub(crate) sweeper: Sweeper,
    pub(crate) kin: Kin,
    /// No promises any more: the process is ending, or cannot have a sweeper.
    pub(crate) retired: AtomicBool,
    /// The process has forked, or was: others may have its sockets.
    pub(crate) forked: AtomicBool,
    /// More than one thread uses it, did, or may at any moment.
    pub(crate) threaded: AtomicBool,
    /// Hang-ups of edge-triggered streams are being watched.
    pub(crate) watch_hangups: AtomicBool,
    /// Highest descriptor whose slot was used.
    pub(crate) top: AtomicI32,
    /// Called first in the sweeper's thread.
    pub(crate) own_thread: fn(),
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
            segments: (0..THREADS).map(|_| AtomicPtr::default()).collect(),
            segments_len: AtomicU32::new(0),
            registry: Lock::new(()),
            residues: Residues::new(),
            sweeper: Sweeper::new(),
            kin: Kin::new(),
            retired: AtomicBool::new(false),
            forked: AtomicBool::new(false),
            threaded: AtomicBool::new(false),
            watch_hangups: AtomicBool::new(false),
            top: AtomicI32::new(-1),
            own_thread: || (),
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

    /// The same engine, whose own thread begins with `first`. Where libc's
    /// functions are interposed, that keeps the thread's calls out of the
    /// engine: they are made with its locks held.
    #[must_use]
    pub fn with_own_thread(mut self, first: fn()) -> Self {
        self.own_thread = first;
        self
    }

    /// The same engine without a bound on how long bytes stay in custody: for
    /// tests of everything else, which a slow machine must not disturb.
    #[must_use]
    pub fn without_age(mut self) -> Self {
        self.sweeper.age = u32::MAX;
        self
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
        let _g = self.registry.lock();
        for seg in self.segments() {
            if !seg.taken.swap(true, Acquire) {
                seg.wait.set(WaitKind::None);
                self.renew(seg);
                self.renew_passes(seg);
                return Some(seg);
            }
        }
        let id = self.segments_len.load(Relaxed);
        if id > 0 {
            self.before_thread();
        }
        let place = self.segments.get(id as usize)?;
        // Not from the allocator: a signal handler may be what got us here.
        let seg: *mut Segment = sys::map_private(size_of::<Segment>()).ok()?.cast();
        let fresh = Segment::new(id as u16, self.table.claim()).ok()?;
        // SAFETY: a fresh, page-aligned mapping of the right size.
        unsafe { seg.write(fresh) };
        place.store(seg, Release);
        self.segments_len.store(id + 1, Release);
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
            // SAFETY: places below segments_len hold segments that live as
            // long as the engine.
            .map(|p| unsafe { &*p.load(Acquire) })
    }

    /// Whether the segment's thread keeps all streams until the end.
    #[inline]
    pub(crate) fn batching(&self, seg: &Segment) -> bool {
        self.policy == Policy::Batch || seg.explicit.get()
    }

    /// Hands all custody of `seg` to the kernel. `stats` is the caller's.
    #[inline]
    pub fn flush(&self, seg: &Segment, stats: &stats::Slot, cause: Cause) {
        if seg.pending.load(Acquire) != 0 {
            let mut c = seg.custody.lock();
            self.flush_locked(seg, &mut c, stats, cause, None);
        }
    }

    /// Hands all of `c` over; what follows at once on stream `more` joins its
    /// last segment.
    pub(crate) fn flush_locked(
        &self,
        seg: &Segment,
        c: &mut Custody,
        stats: &stats::Slot,
        cause: Cause,
        more: Option<i32>,
    ) {
        if c.n == 0 {
            return;
        }
        stats.add(cause, 1);
        stats.max(Counter::PeakBytes, c.used as u64);
        let one = if c.streams == 1 { c.one_piece() } else { None };
        if let Some(bytes) = one {
            let fd = c.ops()[0].fd;
            let all = [piece(bytes)];
            let mut op = self.send_op(fd, &all, c.ops()[c.n - 1].more, more);
            // SAFETY: the bytes stand in the arena, locked.
            unsafe { self.hand_over(std::slice::from_mut(&mut op), stats) };
            self.settle_outcome(c, &op, &all, stats);
        } else {
            self.flush_table(c, stats, more, |_| true);
        }
        c.clear();
        seg.pending.store(0, Release);
    }

    /// Hands over the custody of the streams that `pick` names, as a table
    /// with one send for each, in the order of their first operations.
    fn flush_table(
        &self,
        c: &mut Custody,
        stats: &stats::Slot,
        more: Option<i32>,
        pick: impl Fn(i32) -> bool,
    ) {
        let mut iov = [const { piece(&[]) }; OPS];
        let mut table = [const { Op::nop() }; TABLE];
        // Where the pieces of each entry of the table end.
        let mut ends = [0usize; TABLE];
        let mut done = [false; OPS];
        let mut start = 0;
        while start < c.n {
            let (mut v, mut t) = (0, 0);
            while start < c.n && t < TABLE {
                let fd = c.ops()[start].fd;
                if done[start] || !pick(fd) {
                    start += 1;
                    continue;
                }
                let first = v;
                let mut last = start;
                for (i, op) in c.ops().iter().enumerate().skip(start) {
                    if op.fd != fd {
                        continue;
                    }
                    let next = piece(c.bytes(op));
                    match iov[first..v].last_mut() {
                        // Neighbours in the arena are one piece.
                        Some(p) if p.iov_base.addr() + p.iov_len == next.iov_base.addr() => {
                            p.iov_len += next.iov_len;
                        }
                        _ => {
                            iov[v] = next;
                            v += 1;
                        }
                    }
                    done[i] = true;
                    last = i;
                }
                table[t] = self.send_op(fd, &iov[first..v], c.ops()[last].more, more);
                ends[t] = v;
                t += 1;
                start += 1;
            }
            // SAFETY: the pieces stand in the arena, which is locked, and the
            // iovecs on this stack.
            unsafe { self.hand_over(&mut table[..t], stats) };
            let mut from = 0;
            for (op, &end) in table[..t].iter().zip(&ends) {
                self.settle_outcome(c, op, &iov[from..end], stats);
                from = end;
            }
        }
    }

    /// The operation that sends `pieces` (valid while it runs): a plain send,
    /// which is cheaper, where there is only one. `last_more` says that the
    /// program passed `MSG_MORE` with the last of them.
    fn send_op(&self, fd: i32, pieces: &[iovec], last_more: bool, more: Option<i32>) -> Op {
        let corked = || {
            self.slots
                .get(fd)
                .is_some_and(|s| s.state() & bits::CORK_VIRTUAL != 0)
        };
        let (opcode, ptr, len) = match pieces {
            [one] => (OpCode::Send, one.iov_base.addr(), one.iov_len),
            many => (OpCode::SendMsg, many.as_ptr().addr(), many.len()),
        };
        Op {
            opcode: opcode as u32,
            flags: if last_more || more == Some(fd) || corked() {
                F_MORE
            } else {
                0
            },
            fd,
            ptr: ptr as u64,
            len: len as u64,
            ..Op::nop()
        }
    }

    /// Hands over the custody of one stream of `seg`: in policy batch alone,
    /// else together with what the program sent before on other streams. With
    /// `more`, what follows at once joins its last segment.
    pub(crate) fn flush_stream(
        &self,
        seg: &Segment,
        fd: i32,
        stats: &stats::Slot,
        cause: Cause,
        more: bool,
    ) {
        let mut c = seg.custody.lock();
        let mine = c.ops().iter().filter(|o| o.fd == fd).count();
        if mine == 0 {
            return;
        }
        let more = Some(fd).filter(|_| more);
        if mine == c.n || self.policy != Policy::Batch {
            self.flush_locked(seg, &mut c, stats, cause, more);
            return;
        }
        self.flush_some(seg, &mut c, stats, cause, more, |f| f == fd);
    }

    /// Hands over everything of `seg` but the custody of `fd`.
    pub(crate) fn flush_others(&self, seg: &Segment, c: &mut Custody, fd: i32) {
        self.flush_some(seg, c, seg.stats, Counter::FlushStream, None, |f| f != fd);
    }

    /// Hands over the custody of the streams that `pick` names; the others'
    /// stays.
    fn flush_some(
        &self,
        seg: &Segment,
        c: &mut Custody,
        stats: &stats::Slot,
        cause: Cause,
        more: Option<i32>,
        pick: impl Fn(i32) -> bool,
    ) {
        stats.add(cause, 1);
        self.flush_table(c, stats, more, &pick);
        c.retain(|f| !pick(f));
        seg.pending.store(c.n as u32, Release);
    }

    /// Makes sure that nothing of `fd` is in custody anywhere.
    #[inline]
    pub(crate) fn settle(&self, slot: &Slot, fd: i32, stats: &stats::Slot, cause: Cause) {
        if let Some(id) = owner_of(slot.state()) {
            self.settle_owner(id, fd, stats, cause);
        }
    }

    #[cold]
    fn settle_owner(&self, id: u16, fd: i32, stats: &stats::Slot, cause: Cause) {
        if let Some(seg) = self.segments().nth(id as usize) {
            self.flush_stream(seg, fd, stats, cause, false);
        }
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
        seg.serial.set(seg.serial.get().wrapping_add(1));
        seg.mark.set(if self.remembers_reads(seg) {
            drained::mark(seg)
        } else {
            0
        });
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

    /// Hands over the custody of every thread.
    pub fn flush_everything(&self, stats: &stats::Slot, cause: Cause) {
        for seg in self.segments() {
            self.flush(seg, stats, cause);
        }
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

    /// A thread without a segment is about to use `fd`: custody of other
    /// threads goes first.
    pub fn settle_for_stranger(&self, fd: i32) {
        if let Some(slot) = self.slots.get(fd) {
            self.settle(
                slot,
                fd,
                &self.table.slots[stats::SLOTS - 1],
                Counter::FlushCall,
            );
        }
    }

    /// The process ends inside a signal handler that interrupted the library:
    /// what can be handed over is.
    pub fn last_chance(&self) {
        self.retired.store(true, SeqCst);
        let stats = &self.table.slots[stats::SLOTS - 1];
        for seg in self.segments() {
            if let Some(mut c) = seg.custody.try_lock() {
                self.flush_locked(seg, &mut c, stats, Counter::FlushLife, None);
            }
        }
    }

    /// Raises the mark below which slots may be in use.
    #[inline]
    pub(crate) fn used(&self, fd: i32) {
        if fd > self.top.load(Relaxed) {
            self.top.fetch_max(fd, Relaxed);
        }
    }
}

/// An iovec for `bytes`; only read through, despite the type.
pub(crate) const fn piece(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.flush_everything(&stats::Slot::new(), Counter::FlushLife);
        self.sweeper.stop();
        self.residues.close();
        for p in &self.segments {
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
