//! Waits for the end of residues: before a call that would overtake them,
//! and before the process ends.

use super::entry::Hold;
use super::{Residues, Side, Standing};
use crate::numbers::borrow;
use crate::sys::table::close_between;
use crate::sys::thread::{exit_group, fork_quietly};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Length of one step of a wait for the end.
const STEP: Duration = Duration::from_millis(5);

/// How long a process that stays behind goes on without progress.
const PATIENCE: Duration = Duration::from_secs(60);

impl Residues {
    /// As [`Residues::drain`], but waits as a blocking send on `fd` does: the
    /// errno is the kernel's own, of `SO_SNDTIMEO` or a signal.
    pub fn drain_blocking(
        &self,
        side: Side,
        id: u32,
        mut end: impl FnMut(i32, &Standing),
    ) -> Result<Standing, i32> {
        loop {
            match self.drain(side, id, &mut end) {
                Standing::Left => {}
                over => return Ok(over),
            }
            let lent = self.look(side, id, |r| {
                let r = r.filter(|r| !r.lent && r.fd >= 0)?;
                r.lent = true;
                let rest = r.rest();
                Some((r.fd, rest.as_ptr(), rest.len()))
            });
            let Some((fd, at, len)) = lent else {
                await_other_process();
                continue;
            };
            // SAFETY: a lent residue stays on the list, and nobody else moves
            // its end.
            let rest = unsafe { std::slice::from_raw_parts(at, len) };
            let sent = rustix::net::send(borrow(fd), rest, rustix::net::SendFlags::NOSIGNAL);
            self.look(side, id, |r| {
                if let Some(r) = r {
                    r.lent = false;
                    match sent {
                        Ok(n) => r.done += n.min(r.len - r.done),
                        Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => {}
                        Err(e) => r.error = e.raw_os_error(),
                    }
                    if r.standing() != Standing::Left {
                        r.ended(fd, &self.progress);
                    }
                }
            });
            match sent {
                Err(e @ (Errno::AGAIN | Errno::INTR)) => return Err(e.raw_os_error()),
                Err(Errno::NOBUFS | Errno::NOMEM) => await_other_process(),
                _ => {}
            }
        }
    }

    /// As [`Residues::drain`] of the program's stream `fd`, for no longer than
    /// `limit`.
    pub fn drain_within(&self, side: Side, id: u32, fd: i32, limit: Duration) {
        let start = Instant::now();
        while self.drain(side, id, |_, _| ()) == Standing::Left {
            let Some(left) = limit.checked_sub(start.elapsed()) else {
                return;
            };
            wait_writable(fd, Some(left.min(STEP)));
        }
    }

    /// Before the process ends: makes the sockets' buffers large enough for
    /// what is left, as far as the system allows; whether any is left.
    pub fn enlarge_and_drain(&self, side: Side) -> bool {
        let mut left = false;
        self.any(|r| {
            r.fetch(side);
            if r.standing() == Standing::Left {
                if let Some(fd) = r.number(side) {
                    let fd = borrow(fd);
                    let now = rustix::net::sockopt::socket_send_buffer_size(fd).unwrap_or(0);
                    // The kernel doubles the value: this adds at least the rest.
                    let _ = rustix::net::sockopt::set_socket_send_buffer_size(fd, now + r.len);
                }
                r.drain(side, &*self.backend, &self.progress);
                left |= r.standing() == Standing::Left;
            }
            false
        });
        left
    }

    /// Before another process (or stdio) may write on the descriptors that
    /// `which` names without a look here: waits until what was promised on
    /// them is out, but not for a reader that takes nothing for `patience`.
    pub fn drain_for_others(
        &self,
        side: Side,
        patience: Duration,
        end: impl FnMut(i32, u32, &Standing),
        which: impl Fn(i32) -> bool,
    ) {
        if self.count() > 0 {
            self.wait_for(side, patience, end, |fd| fd >= 0 && which(fd));
        }
    }

    fn wait_for(
        &self,
        side: Side,
        patience: Duration,
        mut end: impl FnMut(i32, u32, &Standing),
        which: impl Fn(i32) -> bool,
    ) {
        let mut idle = Duration::ZERO;
        let mut before = 0;
        while idle < patience && self.drain_all(side, &mut end, |r| which(r.fd)) {
            let mut done = 0;
            self.any(|r| {
                done += r.done;
                false
            });
            idle = if done == before {
                idle + STEP
            } else {
                Duration::ZERO
            };
            before = done;
            wait_writable(-1, Some(STEP));
        }
    }

    /// The sweeper hands all that is left to a process that stays behind, as
    /// the kernel would go on with its own buffer. The first process of a
    /// namespace cannot leave one, so there the sweeper stays until the end.
    pub fn hand_off(&self, side: Side) {
        if self.count() == 0 || !self.enlarge_and_drain(side) {
            return;
        }
        let stay = || self.wait_for(side, PATIENCE, |_, _, _| (), |_| true);
        if rustix::process::getpid().is_init() {
            return stay();
        }
        // Held: two processes would send the same bytes.
        let mut list = self.list.lock();
        match fork_quietly() {
            Err(_) => {
                drop(list);
                stay();
            }
            Ok(0) => {
                drop(list);
                // The peers of everything else must see it end now.
                self.close_all_but_held();
                stay();
                exit_group();
            }
            Ok(pid) => list.retain_not(|reserve, r| {
                if r.standing() != Standing::Left || r.hold == Hold::Refused {
                    return false;
                }
                r.let_go(side);
                self.progress.pass_to(r.id, pid);
                self.memory
                    .fetch_sub(super::memory(r.len), std::sync::atomic::Ordering::Relaxed);
                self.count
                    .fetch_sub(1, std::sync::atomic::Ordering::Release);
                // SAFETY: it comes off the list here, under the lock.
                unsafe { self.vacate(reserve, r) };
                true
            }),
        }
    }

    /// In a process that stays behind: keeps the residues' sockets alone.
    fn close_all_but_held(&self) {
        let mut from = 0;
        loop {
            let mut next = None;
            self.any(|r| {
                if let Hold::Held(fd) = r.hold
                    && fd >= from
                {
                    next = Some(next.map_or(fd, |n: i32| n.min(fd)));
                }
                false
            });
            let Some(fd) = next else { break };
            close_between(from, fd - 1);
            from = fd + 1;
        }
        close_between(from, i32::MAX);
    }
}

/// A step of a wait for what another thread or process does, which gives no
/// event.
pub(crate) fn await_other_process() {
    let _ = rustix::thread::nanosleep(&rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    });
}

/// Waits until `fd` may be written (-1: just waits), for no longer than
/// `limit`.
pub(super) fn wait_writable(fd: i32, limit: Option<Duration>) {
    let limit = limit.and_then(|l| l.try_into().ok());
    if fd < 0 {
        let _ = poll(&mut [], limit.as_ref());
        return;
    }
    let mut fds = [PollFd::from_borrowed_fd(borrow(fd), PollFlags::OUT)];
    let _ = poll(&mut fds, limit.as_ref());
}
