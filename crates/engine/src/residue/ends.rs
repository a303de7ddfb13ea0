//! Waits for the end of residues: before a call that would overtake them,
//! and before the process ends.

use super::one::Residue;
use super::{Residues, Standing};
use crate::numbers::borrow;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

/// Length of one step of a wait for the end.
const STEP_MS: i64 = 20;
const STEP: Duration = Duration::from_millis(STEP_MS as u64);

/// How long such a wait goes on without progress.
const PATIENCE_MS: i64 = 60_000;

impl Residues {
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

    /// Waits until all that this process drains are out, or for as long as
    /// there is progress.
    pub fn drain_to_end(&self, end: impl FnMut(i32, u32, &Standing)) {
        self.wait_for(end, |r| r.private >= 0);
    }

    /// Before another process (or stdio) may write behind the library's back
    /// on the descriptors that `which` names: waits, as
    /// [`Residues::drain_to_end`], until what was promised on them is out.
    pub fn drain_for_others(
        &self,
        end: impl FnMut(i32, u32, &Standing),
        which: impl Fn(i32) -> bool,
    ) {
        if self.count() > 0 {
            self.wait_for(end, |r| r.fd >= 0 && which(r.fd));
        }
    }

    fn wait_for(&self, mut end: impl FnMut(i32, u32, &Standing), which: impl Fn(&Residue) -> bool) {
        let mut idle = 0;
        let mut before = 0;
        while self.drain_all(&mut end, &which) && idle < PATIENCE_MS {
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
}

/// A step of a wait for what another process does, which gives no event.
pub(crate) fn await_other_process() {
    let _ = rustix::thread::nanosleep(&rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    });
}

/// Waits until `fd` may be written, for no longer than `limit`.
pub(super) fn wait_writable(fd: i32, limit: Option<Duration>) {
    if fd < 0 {
        // A child waits for its parent's progress.
        return await_other_process();
    }
    let mut fds = [PollFd::from_borrowed_fd(borrow(fd), PollFlags::OUT)];
    let limit = limit.and_then(|l| l.try_into().ok());
    let _ = poll(&mut fds, limit.as_ref());
}
