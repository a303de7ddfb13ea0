//! The call that sends from a file: sendfile.

use crate::bytes::Asks;
use crate::engine::{Engine, Verdict};
use crate::operation::OpKind;
use crate::rules::{Rule, file_head, small_file};
use crate::segment::Segment;
use crate::slot::{bits, owner_bits};
use esca_abi::stats::Counter;
use std::sync::atomic::Ordering::Release;

impl Engine {
    /// What is to be done with a sendfile. After `Pass` or `PassHeld`, make
    /// the call (after `Shut` too, elsewhere) and tell [`Engine::after_sendfile`].
    ///
    /// # Safety
    /// `offset` is the program's.
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
        if count == 0 {
            // The kernel looks at the file alone.
            self.settle(slot, fd, seg.stats, Counter::FlushCall);
            return self.through(seg);
        }
        if state & (bits::RESIDUE | bits::ERROR | bits::SHUT) != 0 {
            // sendfile has no MSG_NOSIGNAL.
            return self.troubled(seg, slot, fd, state, 0, Asks::Elsewhere);
        }
        if state & (bits::KIND | bits::NONBLOCK) != bits::STREAM | bits::NONBLOCK {
            return if state & bits::KIND == bits::STREAM {
                self.ordered(seg, slot, fd, 0)
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
        if (mine || self.wants_all(seg)) && count <= small_file::LIMIT && self.rule(Rule::SmallFile)
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
            return self.settled(seg, slot, fd, 0);
        }
        let ahead = self.rule(Rule::FileHead);
        self.take_off(seg, slot, fd);
        self.flush_stream(seg, fd, seg.stats, Counter::FlushCall, ahead);
        let state = slot.state();
        if state & (bits::RESIDUE | bits::ERROR) != 0 {
            self.landed(seg);
            return self.troubled(seg, slot, fd, state, 0, Asks::Elsewhere);
        }
        seg.stats.add(Counter::Direct, 1);
        seg.stats.add(Counter::Made, 1);
        if ahead {
            seg.stats.add(file_head::ABOUT.counter, 1);
            seg.held.store(fd, Release);
            Verdict::PassHeld
        } else {
            Verdict::Pass
        }
    }

    /// After the plain sendfile; `held` says that bytes went before it with
    /// `MSG_MORE`.
    #[inline]
    pub fn after_sendfile(&self, seg: &Segment, fd: i32, held: bool, result: isize) {
        self.landed(seg);
        if held {
            seg.held.store(-1, Release);
        }
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
            let _ = rustix::net::sockopt::set_tcp_cork(crate::numbers::borrow(fd), false);
            slot.clear(bits::HELD_BACK);
        }
    }
}

/// Stores errno as a libc function would.
fn set_errno(e: i32) {
    // SAFETY: glibc and musl both give the thread's own errno.
    unsafe { *libc::__errno_location() = e };
}
