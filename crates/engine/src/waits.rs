//! The waits: where a segment ends and the next begins.

use crate::engine::Engine;
use crate::flush::TABLE;
use crate::segment::{Segment, WaitKind};
use crate::slot::bits;
use esca_abi::stats::Counter;
use std::sync::atomic::Ordering::*;

const HANGUPS: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// Streams pending at once in policy batch: at least, at most.
const ROUND: (u32, u32) = (4, 32);

impl Engine {
    /// Before a wait: everything in custody goes to the kernel.
    #[inline]
    pub fn before_wait(&self, seg: &Segment, kind: WaitKind) {
        seg.stats.add(Counter::CallWait, 1);
        seg.stats.add(Counter::Made, 1);
        self.flush(seg, seg.stats, Counter::FlushWait);
        if self.watching(seg) {
            self.watch_wait(seg);
        }
        seg.predictor.ended();
        seg.current.set(-1);
        seg.wait.set(kind);
        self.renew(seg);
    }

    /// After a wait that reported `events` descriptors. Takes no lock and
    /// leaves errno alone.
    ///
    /// In policy batch a round's first answers shall not wait for its last:
    /// they go when a quarter of the round is done; all together where one
    /// kernel entry does for them all.
    #[inline]
    pub fn after_wait(&self, seg: &Segment, events: u32) {
        self.wait_is_over();
        if events < 2 && seg.lone.get() {
            // As after the last one.
            return;
        }
        let round = if self.backend.gathers() {
            TABLE as u32
        } else {
            (events / 4).clamp(ROUND.0, ROUND.1)
        };
        seg.round.set(round);
        // A lone request gains nothing from being held.
        seg.lone.set(events < 2);
        self.renew_passes(seg);
    }

    /// After an epoll wait: notes the hang-ups of edge-triggered streams.
    #[inline]
    pub fn after_epoll(
        &self,
        seg: &Segment,
        events: impl ExactSizeIterator<Item = libc::epoll_event>,
    ) {
        self.after_wait(seg, events.len() as u32);
        if self.watch_hangups.load(Relaxed) {
            for e in events.filter(|e| e.events & HANGUPS != 0) {
                self.hung_up(e.u64);
            }
        }
    }

    #[cold]
    fn hung_up(&self, data: u64) {
        for fd in self.edges.candidates(data) {
            if let Some(slot) = self.slots.get(fd)
                && slot.state() & bits::EPOLL_EDGE != 0
                && slot.epoll_data.load(Relaxed) == data
            {
                slot.set(bits::HANGUP);
            }
        }
    }

    /// After a poll or a select that reported `fds` readable.
    #[inline]
    pub fn after_poll(&self, seg: &Segment, events: u32, fds: impl Iterator<Item = i32>) {
        for fd in fds {
            if let Some(slot) = self.slots.get(fd)
                && slot.state() & (bits::KIND | bits::POLLED) == bits::STREAM
            {
                slot.set(bits::POLLED);
            }
        }
        self.after_wait(seg, events);
    }

    /// After `epoll_ctl(add or modify)` succeeded.
    pub fn registered(&self, set: i32, fd: i32, event: libc::epoll_event) {
        if let Some(slot) = self.slots.get(set)
            && slot.state() & bits::EPOLL_SET == 0
        {
            slot.set(bits::EPOLL_SET);
            self.used(set);
        }
        let Some(slot) = self.slots.get(fd) else {
            return;
        };
        self.used(fd);
        const EDGE: u32 = libc::EPOLLET as u32;
        const HANGUP: u32 = libc::EPOLLRDHUP as u32;
        if event.events & EDGE == 0 {
            slot.set(bits::EPOLL_LEVEL);
            return;
        }
        // Two sets with different data: the later hides the earlier's
        // hang-ups, so the stream is not watched any more.
        let data = event.u64;
        let before = slot.epoll_data.swap(data, Relaxed);
        let twice = slot.state() & bits::EPOLL_EDGE != 0 && before != data;
        let watched = self.watch_hangups.load(Acquire)
            && event.events & HANGUP != 0
            && !twice
            && self.edges.note(data, fd, |other| self.has_edge(other));
        slot.change(
            bits::HANGUP_WATCHED,
            bits::EPOLL_EDGE | if watched { bits::HANGUP_WATCHED } else { 0 },
        );
    }

    /// The data by which `fd` is registered edge-triggered.
    fn has_edge(&self, fd: i32) -> Option<u64> {
        let slot = self.slots.get(fd)?;
        (slot.state() & bits::HANGUP_WATCHED != 0).then(|| slot.epoll_data.load(Relaxed))
    }

    /// Before `fd` is closed while a private duplicate keeps its socket: the
    /// kernel would go on reporting it, so it leaves every epoll set now.
    #[cold]
    pub(crate) fn leave_sets(&self, fd: i32) {
        for set in 0..=self.top.load(Acquire) {
            let known = self.slots.get(set).map_or(0, |s| s.state());
            if known & bits::EPOLL_SET != 0 {
                // An error means: it is not in this one.
                let borrow = crate::numbers::borrow;
                let _ = rustix::event::epoll::delete(borrow(set), borrow(fd));
            }
        }
    }

    /// After `epoll_ctl(delete)` succeeded: it may be in another set still,
    /// so only an edge-triggered stream's watch ends, and what is known of its
    /// last read.
    pub fn unregistered(&self, fd: i32) {
        if let Some(slot) = self.slots.get(fd) {
            slot.drained.store(0, Relaxed);
            slot.clear(bits::HANGUP_WATCHED | bits::EPOLL_LEVEL);
        }
    }
}
