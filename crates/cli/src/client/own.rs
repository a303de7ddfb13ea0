//! This program's own load client: keep-alive connections that stay open
//! between slices of load, one request outstanding on each, epoll.
//!
//! So that the client's processor is not what is measured, a body is thrown
//! away in the kernel (MSG_TRUNC, tcp(7)) after its length was read from the
//! head. The first answer on each connection and every 97th after it are read
//! and compared whole; the length and status of all others are checked.

use super::exchange::{Answer, Exchange, head};
use super::{Latencies, Outcome};
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// One in so many answers is compared whole.
const WHOLE: u64 = 97;
/// How long no answer at all may come.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};
const ROOM: usize = 256 * 1024;

struct Connection {
    stream: TcpStream,
    sent: Instant,
    /// Answers so far.
    answers: u64,
    /// Bytes kept: a head that is not complete, or an answer to be compared.
    got: Vec<u8>,
    /// Bytes of the answer still to come, once its head was read.
    left: Option<usize>,
}

/// Connections to one server, and what is exchanged on them.
pub struct Client {
    exchange: Exchange,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    room: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn new(port: u16, exchange: &Exchange, connections: u32) -> Result<Self> {
        let mut client = Client {
            exchange: exchange.clone(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            room: vec![0; ROOM],
        };
        for i in 0..connections {
            let mut stream = TcpStream::connect(("127.0.0.1", port))
                .with_context(|| format!("connection {i} to port {port}"))?;
            if let (0, Some((ask, answer))) = (i, &exchange.prepare) {
                let mut got = vec![0; answer.len()];
                stream.write_all(ask)?;
                stream.read_exact(&mut got)?;
                ensure!(got == *answer, "an unexpected answer to the preparation");
            }
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(u64::from(i));
            epoll::add(&client.epoll, &stream, data, epoll::EventFlags::IN)?;
            client.connections.push(Connection {
                stream,
                sent: Instant::now(),
                answers: 0,
                got: Vec::new(),
                left: None,
            });
        }
        Ok(client)
    }

    /// Keeps a request outstanding on every connection for that long; ends
    /// when all of them are answered.
    pub fn run(&mut self, time: Duration) -> Result<Outcome> {
        let mut latencies = Latencies::new();
        let start = Instant::now();
        let end = start + time;
        for c in &mut self.connections {
            ask(&self.exchange, c, Instant::now())?;
        }
        let mut outstanding = self.connections.len();
        let mut answers = 0_u64;
        let mut last = start;
        let mut events = Vec::with_capacity(self.connections.len());
        while outstanding > 0 {
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, room, Some(&PATIENCE)) {
                Ok(0) => bail!("no answer for 10 s to {outstanding} requests"),
                Ok(_) => {}
                Err(Errno::INTR) => {
                    crate::interrupt::check()?;
                    continue;
                }
                Err(e) => bail!(e),
            }
            for event in &events {
                let c = &mut self.connections[event.data.u64() as usize];
                if !receive(&mut self.exchange, c, &mut self.room)? {
                    continue;
                }
                last = Instant::now();
                latencies.add(last - c.sent);
                answers += 1;
                if last < end {
                    ask(&self.exchange, c, last)?;
                } else {
                    outstanding -= 1;
                }
            }
        }
        let requests = (answers * u64::from(self.exchange.requests)) as f64;
        Ok(Outcome::new(
            requests,
            (last - start).as_secs_f64(),
            latencies,
        ))
    }
}

fn ask(exchange: &Exchange, c: &mut Connection, now: Instant) -> Result<()> {
    c.sent = now;
    let n = send(&c.stream, &exchange.ask, SendFlags::NOSIGNAL).context("send to the server")?;
    // The connection is idle: a request fits, or nothing does.
    ensure!(n == exchange.ask.len(), "the request did not fit at once");
    Ok(())
}

/// Takes what arrived; true when the answer is complete.
fn receive(exchange: &mut Exchange, c: &mut Connection, room: &mut [u8]) -> Result<bool> {
    let whole = c.answers.is_multiple_of(WHOLE) || matches!(exchange.answer, Answer::Exact(_));
    loop {
        let (most, flags) = match c.left {
            Some(n) if !whole => (n.min(room.len()), RecvFlags::TRUNC),
            Some(n) => (n.min(room.len()), RecvFlags::empty()),
            None => (16 * 1024, RecvFlags::empty()),
        };
        let n = match recv(&c.stream, &mut room[..most], flags) {
            Ok((_, 0)) => bail!("the server closed a connection"),
            Ok((_, n)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(e) => return Err(e).context("receive from the server"),
        };
        if whole || c.left.is_none() {
            c.got.extend_from_slice(&room[..n]);
        }
        let left = match c.left {
            Some(before) => before - n,
            None => match length(&exchange.answer, &c.got)? {
                Some(all) => all
                    .checked_sub(c.got.len())
                    .context("the server sent more than the answer")?,
                None => continue,
            },
        };
        c.left = Some(left);
        if left == 0 {
            if whole {
                compare(&mut exchange.answer, &c.got)?;
            }
            c.got.clear();
            c.left = None;
            c.answers += 1;
            return Ok(true);
        }
    }
}

/// How long the answer that begins so will be in all, once that is known.
fn length(answer: &Answer, got: &[u8]) -> Result<Option<usize>> {
    Ok(match answer {
        Answer::Exact(a) => Some(a.len()),
        Answer::Http(_) => head(got)?.map(|h| h.length + h.body),
    })
}

/// Compares a whole answer; the first body seen is what later ones must be,
/// where none is known.
fn compare(answer: &mut Answer, got: &[u8]) -> Result<()> {
    match answer {
        Answer::Exact(a) => ensure!(got == *a, "the server answered other bytes"),
        Answer::Http(want) => {
            let body = &got[head(got)?.map_or(0, |h| h.length)..];
            let want = want.get_or_insert_with(|| body.to_vec());
            ensure!(body == *want, "the server answered other bytes");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server of one connection that answers the k-th request with
    /// `answer(k)`, in pieces of at most `piece` bytes.
    fn server(answer: impl Fn(usize) -> Vec<u8> + Send + 'static, piece: usize) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut s, _) = listener.accept().unwrap();
            s.set_nodelay(true).unwrap();
            let mut ask = [0; 4096];
            let mut k = 0;
            while s.read(&mut ask).is_ok_and(|n| n > 0) {
                for p in answer(k).chunks(piece) {
                    if s.write_all(p).is_err() {
                        return;
                    }
                }
                k += 1;
            }
        });
        port
    }

    fn http(body: &[u8]) -> Vec<u8> {
        let mut a = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        a.push_str(&String::from_utf8_lossy(body));
        a.into_bytes()
    }

    fn load(port: u16, body: Option<&[u8]>) -> Result<Outcome> {
        let exchange = Exchange::get("/", body.map(<[u8]>::to_vec));
        Client::new(port, &exchange, 1)?.run(Duration::from_millis(200))
    }

    #[test]
    fn counts_what_the_server_answered() {
        let body = b"0123456789".repeat(30_000);
        let b = body.clone();
        for piece in [7_777, 1 << 20] {
            let b = b.clone();
            let out = load(server(move |_| http(&b), piece), Some(&body)).unwrap();
            assert!(out.requests > 0.0 && out.rate > 0.0);
            assert_eq!(out.latencies.as_ref().unwrap().len() as f64, out.requests);
        }
    }

    #[test]
    fn heads_in_pieces() {
        let out = load(server(|_| http(b"hello"), 3), Some(b"hello")).unwrap();
        assert!(out.requests > 0.0);
    }

    #[test]
    fn other_bytes_are_found() {
        let first = load(server(|_| http(b"hellx"), 99), Some(b"hello"));
        assert!(format!("{:#}", first.unwrap_err()).contains("other bytes"));
        // Without a known body the first one is what later ones must be.
        let answer = |k| http(if k < 5 { b"hello" } else { b"hellx" });
        let later = load(server(answer, 99), None);
        assert!(format!("{:#}", later.unwrap_err()).contains("other bytes"));
    }

    #[test]
    fn wrong_lengths_are_found() {
        let more = |_| {
            let mut a = http(b"hello");
            a.push(b'!');
            a
        };
        assert!(load(server(more, 999), Some(b"hello")).is_err());
    }

    #[test]
    fn pipelines_count_each_request() {
        let mut e = Exchange::get("/", None);
        (e.ask, e.answer) = (b"PING\r\n".to_vec(), Answer::Exact(b"+PONG\r\n".to_vec()));
        let port = server(|_| b"+PONG\r\n".repeat(4), 5);
        let mut c = Client::new(port, &e.pipelined(4), 1).unwrap();
        let out = c.run(Duration::from_millis(100)).unwrap();
        assert_eq!(
            out.requests,
            4.0 * out.latencies.as_ref().unwrap().len() as f64
        );
    }
}
