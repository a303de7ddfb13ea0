//! Many connections on one thread: an event-driven HTTP client that compares
//! every byte as it comes, and says how each request ended.

use crate::http::{request, try_dial};
use crate::site::content;
use crate::{DEADLINE, assert_same, eventually};
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// How a request ended. Bytes that are not the right ones end the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The whole reply came.
    Whole,
    /// The connection ended before the reply's first byte: on a connection
    /// that was kept alive this is the server's right (RFC 9112, 9.3.1).
    Fresh,
    /// The same, of a connection's first request.
    Unserved,
    /// It ended within the reply; what came is the reply's beginning.
    Cut,
}

/// How the requests of a load ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// See [`End::Whole`].
    pub whole: u64,
    /// See [`End::Fresh`].
    pub fresh: u64,
    /// See [`End::Unserved`].
    pub unserved: u64,
    /// See [`End::Cut`].
    pub cut: u64,
    /// Connections that were refused.
    pub refused: u64,
}

impl Tally {
    fn add(&mut self, end: End) {
        *match end {
            End::Whole => &mut self.whole,
            End::Fresh => &mut self.fresh,
            End::Unserved => &mut self.unserved,
            End::Cut => &mut self.cut,
        } += 1;
    }
}

#[derive(Default)]
struct Conn {
    stream: Option<TcpStream>,
    /// The size asked for, of which no whole reply came yet.
    asked: Option<usize>,
    head: Vec<u8>,
    /// Bytes of the body that came; `None` before the head's end.
    body: Option<usize>,
    /// Replies so far.
    used: u64,
    /// The server said that it closes behind this reply.
    last: bool,
}

/// The connections.
pub struct Swarm {
    port: u16,
    rcvbuf: Option<usize>,
    set: OwnedFd,
    conns: Vec<Conn>,
    bodies: HashMap<usize, Rc<[u8]>>,
    /// The head of the first reply of each size: the others' are the same.
    heads: HashMap<usize, String>,
    room: Vec<u8>,
}

impl Swarm {
    /// Room for `n` connections to a port, none of them open.
    #[must_use]
    pub fn new(port: u16, n: usize, rcvbuf: Option<usize>) -> Swarm {
        Swarm {
            port,
            rcvbuf,
            set: epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll set"),
            conns: (0..n).map(|_| Conn::default()).collect(),
            bodies: HashMap::new(),
            heads: HashMap::new(),
            room: vec![0; 1 << 16],
        }
    }

    /// The same, all of them open.
    #[must_use]
    pub fn connected(port: u16, n: usize, rcvbuf: Option<usize>) -> Swarm {
        let mut swarm = Swarm::new(port, n, rcvbuf);
        for i in 0..n {
            assert!(swarm.open(i), "connection {i} was refused");
        }
        swarm
    }

    /// Opens connection `i`; whether it was taken.
    pub fn open(&mut self, i: usize) -> bool {
        let Ok(stream) = try_dial(self.port, self.rcvbuf) else {
            return false;
        };
        stream.set_nonblocking(true).expect("non-blocking");
        let data = epoll::EventData::new_u64(i as u64);
        epoll::add(&self.set, &stream, data, epoll::EventFlags::IN).expect("a watch");
        self.conns[i] = Conn {
            stream: Some(stream),
            ..Conn::default()
        };
        true
    }

    /// Closes connection `i`.
    pub fn close(&mut self, i: usize) {
        self.conns[i].stream = None;
    }

    /// Whether connection `i` is open.
    #[must_use]
    pub fn is_open(&self, i: usize) -> bool {
        self.conns[i].stream.is_some()
    }

    /// Asks for the file of a size on connection `i`.
    pub fn ask(&mut self, i: usize, size: usize, lines: &[&str]) -> Option<End> {
        self.bodies
            .entry(size)
            .or_insert_with(|| content(size).into());
        let c = &mut self.conns[i];
        assert!(c.asked.replace(size).is_none(), "{i} waits for a reply");
        let bytes = request("GET", &format!("/{size}"), lines);
        let stream = c.stream.as_mut().expect("an open connection");
        match stream.write(bytes.as_bytes()) {
            Ok(n) => {
                assert_eq!(n, bytes.len(), "a request fits into the socket");
                None
            }
            Err(e) if is_end(e.kind()) => Some(self.ended(i)),
            Err(e) => panic!("a request: {e}"),
        }
    }

    /// Reads what has come, waiting for it for a while; how requests ended.
    pub fn turn(&mut self) -> Vec<(usize, End)> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 256];
        let limit = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let ready = match epoll::wait(&self.set, &mut events, Some(&limit)) {
            Ok((ready, _)) => ready.iter().map(|e| e.data.u64() as usize).collect(),
            Err(rustix::io::Errno::INTR) => Vec::new(),
            Err(e) => panic!("epoll_wait: {e}"),
        };
        ready
            .into_iter()
            .filter_map(|i| Some((i, self.read(i)?)))
            .collect()
    }

    /// Takes whole replies until `n` have come; anything else is a failure.
    pub fn whole(&mut self, n: usize) {
        let (mut left, mut last) = (n, Instant::now());
        while left > 0 {
            let ends = self.turn();
            for (i, end) in &ends {
                assert_eq!(*end, End::Whole, "connection {i}");
            }
            if ends.is_empty() {
                assert!(last.elapsed() < DEADLINE, "{left} of {n} did not come");
            } else {
                last = Instant::now();
            }
            left = left.checked_sub(ends.len()).expect("no reply too many");
        }
    }

    fn read(&mut self, i: usize) -> Option<End> {
        let c = &mut self.conns[i];
        let got = match c.stream.as_mut()?.read(&mut self.room) {
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return None;
            }
            Err(e) if is_end(e.kind()) => 0,
            Err(e) => panic!("connection {i}: {e}"),
        };
        if got == 0 {
            let asked = c.asked.is_some();
            let end = self.ended(i);
            return asked.then_some(end);
        }
        let size = c.asked.unwrap_or_else(|| panic!("{i}: nothing was asked"));
        let mut bytes = &self.room[..got];
        if c.body.is_none() {
            let old = c.head.len();
            c.head.extend(bytes);
            let from = old.saturating_sub(3);
            let end = c.head[from..].windows(4).position(|w| w == b"\r\n\r\n")?;
            let len = from + end + 4;
            c.head.truncate(len);
            bytes = &bytes[len - old..];
            let (head, last) = normal(&c.head);
            c.last = last;
            let first = self.heads.entry(size).or_insert_with(|| {
                let length = format!("Content-Length: {size}\r\n");
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
                assert!(head.contains(&length), "{head}");
                head.clone()
            });
            assert_eq!(*first, head, "the head of {size} bytes");
            c.body = Some(0);
        }
        let at = c.body.expect("after the head");
        let want = &self.bodies[&size][at..];
        let what = format!("connection {i}, reply {}, from byte {at}", c.used);
        assert!(bytes.len() <= want.len(), "{what}: too many bytes");
        assert_same(&what, &want[..bytes.len()], bytes);
        c.body = Some(at + bytes.len());
        if at + bytes.len() < size {
            return None;
        }
        c.head.clear();
        (c.asked, c.body) = (None, None);
        c.used += 1;
        if c.last {
            c.stream = None;
        }
        Some(End::Whole)
    }

    /// The connection's end, seen by a read or a write.
    fn ended(&mut self, i: usize) -> End {
        let c = std::mem::take(&mut self.conns[i]);
        match (c.body, c.head.is_empty(), c.used) {
            (None, true, 0) => End::Unserved,
            (None, true, _) => End::Fresh,
            _ => End::Cut,
        }
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// A head without what may differ, and whether it announces the end.
fn normal(head: &[u8]) -> (String, bool) {
    let head = String::from_utf8_lossy(head);
    let differs = |l: &&str| !l.starts_with("Date:") && !l.starts_with("Connection:");
    let last = head.lines().any(|l| l == "Connection: close");
    let kept: Vec<&str> = head.split_inclusive("\r\n").filter(differs).collect();
    (kept.concat(), last)
}

/// What is known of a load while it runs.
#[derive(Default)]
pub struct Watch {
    /// It is to end.
    pub done: AtomicBool,
    /// Whole replies so far.
    pub whole: AtomicU64,
}

/// Sets a flag when dropped, also by a failure.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Watch {
    /// Waits for so many more replies.
    pub fn more(&self, n: u64) {
        let before = self.whole.load(Relaxed);
        eventually("replies", || {
            (self.whole.load(Relaxed) >= before + n).then_some(())
        });
    }

    /// Runs the load while `act` does something to the server.
    pub fn during(&self, load: Load, act: impl FnOnce()) -> Tally {
        std::thread::scope(|s| {
            let running = s.spawn(|| load.run(&self.done, &self.whole));
            let stop = Stop(&self.done);
            act();
            drop(stop);
            running.join().expect("the load")
        })
    }
}

/// Requests without a pause on several connections.
#[derive(Clone, Copy)]
pub struct Load {
    /// Where.
    pub port: u16,
    /// Connections at a time.
    pub connections: usize,
    /// Sizes of the files asked for, in turn.
    pub sizes: &'static [usize],
    /// A connection for each request.
    pub closing: bool,
    /// Connections that ended are opened again.
    pub again: bool,
}

impl Load {
    /// Runs until `done` is set, or (unless `again`) no connection is left.
    /// Adds whole replies to `whole` as they come.
    #[must_use]
    pub fn run(self, done: &AtomicBool, whole: &AtomicU64) -> Tally {
        let lines: &[&str] = if self.closing {
            &["Connection: close"]
        } else {
            &[]
        };
        let mut swarm = Swarm::new(self.port, self.connections, None);
        let mut tally = Tally::default();
        let mut next = 0;
        let mut idle: Vec<usize> = (0..self.connections).collect();
        let mut last = Instant::now();
        let mut waiting = 0;
        loop {
            for i in std::mem::take(&mut idle) {
                if done.load(Relaxed) {
                    continue;
                }
                let open = swarm.is_open(i) || swarm.open(i);
                if !open {
                    tally.refused += 1;
                    if self.again {
                        idle.push(i);
                    }
                    continue;
                }
                next += 1;
                match swarm.ask(i, self.sizes[next % self.sizes.len()], lines) {
                    None => waiting += 1,
                    Some(end) => {
                        tally.add(end);
                        if self.again {
                            idle.push(i);
                        }
                    }
                }
            }
            if waiting == 0 && idle.is_empty() {
                return tally;
            }
            let ends = swarm.turn();
            if ends.is_empty() {
                assert!(last.elapsed() < DEADLINE, "no reply and no end: {tally:?}");
            } else {
                last = Instant::now();
            }
            for (i, end) in ends {
                waiting -= 1;
                tally.add(end);
                if end == End::Whole {
                    whole.fetch_add(1, Relaxed);
                }
                if self.again || end == End::Whole {
                    idle.push(i);
                }
            }
        }
    }
}
