//! A small HTTP/1.1 client: it shows replies as they came, keeps connections
//! alive, sends several requests at once, and can be a slow reader.

use crate::{DEADLINE, assert_same};
use rustix::net::socket_with;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, sockopt};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

/// A connection.
pub struct Http {
    stream: TcpStream,
    inbox: Vec<u8>,
}

/// A reply: the head, and the body as its head delimits it.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status line and header lines, with the empty line; what differs from
    /// run to run is replaced.
    pub head: String,
    /// The body; of a chunked one the chunks' data.
    pub body: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} + {} bytes",
            self.head.escape_debug(),
            self.body.len()
        )
    }
}

impl Reply {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        let word = self.head.split(' ').nth(1);
        word.and_then(|w| w.parse().ok()).expect("a status line")
    }

    /// A header field's value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A connection to a port of loopback, with a small receive buffer when one
/// is given.
#[must_use]
pub fn dial(port: u16, rcvbuf: Option<usize>) -> TcpStream {
    try_dial(port, rcvbuf).expect("a connection")
}

/// The same, where it may be refused.
///
/// # Errors
/// Those of connect(2).
pub fn try_dial(port: u16, rcvbuf: Option<usize>) -> io::Result<TcpStream> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    // Not inherited by the servers that other tests start meanwhile.
    let fd = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::TCP));
    let fd = fd.expect("a socket");
    if let Some(n) = rcvbuf {
        sockopt::set_socket_recv_buffer_size(&fd, n).expect("SO_RCVBUF");
    }
    let at = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    connect(&fd, &at)?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    Ok(stream)
}

impl Http {
    /// Connects.
    #[must_use]
    pub fn new(port: u16) -> Http {
        Http::over(dial(port, None))
    }

    /// Uses a connection.
    #[must_use]
    pub fn over(stream: TcpStream) -> Http {
        Http {
            stream,
            inbox: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// One request, with additional header lines, and its reply.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn ask(&mut self, method: &str, path: &str, lines: &[&str]) -> io::Result<Reply> {
        self.send(request(method, path, lines))?;
        self.reply(method)
    }

    /// Gets a path.
    pub fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, &[])
            .unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    /// Reads the reply to a request of this method.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends first; then
    /// [`Http::is_fresh`] tells whether anything came.
    pub fn reply(&mut self, method: &str) -> io::Result<Reply> {
        let head = self.until(b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut reply = Reply {
            head: normal(&head),
            body: Vec::new(),
        };
        let bodyless = method == "HEAD" || matches!(reply.status(), 204 | 304);
        if bodyless {
            return Ok(reply);
        }
        if let Some(n) = reply.field("content-length") {
            let n = n.parse().expect("a length");
            reply.body = self.exactly(n)?;
        } else if reply.field("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.until(b"\r\n")?;
                let line = String::from_utf8_lossy(&line).into_owned();
                let n = usize::from_str_radix(line.trim(), 16).expect("a chunk's size");
                let mut chunk = self.exactly(n + 2)?;
                assert_eq!(chunk.split_off(n), b"\r\n", "a chunk's end");
                reply.body.extend(chunk);
                if n == 0 {
                    break;
                }
            }
        } else {
            while self.fill()? > 0 {}
            reply.body = std::mem::take(&mut self.inbox);
        }
        without_boundary(&mut reply);
        Ok(reply)
    }

    /// Whether nothing of a reply has come yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Whether the connection ends here.
    pub fn at_end(&mut self) -> bool {
        self.inbox.is_empty() && self.fill().expect("an end") == 0
    }

    fn fill(&mut self) -> io::Result<usize> {
        let old = self.inbox.len();
        self.inbox.resize(old + 65_536, 0);
        let got = self.stream.read(&mut self.inbox[old..]);
        self.inbox.truncate(old + *got.as_ref().unwrap_or(&0));
        got
    }

    fn until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self.inbox.windows(mark.len()).position(|w| w == mark);
            if let Some(at) = found {
                return self.exactly(at + mark.len());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.inbox.len() < n {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.inbox.split_off(n);
        Ok(std::mem::replace(&mut self.inbox, rest))
    }
}

/// A request's bytes.
#[must_use]
pub fn request(method: &str, path: &str, lines: &[&str]) -> String {
    let mut all = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for line in lines {
        all += line;
        all += "\r\n";
    }
    all + "\r\n"
}

fn normal(head: &str) -> String {
    let line = |l: &str| {
        let dated = l.get(..5).is_some_and(|d| d.eq_ignore_ascii_case("date:"));
        if dated {
            "Date: *".into()
        } else {
            l.to_owned()
        }
    };
    head.split("\r\n")
        .map(line)
        .collect::<Vec<_>>()
        .join("\r\n")
}

/// A multipart boundary counts up or is drawn by lot; its length stays.
fn without_boundary(reply: &mut Reply) {
    let Some(at) = reply.head.find("boundary=") else {
        return;
    };
    let from = at + "boundary=".len();
    let len = reply.head[from..].find(['\r', ';']).unwrap_or(0);
    let boundary = reply.head[from..from + len].to_owned();
    let stars = "*".repeat(len);
    reply.head = reply.head.replace(&boundary, &stars);
    let mut at = 0;
    while let Some(i) = find(&reply.body[at..], boundary.as_bytes()) {
        reply.body[at + i..at + i + len].fill(b'*');
        at += i + len;
    }
}

fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    (0..all.len().checked_sub(part.len())? + 1)
        .find(|&i| all[i] == first && all[i..].starts_with(part))
}

/// Asserts that the replies are those of the run without ESCA.
pub fn assert_replies(what: &str, want: &[Reply], got: &[Reply]) {
    assert_eq!(want.len(), got.len(), "{what}: number of replies");
    for (i, (want, got)) in want.iter().zip(got).enumerate() {
        assert_eq!(want.head, got.head, "{what}: head of reply {i}");
        assert_same(&format!("{what}: body of reply {i}"), &want.body, &got.body);
    }
}
