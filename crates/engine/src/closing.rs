//! Streams that end while bytes are owed on them: closed with a residue, or
//! gone without a call that the library saw.

use crate::engine::Engine;
use crate::residue::Standing;
use crate::slot::{Slot, bits, owner_of};
use rustix::net::sockopt::socket_linger;
use std::sync::atomic::Ordering::*;
use std::time::Duration;

impl Engine {
    /// The program closes a stream with a residue: that is delivered, or not,
    /// as `SO_LINGER` has it (socket(7)).
    #[cold]
    pub(crate) fn close_residue(&self, fd: i32, id: u32) {
        let side = self.side();
        match socket_linger(crate::numbers::borrow(fd)) {
            // The last close resets the connection, and what was not sent is
            // dropped. Where it may not be the last, all is delivered first.
            Ok(Some(Duration::ZERO)) if self.is_only_reference(fd) => {
                return self.residues.discard(side, id);
            }
            Ok(Some(Duration::ZERO)) => {}
            // The close waits so long; what is left then is sent after it.
            Ok(Some(limit)) => self.residues.drain_within(side, id, fd, limit),
            _ => {}
        }
        loop {
            let seen = self.residues.rounds();
            match self.residues.detach(side, id) {
                // The sweeper closes its own descriptor once all is out.
                Some(true) => return self.sweeper.kick(),
                Some(false) if self.sweeper.ensure(&self.fork_mark, || self.sweeping()) => {
                    self.sweeper.kick();
                    self.residues.await_round(seen);
                }
                // The library cannot keep the socket: the close waits.
                _ => return self.deliver_waiting(fd, id),
            }
        }
    }

    #[cold]
    fn deliver_waiting(&self, fd: i32, id: u32) {
        const LONG: Duration = Duration::from_secs(60);
        let side = self.side();
        self.residues.drain_within(side, id, fd, LONG);
        if self.residues.drain(side, id, |_, _| ()) == Standing::Left {
            self.residues.discard(side, id);
        }
    }

    /// Whether residue `id` is that of another open number, too: whatever
    /// duplicates a stream with a residue passes it on.
    #[cold]
    pub(crate) fn is_duplicated(&self, fd: i32, id: u32) -> bool {
        (0..=self.top.load(Acquire)).any(|other| {
            let slot = self.slots.get(other).filter(|_| other != fd);
            slot.is_some_and(|s| s.state() & bits::RESIDUE != 0 && s.residue.load(Relaxed) == id)
        })
    }

    /// Whether the socket is surely open under no other number and in no
    /// other process: those that were duplicated or passed on are not streams
    /// any more.
    fn is_only_reference(&self, fd: i32) -> bool {
        let state = self.slots.get(fd).map_or(0, |s| s.state());
        state & bits::KIND == bits::STREAM && !self.forked.load(Relaxed)
    }

    /// The kernel gave out the number `fd` while bytes are owed on it: the
    /// socket that they were promised on was closed past the library. They go
    /// nowhere else.
    #[cold]
    pub(crate) fn lost(&self, slot: &Slot, fd: i32) {
        if let Some(seg) = owner_of(slot.state()).and_then(|id| self.segment(id)) {
            let mut c = seg.custody.lock();
            c.retain(|f| f != fd);
            seg.pending.store(c.n as u32, Release);
        }
        if slot.state() & bits::RESIDUE != 0 {
            self.residues.orphan(slot.residue.load(Relaxed));
        }
    }

    /// The program gives the number `fd` a meaning of its own (dup2): the
    /// library's own descriptor there, if there is one, moves.
    pub fn make_way(&self, fd: i32) {
        if self.has_private() {
            self.residues.make_way(self.side(), fd);
        }
    }
}
