//! What came of handing bytes to the kernel: each operation's answer becomes
//! what its stream owes, keeps or has to report.

use crate::backend::{Backend, Direct, F_MORE, Op};
use crate::custody::Custody;
use crate::engine::Engine;
use crate::errno::{is_transient, speaks_not_of_the_socket};
use crate::flusher::Flusher;
use crate::residue::last_resort;
use crate::slot::bits;
use esca_abi::op::NOT_DONE;
use esca_abi::stats::Counter;
use libc::{EAGAIN, iovec};
use std::sync::atomic::Ordering::*;

impl Engine {
    /// Has the backend run a table of sends. What it cannot do (any more) is
    /// done by plain calls: the streams are none the wiser.
    ///
    /// # Safety
    /// As for [`Backend::run`].
    pub(crate) unsafe fn hand_over(&self, ops: &mut [Op], by: &Flusher) {
        if !self.fork_mark.is_parent() {
            // A forked child that came back from a signal handler into the
            // middle of its parent's flush: the parent sends these.
            return ops.iter_mut().for_each(|op| op.result = i64::MAX);
        }
        let mut entries = match by.program {
            // SAFETY: the caller's promise.
            None => unsafe { self.backend.run(ops) },
            // SAFETY: as above. A context of the module is a thread's of the
            // program's table.
            Some(program) if self.backend.gathers() => unsafe {
                Flusher::run_fetched(program, &Direct, ops)
            },
            // SAFETY: as above.
            Some(program) => unsafe { Flusher::run_fetched(program, &*self.backend, ops) },
        };
        for op in ops {
            let e = op.result.checked_neg().unwrap_or(0) as i32;
            if op.result == NOT_DONE || op.result < 0 && speaks_not_of_the_socket(e) {
                let op = std::slice::from_mut(op);
                entries += match by.program {
                    // SAFETY: as above.
                    None => unsafe { Direct.run(op) },
                    // SAFETY: as above.
                    Some(program) => unsafe { Flusher::run_fetched(program, &Direct, op) },
                };
            }
        }
        // They were counted as saved when they were deferred.
        by.stats.add(Counter::Made, u64::from(entries));
        by.stats
            .add(Counter::Saved, u64::from(entries).wrapping_neg());
    }

    /// What came of handing a stream's bytes over: the stream gives up its
    /// owner, and what the kernel did not take is kept or reported.
    pub(crate) fn settle_outcome(&self, c: &mut Custody, op: &Op, pieces: &[iovec], by: &Flusher) {
        let stats = by.stats;
        let Some(slot) = self.slots.get(op.fd) else {
            return;
        };
        let total: usize = pieces.iter().map(|p| p.iov_len).sum();
        let (taken, error) = match op.result {
            n if n >= 0 => (total.min(n as usize), 0),
            e => (0, -e as i32),
        };
        self.fill_results(c, op.fd, taken, error);
        let mut on = 0;
        let mut off = bits::OWNER | bits::HELD_BACK;
        if taken == total {
            if op.flags & F_MORE != 0 {
                on = bits::HELD_BACK;
            }
        } else if error == 0 || is_transient(error) {
            stats.add(Counter::Short, 1);
            stats.add(Counter::ResidueBytes, (total - taken) as u64);
            let kept = self.residues.keep(op.fd, pieces, taken, total, |id| {
                slot.residue.store(id, Relaxed);
                slot.change(off, bits::RESIDUE | bits::FULL);
            });
            if kept.is_ok() {
                self.sweeper.kick();
                return;
            }
            // No memory or descriptor to keep them with: wait for the peer
            // rather than lose a byte.
            by.reach(op.fd, |fd| last_resort::send_blocking(fd, pieces, taken));
        } else if error == libc::ENOTSOCK {
            // The number was given a file behind our back.
            by.reach(op.fd, |fd| last_resort::write_blocking(fd, pieces));
            off |= bits::KIND;
            on = bits::PASS;
        } else {
            stats.add(Counter::AsyncErrors, 1);
            slot.error.store(error, Relaxed);
            on = bits::ERROR;
        }
        slot.change(off, on);
    }

    /// Gives each operation of an explicit segment its share of what the
    /// kernel took of its stream.
    fn fill_results(&self, c: &mut Custody, fd: i32, taken: usize, error: i32) {
        if c.results.is_empty() {
            return;
        }
        let mut left = taken as i64;
        for i in 0..c.n {
            let op = c.ops()[i];
            if op.fd != fd || op.result == u32::MAX {
                continue;
            }
            let got = left.min(i64::from(op.len));
            left -= got;
            let e = if error == 0 { EAGAIN } else { error };
            if let Some(r) = c.results.get_mut(op.result as usize) {
                r.result = if got == 0 { -i64::from(e) } else { got };
            }
        }
    }
}
