//! The calls that send: write, writev, send, sendto, sendmsg, sendfile.

use crate::backend::{F_MORE, Op, OpCode};
use crate::custody::Held;
use crate::engine::{Engine, Verdict, piece};
use crate::outcome::speaks_not_of_the_socket;
use crate::residue::Standing;
use crate::rules::{Rule, file_head, merge, small_file};
use crate::segment::{OpKind, Segment, SegmentResult};
use crate::settings::Policy;
use crate::slot::{Slot, bits, owner_bits};
use esca_abi::stats::Counter;
use libc::{EAGAIN, EPIPE, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, iovec};
use std::sync::atomic::Ordering::*;

/// Pieces of one large write that can be gathered with custody.
const GATHER: usize = 64;
/// An address below this is no buffer: let the kernel say EFAULT.
const LOWEST: usize = 4096;

/// The bytes of a call, where the program keeps them.
#[derive(Clone, Copy)]
pub enum Bytes<'a> {
    /// One buffer.
    One(*const u8, usize),
    /// A vector of buffers.
    Many(&'a [iovec]),
}

impl Bytes<'_> {
    /// The total length; `None` where the kernel would refuse it.
    fn len(&self) -> Option<usize> {
        match self {
            Bytes::One(p, n) => (*n == 0 || p.addr() >= LOWEST).then_some(*n),
            Bytes::Many(v) => v.iter().try_fold(0usize, |sum, i| {
                if i.iov_len != 0 && i.iov_base.addr() < LOWEST {
                    return None;
                }
                sum.checked_add(i.iov_len)
                    .filter(|s| *s <= isize::MAX as usize)
            }),
        }
    }

    /// Copies all of it to the front of `to`, which is long enough.
    ///
    /// # Safety
    /// The buffers are readable.
    #[inline]
    unsafe fn copy(&self, to: &mut [u8]) {
        let mut at = 0;
        let mut one = |p: *const u8, n: usize| {
            // SAFETY: readable (caller); the slice index checks the room.
            unsafe { std::ptr::copy_nonoverlapping(p, to[at..at + n].as_mut_ptr(), n) };
            at += n;
        };
        match self {
            Bytes::One(p, n) => one(*p, *n),
            Bytes::Many(v) => v.iter().for_each(|i| one(i.iov_base.cast(), i.iov_len)),
        }
    }
}

/// A call that sends.
#[derive(Clone, Copy)]
pub struct WriteCall<'a> {
    /// The descriptor.
    pub fd: i32,
    /// Which call.
    pub kind: OpKind,
    /// Flags of send(2); 0 for write and writev.
    pub flags: i32,
    /// What to send.
    pub bytes: Bytes<'a>,
}

impl Engine {
    /// What is to be done with a call that sends bytes. After `Pass`, make
    /// the call and tell [`Engine::after_write`].
    ///
    /// # Safety
    /// The call's buffers are readable, as the kernel would require.
    #[inline]
    pub unsafe fn write(&self, seg: &Segment, call: &WriteCall) -> Verdict {
        let counter = match call.kind {
            OpKind::Write => Counter::CallWrite,
            OpKind::Writev => Counter::CallWritev,
            OpKind::Send => Counter::CallSend,
            _ => Counter::CallSendmsg,
        };
        seg.stats.add(counter, 1);
        let Some(slot) = self.slots.get(call.fd) else {
            return self.through(seg);
        };
        let state = slot.state();
        if state & bits::RESIDUE != 0 && call.bytes.len() == Some(0) {
            // Nothing to send waits for nothing.
            return self.through(seg);
        }
        if state & bits::KIND != bits::STREAM {
            if state & (bits::RESIDUE | bits::SHUT) != 0 {
                return self.troubled(seg, slot, call.fd, state, call.flags);
            }
            return self.through(seg);
        }
        if state & (bits::RESIDUE | bits::ERROR | bits::SHUT) != 0 {
            return self.troubled(seg, slot, call.fd, state, call.flags);
        }
        let len = match call.bytes.len() {
            Some(n) if call.flags & !(MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL) == 0 && n > 0 => n,
            Some(0) => {
                self.settle(slot, call.fd, seg.stats, Counter::FlushCall);
                return self.through(seg);
            }
            _ => return self.ordered(seg, slot, call.fd),
        };
        if slot.answers() {
            seg.stats.add(Counter::Answered, 1);
        }
        if state & bits::NONBLOCK != 0 && self.watching(seg) {
            return self.watch_write(seg, call, len);
        }
        if state & bits::NONBLOCK == 0 || !self.promises(seg) {
            return self.ordered(seg, slot, call.fd);
        }
        let mine = state & bits::OWNER == owner_bits(seg.id);
        let keep = mine
            || call.flags & MSG_MORE != 0
            || state & bits::CORK_VIRTUAL != 0
            || self.wants_all(seg)
            || seg.predictor.keep(call.kind);
        seg.predictor.sent(call.fd, call.kind);
        if keep
            && len <= merge::WRITE_LIMIT
            // SAFETY: the caller's promise.
            && unsafe { self.defer(seg, slot, call, len) }
        {
            return Verdict::Ret(len as isize);
        }
        let turned = seg.current.replace(call.fd) != call.fd;
        if mine && !turned && slot.state() & bits::OWNER == owner_bits(seg.id) {
            return self.gather(seg, slot, call);
        }
        self.in_turn(seg);
        self.settled(seg, slot, call.fd)
    }

    /// What is to be done with a call that sends on `fd` and is never
    /// deferred: it goes behind all there is.
    pub fn send_behind(&self, seg: &Segment, fd: i32) -> Verdict {
        seg.stats.add(Counter::CallOther, 1);
        self.effect(seg);
        let Some(slot) = self.slots.get(fd) else {
            seg.stats.add(Counter::Made, 1);
            return Verdict::Pass;
        };
        let state = slot.state();
        if state & (bits::RESIDUE | bits::ERROR | bits::SHUT) != 0 {
            return self.troubled(seg, slot, fd, state, 0);
        }
        self.settled(seg, slot, fd)
    }

    /// Straight through, after what an observer could order it by.
    #[inline]
    pub(crate) fn through(&self, seg: &Segment) -> Verdict {
        self.effect(seg);
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
    }

    /// Straight through on a stream, by a call that may block or that is not
    /// understood: after everything in custody.
    #[cold]
    fn ordered(&self, seg: &Segment, slot: &Slot, fd: i32) -> Verdict {
        self.effect(seg);
        self.settled(seg, slot, fd)
    }

    /// Straight through, after what is in custody for the same stream.
    #[inline]
    pub(crate) fn settled(&self, seg: &Segment, slot: &Slot, fd: i32) -> Verdict {
        self.settle(slot, fd, seg.stats, Counter::FlushCall);
        let state = slot.state();
        if state & (bits::RESIDUE | bits::ERROR) != 0 {
            return self.troubled(seg, slot, fd, state, 0);
        }
        seg.stats.add(Counter::Direct, 1);
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
    }

    /// Whether everything is kept until the segment ends.
    #[inline]
    fn wants_all(&self, seg: &Segment) -> bool {
        seg.explicit.get() || self.policy == Policy::Batch && !seg.lone.get()
    }

    /// In policy coalesce, what was sent before on other streams goes first.
    #[inline]
    fn in_turn(&self, seg: &Segment) {
        if seg.pending.load(Relaxed) != 0 && !self.batching(seg) {
            self.flush(seg, seg.stats, Counter::FlushStream);
        }
    }

    /// Takes the bytes of `call` into custody; false if they cannot be kept.
    ///
    /// # Safety
    /// As for [`Engine::write`].
    #[inline]
    unsafe fn defer(&self, seg: &Segment, slot: &Slot, call: &WriteCall, len: usize) -> bool {
        self.keep(
            seg,
            slot,
            call.fd,
            call.kind,
            call.flags & MSG_MORE != 0,
            |room| {
                // SAFETY: the caller's promise; keep gives at least len bytes.
                unsafe { call.bytes.copy(room) };
                Some(len)
            },
            len,
        )
        .is_some()
    }

    /// Takes up to `len` bytes into custody for `fd`, produced by `fill`.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    fn keep(
        &self,
        seg: &Segment,
        slot: &Slot,
        fd: i32,
        kind: OpKind,
        more: bool,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
        len: usize,
    ) -> Option<usize> {
        if !self.may_promise() {
            return None;
        }
        let me = owner_bits(seg.id);
        let mut c = seg.custody.lock();
        let now = self.sweeper.tick.load(Relaxed);
        let mut mine = slot.state() & bits::OWNER == me;
        // Policy coalesce keeps the order of sends between streams. Answers to
        // a round of several events may stay and leave back to back, in the
        // order in which they were made; a stream whose bytes stand before
        // another's cannot take more.
        let turned = seg.current.replace(fd) != fd;
        if turned && c.n != 0 && (mine || seg.lone.get()) && !self.batching(seg) {
            self.flush_locked(seg, &mut c, seg.stats, Counter::FlushStream, None);
            mine = false;
        }
        // Bytes of a stream that was waited for long, that are many, or that
        // may not be merged go first.
        let split = mine && kind != OpKind::Sendfile && !self.rule(Rule::Merge);
        let late = c.n != 0 && now.wrapping_sub(seg.since.load(Relaxed)) > self.sweeper.age;
        let crowded = !mine && c.streams as u32 >= seg.round.get() && !seg.explicit.get();
        let large = c.used + len > merge::STREAM_LIMIT && !self.batching(seg);
        if !c.fits(len) || split || late || crowded || large {
            self.flush_locked(seg, &mut c, seg.stats, Counter::FlushFull, None);
            mine = false;
        }
        if !slot.own(me, bits::NO_PROMISE) {
            return None;
        }
        let Some(n) = fill(&mut c.room()[..len]) else {
            if !mine {
                slot.clear(bits::OWNER);
            }
            return None;
        };
        if n == 0 {
            if !mine {
                slot.clear(bits::OWNER);
            }
            return Some(0);
        }
        let result = self.record(seg, &mut c, fd, kind, n as i64);
        if c.n == 0 {
            seg.since.store(now, Relaxed);
        }
        c.push(Held {
            fd,
            off: 0,
            len: n as u32,
            more,
            result,
        });
        c.streams += usize::from(!mine);
        seg.pending.store(c.n as u32, Release);
        let stats = seg.stats;
        stats.add(Counter::Deferred, 1);
        stats.add(Counter::DeferredBytes, n as u64);
        if kind != OpKind::Sendfile {
            stats.add(Counter::Saved, 1);
        }
        if mine {
            stats.add(Counter::Merged, 1);
            if kind != OpKind::Sendfile {
                stats.add(Counter::RuleMerge, 1);
            }
        }
        // The last of a train: waiting longer gains nothing, unless other
        // answers of the round can follow at once.
        let waits = more
            || !seg.lone.get()
            || self.wants_all(seg)
            || slot.state() & bits::CORK_VIRTUAL != 0
            || seg.predictor.keep(kind);
        if mine && !waits {
            self.flush_locked(seg, &mut c, stats, Counter::FlushDone, None);
            return Some(n);
        }
        // Open before the look at the sweeper: that order is what it relies on.
        drop(c);
        if !self.sweeper.ensure(self) {
            // Nobody would bound the time: keep nothing from now on.
            self.retired.store(true, Release);
            self.flush(seg, stats, Counter::FlushLife);
        }
        Some(n)
    }

    /// Whether new custody is allowed at all.
    #[inline]
    fn may_promise(&self) -> bool {
        !self.retired.load(Relaxed) && self.residues.has_room()
    }

    /// Notes an operation of an explicit segment; gives its place.
    #[inline]
    pub(crate) fn record(
        &self,
        seg: &Segment,
        c: &mut crate::custody::Custody,
        fd: i32,
        kind: OpKind,
        result: i64,
    ) -> u32 {
        if !seg.explicit.get() {
            return u32::MAX;
        }
        c.results.push(SegmentResult { fd, kind, result });
        c.results.len() as u32 - 1
    }

    /// A write too large to copy, behind bytes in custody: one sendmsg with
    /// both, and the kernel's own answer for the program's part.
    #[cold]
    fn gather(&self, seg: &Segment, slot: &Slot, call: &WriteCall) -> Verdict {
        let single;
        let theirs = match call.bytes {
            Bytes::One(p, n) => {
                single = [iovec {
                    iov_base: p.cast_mut().cast(),
                    iov_len: n,
                }];
                &single[..]
            }
            Bytes::Many(v) => v,
        };
        let mut c = seg.custody.lock();
        if c.streams > 1 && !self.batching(seg) {
            self.flush_others(seg, &mut c, call.fd);
        }
        let ours = if c.streams == 1 { c.one_piece() } else { None };
        let (Some(ours), true) = (
            ours.map(piece),
            theirs.len() <= GATHER && self.rule(Rule::Merge) && !seg.explicit.get(),
        ) else {
            drop(c);
            return self.settled(seg, slot, call.fd);
        };
        let held = ours.iov_len;
        let mut all = [const { piece(&[]) }; GATHER + 1];
        all[0] = ours;
        all[1..=theirs.len()].copy_from_slice(theirs);
        let mut op = Op {
            opcode: OpCode::SendMsg as u32,
            flags: if call.flags & MSG_MORE != 0 {
                F_MORE
            } else {
                0
            },
            fd: call.fd,
            ptr: all.as_ptr() as u64,
            len: theirs.len() as u64 + 1,
            ..Op::nop()
        };
        // SAFETY: the first piece stands in locked custody, the others are
        // the program's (promised by the caller of write).
        unsafe { self.hand_over(std::slice::from_mut(&mut op), seg.stats) };
        // The entry is that of the program's own call.
        seg.stats.add(Counter::Saved, 1);
        if op.result < 0 && speaks_not_of_the_socket(-op.result as i32) {
            // The program's buffers (EFAULT): custody goes without them.
            self.flush_locked(seg, &mut c, seg.stats, Counter::FlushCall, None);
            drop(c);
            return self.settled(seg, slot, call.fd);
        }
        let sent = usize::try_from(op.result).unwrap_or(0);
        seg.stats.add(Counter::Direct, 1);
        if sent >= held {
            seg.stats.add(Counter::Merged, 1);
            seg.stats.add(Counter::RuleMerge, 1);
        }
        seg.stats.add(Counter::FlushCall, 1);
        self.settle_outcome(&mut c, &op, &all[..1], seg.stats);
        c.clear();
        seg.pending.store(0, Release);
        drop(c);
        match slot.state() {
            s if s & bits::ERROR != 0 => self.troubled(seg, slot, call.fd, s, call.flags),
            _ if sent > held => Verdict::Ret((sent - held) as isize),
            s if sent == held || s & bits::RESIDUE != 0 => Verdict::Err(EAGAIN),
            _ => self.settled(seg, slot, call.fd),
        }
    }

    /// A write or sendfile on a stream with a residue, an error to report, or
    /// a shutdown behind it.
    #[cold]
    pub(crate) fn troubled(
        &self,
        seg: &Segment,
        slot: &Slot,
        fd: i32,
        state: u64,
        flags: i32,
    ) -> Verdict {
        if state & bits::SHUT != 0 {
            if flags & MSG_NOSIGNAL == 0 {
                // As the kernel: to the thread that writes.
                // SAFETY: raise takes a number.
                unsafe { libc::raise(libc::SIGPIPE) };
            }
            return Verdict::Err(EPIPE);
        }
        if state & bits::RESIDUE != 0 {
            let id = slot.residue.load(Relaxed);
            // Asked of the kernel: a duplicate may have been made blocking.
            let blocking = flags & MSG_DONTWAIT == 0 && blocks(fd);
            // For this number, which may be a duplicate of the residue's.
            let over = |_, end: &Standing| self.residue_over(fd, id, end);
            let standing = if blocking {
                self.residues.drain_blocking(id, over)
            } else {
                self.residues.drain(id, over)
            };
            if standing == Standing::Left {
                return Verdict::Err(EAGAIN);
            }
        }
        match self.take_error(slot) {
            // The kernel says EPIPE again, with its signal.
            0 | EPIPE => {}
            e => return Verdict::Err(e),
        }
        self.settle(slot, fd, seg.stats, Counter::FlushCall);
        seg.stats.add(Counter::Direct, 1);
        seg.stats.add(Counter::Made, 1);
        Verdict::Pass
    }

    /// Takes a stream's error, if it has one to report.
    pub(crate) fn take_error(&self, slot: &Slot) -> i32 {
        if slot.state() & bits::ERROR == 0 {
            return 0;
        }
        slot.clear(bits::ERROR);
        slot.error.swap(0, Relaxed)
    }

    /// After a plain call that sends gave `result` for `asked` bytes
    /// (`asked` 0 if not known).
    #[inline]
    pub fn after_write(&self, seg: &Segment, fd: i32, kind: OpKind, flags: i32, result: isize) {
        let Some(slot) = self.slots.get(fd) else {
            return;
        };
        let state = slot.state();
        match state & bits::KIND {
            bits::UNKNOWN if result >= 0 => self.classify(fd),
            bits::TCP if result > 0 => slot.set_kind(bits::STREAM),
            bits::STREAM => {
                let held = if flags & MSG_MORE != 0 {
                    bits::HELD_BACK
                } else {
                    0
                };
                if result > 0 && state & (bits::FULL | bits::HELD_BACK) != held {
                    slot.change(bits::FULL | bits::HELD_BACK, held);
                }
            }
            _ => {}
        }
        if seg.explicit.get() {
            self.record_plain(seg, fd, kind, result);
        }
    }

    #[cold]
    fn record_plain(&self, seg: &Segment, fd: i32, kind: OpKind, result: isize) {
        let r = if result < 0 {
            -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
        } else {
            result as i64
        };
        self.record(seg, &mut seg.custody.lock(), fd, kind, r);
    }

    /// What is to be done with a sendfile. After `Pass` or `PassHeld`, make
    /// the call and tell [`Engine::after_sendfile`].
    ///
    /// # Safety
    /// `offset` is null or valid for reads and writes.
    #[inline]
    pub unsafe fn sendfile(
        &self,
        seg: &Segment,
        fd: i32,
        in_fd: i32,
        offset: *mut i64,
        count: usize,
    ) -> Verdict {
        seg.stats.add(Counter::CallSendfile, 1);
        let Some(slot) = self.slots.get(fd) else {
            return self.through(seg);
        };
        let state = slot.state();
        if state & bits::RESIDUE != 0 && count == 0 {
            return self.through(seg);
        }
        if state & (bits::RESIDUE | bits::ERROR | bits::SHUT) != 0 {
            // sendfile has no MSG_NOSIGNAL.
            return self.troubled(seg, slot, fd, state, 0);
        }
        if state & (bits::KIND | bits::NONBLOCK) != bits::STREAM | bits::NONBLOCK {
            return if state & bits::KIND == bits::STREAM {
                self.ordered(seg, slot, fd)
            } else {
                self.through(seg)
            };
        }
        if slot.answers() {
            seg.stats.add(Counter::Answered, 1);
        }
        if self.watching(seg) {
            return self.watch_sendfile(seg, fd, count);
        }
        seg.predictor.sent(fd, OpKind::Sendfile);
        let mine = state & bits::OWNER == owner_bits(seg.id);
        if (mine || self.wants_all(seg))
            && count <= small_file::LIMIT
            && count > 0
            && self.rule(Rule::SmallFile)
        {
            // SAFETY: the caller's promise for offset.
            let fill = |room: &mut [u8]| unsafe { small_file::fetch(in_fd, offset, room) };
            if let Some(n) = self.keep(seg, slot, fd, OpKind::Sendfile, false, fill, count) {
                seg.stats.add(Counter::Made, 1);
                seg.stats.add(Counter::RuleSmallFile, 1);
                return Verdict::Ret(n as isize);
            }
        }
        seg.current.set(fd);
        if slot.state() & bits::OWNER != owner_bits(seg.id) {
            self.in_turn(seg);
            return self.settled(seg, slot, fd);
        }
        let ahead = self.rule(Rule::FileHead);
        self.flush_stream(seg, fd, seg.stats, Counter::FlushCall, ahead);
        let state = slot.state();
        if state & (bits::RESIDUE | bits::ERROR) != 0 {
            return self.troubled(seg, slot, fd, state, 0);
        }
        seg.stats.add(Counter::Direct, 1);
        seg.stats.add(Counter::Made, 1);
        if ahead {
            seg.stats.add(file_head::ABOUT.counter, 1);
            Verdict::PassHeld
        } else {
            Verdict::Pass
        }
    }

    /// After the plain sendfile; `held` says that bytes went before it with
    /// `MSG_MORE`.
    #[inline]
    pub fn after_sendfile(&self, seg: &Segment, fd: i32, held: bool, result: isize) {
        if result > 0 {
            self.after_write(seg, fd, OpKind::Sendfile, 0, result);
            return;
        }
        if held {
            let keep = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            self.push(fd);
            set_errno(keep);
        }
        if seg.explicit.get() {
            self.record_plain(seg, fd, OpKind::Sendfile, result);
        }
    }

    /// Sends what the kernel holds back: an uncork does (tcp(7)).
    #[cold]
    pub(crate) fn push(&self, fd: i32) {
        if let Some(slot) = self.slots.get(fd)
            && slot.state() & bits::CORK_REAL == 0
        {
            let _ = rustix::net::sockopt::set_tcp_cork(crate::residue::borrow(fd), false);
            slot.clear(bits::HELD_BACK);
        }
    }
}

/// Whether calls on `fd` wait.
fn blocks(fd: i32) -> bool {
    rustix::fs::fcntl_getfl(crate::residue::borrow(fd))
        .is_ok_and(|flags| !flags.contains(rustix::fs::OFlags::NONBLOCK))
}

/// Stores errno as a libc function would.
fn set_errno(e: i32) {
    // SAFETY: glibc and musl both give the thread's own errno.
    unsafe { *libc::__errno_location() = e };
}
