//! A peer: the other side of one connection, in the judge's process.

use crate::board::Board;
use crate::bytes;
use crate::program::{Peer, Step};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

/// How a stream ended for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In good order.
    Eof,
    /// By a reset.
    Reset,
    /// The peer left by itself.
    Left,
    /// Not at all: it was given up.
    Never,
}

/// What a peer saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Every byte, in order.
    pub bytes: Vec<u8>,
    /// The end.
    pub ended: Ended,
}

/// A peer at work.
pub struct Player<'a> {
    /// What it does.
    pub peer: &'a Peer,
    /// Its connection's number.
    pub connection: usize,
    /// The program's seed.
    pub seed: u64,
    /// Shared with the actor.
    pub board: &'a Board,
    /// When to give up.
    pub until: Instant,
}

impl Player<'_> {
    /// Connects to the actor. A small receive buffer goes with small segments,
    /// as on a network: on loopback one segment would be larger than it.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        const SEGMENT: i32 = 1400;
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
        if let Some(n) = self.peer.rcvbuf {
            sockopt::set_socket_recv_buffer_size(&socket, n as usize)?;
            set(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, &SEGMENT);
        }
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        // Where the actor never reads, the run ends all the same.
        let left = self.until.saturating_duration_since(Instant::now());
        stream.set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
        Ok(stream)
    }

    /// Does its steps and reads to the end.
    #[must_use]
    pub fn play(&self, mut stream: TcpStream) -> Seen {
        let mut seen = Seen {
            bytes: Vec::new(),
            ended: Ended::Never,
        };
        let mut sent = 0;
        for step in &self.peer.steps {
            match *step {
                Step::Send(n) => {
                    let from = sent;
                    sent += u64::from(n);
                    let mut more = vec![0; n as usize];
                    bytes::fill(self.seed, self.connection, bytes::PEER, from, &mut more);
                    // An error is the actor's reset, which the read sees.
                    let _ = stream.write_all(&more);
                }
                Step::Read(n) => self.read(&mut stream, &mut seen, n as usize, None),
                Step::Slow(n) => {
                    let rest = Duration::from_micros(150);
                    self.read(&mut stream, &mut seen, n as usize, Some(rest));
                }
                Step::Await(n) => self.until(|| {
                    self.board.steps.load(Acquire) >= n || self.board.hurries(self.connection)
                }),
                Step::HalfClose => _ = stream.shutdown(std::net::Shutdown::Write),
                Step::Stop => self.until(|| self.board.is_gone()),
                Step::Reset => {
                    let linger = libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    };
                    set(&stream, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
                    seen.ended = Ended::Left;
                    return seen;
                }
                Step::Close => {
                    seen.ended = Ended::Left;
                    return seen;
                }
            }
        }
        while seen.ended == Ended::Never && Instant::now() < self.until {
            self.read_some(&mut stream, &mut seen, 1 << 16, 100);
        }
        seen
    }

    fn until(&self, mut holds: impl FnMut() -> bool) {
        while !holds() && Instant::now() < self.until {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Reads `n` more, unless the actor needs the peer for something else.
    fn read(&self, stream: &mut TcpStream, seen: &mut Seen, n: usize, rest: Option<Duration>) {
        let end = seen.bytes.len() + n;
        let piece = if rest.is_some() { 700 } else { 1 << 16 };
        while seen.ended == Ended::Never && seen.bytes.len() < end && Instant::now() < self.until {
            let most = (end - seen.bytes.len()).min(piece);
            let came = self.read_some(stream, seen, most, 2);
            if !came && self.board.hurries(self.connection) {
                return;
            }
            rest.into_iter().for_each(std::thread::sleep);
        }
    }

    /// Reads once, if something comes within `ms`.
    fn read_some(&self, stream: &mut TcpStream, seen: &mut Seen, most: usize, ms: i32) -> bool {
        if !readable(stream, ms) {
            return false;
        }
        let mut room = vec![0; most];
        match stream.read(&mut room) {
            Ok(0) => seen.ended = Ended::Eof,
            Ok(n) => seen.bytes.extend_from_slice(&room[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => seen.ended = Ended::Reset,
        }
        true
    }
}

fn readable(stream: &TcpStream, ms: i32) -> bool {
    let mut p = libc::pollfd {
        fd: stream.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor.
    unsafe { libc::poll(&raw mut p, 1, ms) > 0 }
}

/// setsockopt(2).
fn set<T>(socket: &impl AsRawFd, level: i32, name: i32, value: &T) {
    let (at, len) = (std::ptr::from_ref(value).cast(), size_of::<T>() as u32);
    // SAFETY: the option lives through the call, with its length.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, at, len) };
}
