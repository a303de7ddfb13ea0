//! A client that asks for the same thing on many connections, in rounds: all
//! requests stand in the server's sockets before it runs, and all replies in
//! the client's before the client does. So every round is the same work.

use esca_suite::http::dial;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Connections of one kind of request.
pub struct Client {
    streams: Vec<TcpStream>,
    request: Vec<u8>,
    body: Vec<u8>,
    reply: Vec<u8>,
}

/// The whole reply's length, once its beginning says so.
fn length(reply: &[u8]) -> Option<usize> {
    let mark: &[u8] = if matches!(reply.first(), Some(b'$' | b'+')) {
        b"\r\n"
    } else {
        b"\r\n\r\n"
    };
    let end = reply.windows(mark.len()).position(|w| w == mark)?;
    let head = std::str::from_utf8(&reply[..end]).expect("a head of text");
    if head.starts_with('+') {
        return Some(end + 2);
    }
    if let Some(n) = head.strip_prefix('$') {
        return Some(end + 4 + n.parse::<usize>().expect("a length"));
    }
    let n = head.lines().find_map(|l| {
        let (name, value) = l.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim())
    });
    let n: usize = n.expect("a length").parse().expect("a number");
    Some(end + 4 + n)
}

impl Client {
    /// Connects `n` times.
    pub fn new(port: u16, n: u32, request: &[u8], body: &[u8]) -> Client {
        Client {
            streams: (0..n).map(|_| dial(port, None)).collect(),
            request: request.into(),
            body: body.into(),
            reply: vec![0; body.len() + 4096],
        }
    }

    /// One round; each reply's body is compared.
    pub fn round(&mut self) {
        schedule(libc::SCHED_FIFO, 1);
        for stream in &mut self.streams {
            stream.write_all(&self.request).expect("a request");
        }
        schedule(libc::SCHED_IDLE, 0);
        for stream in &mut self.streams {
            let (mut have, mut whole) = (0, usize::MAX);
            while have < whole {
                let n = stream.read(&mut self.reply[have..]).expect("a reply");
                assert!(n > 0, "the connection ended after {have} bytes");
                have += n;
                whole = length(&self.reply[..have]).unwrap_or(usize::MAX);
            }
            let reply = &self.reply[..have];
            let reply = reply
                .strip_suffix(b"\r\n")
                .filter(|r| r.ends_with(&self.body));
            let same = reply.is_some() || self.reply[..have].ends_with(&self.body);
            assert!(same && have == whole, "another body than asked for");
        }
    }
}

/// Sets this thread's scheduling policy.
fn schedule(policy: i32, priority: i32) {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameter is read.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    assert_eq!(
        done,
        0,
        "sched_setscheduler: {}",
        std::io::Error::last_os_error()
    );
}
