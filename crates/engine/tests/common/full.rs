//! A stream that is full: a residue stands behind it.
#![allow(dead_code)]

use super::common::*;
use super::plan::{Plan, planned};
use esca_abi::stats::Counter;
use esca_engine::Engine;
use esca_engine::settings::Policy;
use std::net::TcpStream;
use std::os::fd::RawFd;

const SMALL: usize = 4096;

/// A stream whose kernel took less than was promised.
pub struct Full {
    pub w: World,
    pub h: Hands,
    pub fd: RawFd,
    pub peer: TcpStream,
    /// What the program was told is sent.
    pub sent: Vec<u8>,
    /// Stopped for now.
    pub drain: Plan,
}

impl Full {
    /// Sends until the stream refuses. What is left over stays left over,
    /// whatever room the kernel finds meanwhile, until `drain` is allowed
    /// again.
    pub fn new(policy: Policy) -> Full {
        let (w, _, drain) = planned(policy, Engine::without_age);
        drain.stop(Some(libc::EAGAIN));
        let h = w.hands();
        let (fd, peer) = w.pair(Some(SMALL));
        let mut sent = Vec::new();
        loop {
            let piece = pattern(3000, sent.len() as u8);
            match h.more(fd, &piece) {
                Ok(n) => sent.extend_from_slice(&piece[..n]),
                Err(e) => {
                    assert_eq!(e, libc::EAGAIN);
                    break;
                }
            }
            h.wait(1);
        }
        assert!(w.count(Counter::Short) >= 1, "no short flush happened");
        assert!(w.engine.in_custody(fd));
        Full {
            w,
            h,
            fd,
            peer,
            sent,
            drain,
        }
    }
}
