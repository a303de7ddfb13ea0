//! Whether residues will find descriptors: where they may not, nothing is
//! promised that could need one.

use crate::numbers::borrow;
use crate::numbers::{limit, saturate};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, getrlimit};
use rustix::time::Timespec;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};

/// Free numbers below which nothing more is promised.
const RESERVE: i32 = 64;
/// Refused promises from one look at a crowded table to the next.
const REFUSALS: u32 = 256;

/// Numbers are given out lowest first, so one near the limit says that the
/// table is nearly full. It does not matter where the limit can be raised for
/// a moment (numbers.rs).
pub(crate) struct Headroom {
    /// A program's number from which on a look is due; 0 before the first.
    mark: AtomicI32,
    crowded: AtomicBool,
    refused: AtomicU32,
}

impl Headroom {
    pub const fn new() -> Self {
        Headroom {
            mark: AtomicI32::new(0),
            crowded: AtomicBool::new(false),
            refused: AtomicU32::new(0),
        }
    }

    /// The program was given the number `fd`.
    #[inline]
    pub fn given(&self, fd: i32) {
        if fd >= self.mark.load(Relaxed) {
            self.look(fd);
        }
    }

    /// Whether promises may be made.
    #[inline]
    pub fn is_enough(&self) -> bool {
        !self.crowded.load(Relaxed) || self.look_again()
    }

    #[cold]
    fn look(&self, fd: i32) {
        let limits = getrlimit(Resource::Nofile);
        let hard = limits.maximum.unwrap_or(u64::MAX);
        let mark = match limits.current {
            Some(soft) if hard < soft.saturating_add(RESERVE as u64) => {
                let soft = saturate(soft);
                soft - RESERVE.min(soft / 4)
            }
            _ => i32::MAX,
        };
        self.mark.store(mark, Relaxed);
        if fd >= mark {
            self.crowded.store(true, Relaxed);
        }
    }

    /// Counts what is free below the limit.
    #[cold]
    fn look_again(&self) -> bool {
        if self.refused.fetch_add(1, Relaxed) % REFUSALS != REFUSALS - 1 {
            return false;
        }
        let (mark, soft) = (self.mark.load(Relaxed), limit());
        let n = soft.saturating_sub(mark).clamp(0, RESERVE);
        let mut fds: [_; RESERVE as usize] = std::array::from_fn(|i| {
            PollFd::from_borrowed_fd(borrow(mark + i as i32), PollFlags::empty())
        });
        let fds = &mut fds[..n as usize];
        // Those that are not open are reported (POLLNVAL, poll(2)).
        let free = poll(fds, Some(&Timespec::default())).unwrap_or(0);
        let enough = free as i32 * 2 >= n;
        self.crowded.store(!enough, Relaxed);
        enough
    }
}
