//! The clients of a scene, threads of the judge: each reads all, at once or
//! late, and sends what the actor asks for.

use super::letter;
use super::stage::{CLIENTS, Stage, now};
use crate::peer::Ended;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long a client that stalls reads nothing.
const STALL: Duration = Duration::from_millis(2500);
/// How long clients wait for their end when the actor is gone.
const LAST: Duration = Duration::from_millis(1500);

/// What a client saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When so many bytes had come.
    pub arrivals: Vec<(u64, u64)>,
    /// Bytes.
    pub n: u64,
    /// The first byte that is not the one due.
    pub wrong: Option<u64>,
    /// The end.
    pub ended: Ended,
}

/// Connects all clients, one after the other.
///
/// # Errors
/// Those of connect(2).
pub fn connect_all(port: u16, stalled: bool) -> std::io::Result<Vec<TcpStream>> {
    (0..CLIENTS)
        .map(|_| {
            let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
            let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
            if stalled {
                sockopt::set_socket_recv_buffer_size(&socket, 4096)?;
            }
            connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
            let stream = TcpStream::from(socket);
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_millis(2)))?;
            Ok(stream)
        })
        .collect()
}

/// One client's part.
#[must_use]
pub fn play(mut stream: TcpStream, client: usize, stage: &Stage, stalls: bool) -> Seen {
    let mut seen = Seen {
        arrivals: Vec::new(),
        n: 0,
        wrong: None,
        ended: Ended::Never,
    };
    let begin = Instant::now();
    let (mut gone, mut sent) = (None, 0);
    let mut room = vec![0; 1 << 16];
    loop {
        let cue = stage.cue[client].load(SeqCst);
        while sent < cue {
            let _ = stream.write_all(b"x");
            sent += 1;
            while unacknowledged(&stream) {
                std::thread::sleep(Duration::from_micros(50));
            }
            stage.sent[client].store(sent, SeqCst);
        }
        if stage.gone.load(SeqCst) != 0 {
            gone.get_or_insert_with(Instant::now);
        }
        if gone.is_some_and(|g| g.elapsed() > LAST) {
            return seen;
        }
        if stalls && gone.is_none() && begin.elapsed() < STALL {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        match stream.read(&mut room) {
            Ok(0) => seen.ended = Ended::Eof,
            Ok(n) => {
                for b in &room[..n] {
                    if seen.wrong.is_none() && *b != letter(client, seen.n) {
                        seen.wrong = Some(seen.n);
                    }
                    seen.n += 1;
                }
                seen.arrivals.push((now(), seen.n));
                continue;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) => seen.ended = Ended::Reset,
        }
        return seen;
    }
}

/// Whether something that was sent has not arrived yet.
fn unacknowledged(stream: &TcpStream) -> bool {
    let mut n: libc::c_int = 0;
    // SAFETY: the request stores one int.
    let r = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut n) };
    r == 0 && n != 0
}
