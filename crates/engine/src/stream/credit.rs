//! Credit: bytes that may be promised on a stream because its send buffer has
//! room for them.
//!
//! `SO_MEMINFO` says how much the socket's send queue may still grow. One
//! answer serves many promises: what this process sends is charged to it, and
//! what the peer acknowledges only adds. Where the room is not enough the call
//! goes straight through, and the program gets the kernel's own answer: a
//! short count, or EAGAIN and the event that ends it.
//!
//! Why it is enough for what the kernel counts (`tcp_sendmsg_locked` in
//! net/ipv4/tcp.c): `sk_wmem_queued` grows by the bytes and by the bookkeeping
//! of each buffer, below [`BUFFER`]; there is at most one buffer for each
//! segment once all are cut up for sending (`tso_fragment`), and one more for
//! each call. The queue takes more whenever it is below its limit.
//!
//! It is an estimate of room, not of memory: where the whole machine is short
//! of socket memory the kernel takes less, and a residue keeps the rest. Others
//! that write to the socket (a duplicate, a forked process) are not counted:
//! duplicates are not deferred, and after a fork each train of promises begins
//! with a question.

use crate::sync::AtomicU32;
use crate::sys::socket;
use std::sync::atomic::Ordering::Relaxed;

/// A buffer's bookkeeping: `struct sk_buff`, `struct skb_shared_info` and room
/// for headers, about 1,000 bytes on the kernels known.
const BUFFER: u64 = 1536;

/// The kernel had no room; the other bits count the calls that pass before it
/// is asked again.
const DENIED: u32 = 1 << 31;
/// How many those are: a stream whose buffer is always too small shall not pay
/// for a question with each call.
const PASSES: u32 = 15;

/// Bytes of the program that a stream's send queue has room for.
#[cfg_attr(loom, derive(Default))]
pub(crate) struct Credit(AtomicU32);

/// What a send of `n` bytes is charged with.
#[inline]
const fn charge(n: usize) -> usize {
    n.saturating_add(BUFFER as usize)
}

impl Credit {
    /// Takes what `n` bytes may cost; false where there is not so much.
    #[inline]
    pub fn take(&self, n: usize) -> bool {
        let (has, wants) = (self.0.load(Relaxed), charge(n));
        let enough = has & DENIED == 0 && has as usize >= wants;
        if enough {
            self.0.store(has - wants as u32, Relaxed);
        }
        enough
    }

    /// Charges what a plain call sent.
    #[inline]
    pub fn spend(&self, n: usize) {
        let has = self.0.load(Relaxed);
        if has & DENIED == 0 && has != 0 {
            self.0
                .store((has as usize).saturating_sub(charge(n)) as u32, Relaxed);
        }
    }

    /// Nothing is known of the send queue any more.
    #[inline]
    pub fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// Asks the kernel, unless it said no lately, and takes what `n` bytes may
    /// cost. `lowat` is the network namespace's `tcp_notsent_lowat`, which
    /// limits what may wait unsent.
    #[cold]
    pub fn ask(&self, n: usize, fd: i32, lowat: u32) -> bool {
        let has = self.0.load(Relaxed);
        if has & DENIED != 0 && has != DENIED {
            self.0.store(has - 1, Relaxed);
            return false;
        }
        self.0.store(room(fd, lowat).unwrap_or(0), Relaxed);
        let enough = self.take(n);
        if !enough {
            self.0.store(DENIED | PASSES, Relaxed);
        }
        enough
    }
}

fn room(fd: i32, lowat: u32) -> rustix::io::Result<u32> {
    let segment = socket::segment_size(fd)?;
    let room = payload(socket::send_room(fd)?, segment);
    if lowat == u32::MAX {
        return Ok(room);
    }
    Ok(room.min(lowat.saturating_sub(socket::unsent(fd)?)))
}

/// How many of `room` bytes of a send queue are for the program's, in segments
/// of `segment` bytes.
fn payload(room: u32, segment: u32) -> u32 {
    let (room, segment) = (u64::from(room), u64::from(segment));
    let bytes = room.saturating_sub(BUFFER) * segment / (segment + BUFFER);
    // Below DENIED: send buffers are (`tcp_wmem`, an int).
    bytes.min(u64::from(DENIED - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_spent_and_never_wraps() {
        let c = Credit(AtomicU32::new(0));
        assert!(!c.take(1));
        c.0.store(100_000, Relaxed);
        assert!(c.take(1000));
        assert_eq!(c.0.load(Relaxed) as usize, 100_000 - charge(1000));
        assert!(!c.take(usize::MAX));
        c.spend(usize::MAX);
        assert_eq!(c.0.load(Relaxed), 0);
        assert!(!c.take(0));
    }

    #[test]
    fn a_refusal_lasts_for_some_calls() {
        let c = Credit(AtomicU32::new(0));
        // Not a descriptor: no room.
        assert!(!c.ask(1, -1, u32::MAX));
        for left in (0..PASSES).rev() {
            assert!(!c.ask(1, -1, u32::MAX));
            assert_eq!(c.0.load(Relaxed), DENIED | left);
            c.spend(1);
        }
        assert!(!c.ask(1, -1, u32::MAX));
        assert_eq!(c.0.load(Relaxed), DENIED | PASSES);
        c.forget();
        assert_eq!(c.0.load(Relaxed), 0);
    }

    #[test]
    fn small_segments_leave_less_room() {
        assert_eq!(payload(1000, 1448), 0);
        assert_eq!(
            payload(87_040, 1448),
            (87_040 - 1536) * 1448 / (1448 + 1536)
        );
        assert!(payload(2_626_560, 65_483) > 2_500_000);
        assert!(payload(u32::MAX, 65_483) < DENIED);
    }
}
