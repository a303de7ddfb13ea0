//! A program's view of an engine: calls that go the way the preload library
//! takes them, on real TCP sockets.
#![allow(dead_code, missing_docs)]

use esca_abi::stats::{Counter, Table};
use esca_engine::segment::WaitKind;
use esca_engine::settings::{Policy, RuleSet, Settings};
use esca_engine::{Bytes, Engine, OpKind, Segment, Verdict, WriteCall};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::time::{Duration, Instant};

pub struct World {
    pub engine: &'static Engine,
    pub table: &'static Table,
}

/// One thread's hands.
pub struct Hands {
    pub engine: &'static Engine,
    pub seg: &'static Segment,
}

pub fn world(policy: Policy) -> World {
    world_with(policy, RuleSet::all())
}

/// Its bytes stay in custody until something hands them over.
pub fn world_with(policy: Policy, rules: RuleSet) -> World {
    world_on(policy, rules, Engine::without_age)
}

/// Its bytes stay in custody for the time that the contract allows.
pub fn aging(policy: Policy) -> World {
    world_on(policy, RuleSet::all(), |engine| engine)
}

/// A world whose engine `change` altered before anything used it.
pub fn world_on(policy: Policy, rules: RuleSet, change: impl FnOnce(Engine) -> Engine) -> World {
    let table: &'static Table = Box::leak(Box::new(Table::new()));
    let settings = Settings {
        policy,
        rules,
        ..Settings::default()
    };
    let engine = change(Engine::new(settings, 4096, table).unwrap());
    World {
        engine: Box::leak(Box::new(engine)),
        table,
    }
}

impl World {
    pub fn hands(&self) -> Hands {
        Hands {
            engine: self.engine,
            seg: self.engine.enter_thread().unwrap(),
        }
    }

    /// A thread, and a stream that takes what the kernel's default allows.
    pub fn stream(&self) -> (Hands, RawFd, TcpStream) {
        let (fd, peer) = self.pair(None);
        (self.hands(), fd, peer)
    }

    /// The same with two streams.
    pub fn two_streams(&self) -> (Hands, (RawFd, TcpStream), (RawFd, TcpStream)) {
        (self.hands(), self.pair(None), self.pair(None))
    }

    pub fn count(&self, c: Counter) -> u64 {
        self.table.total(c)
    }

    /// A connected pair: the server's descriptor, known to the engine as a
    /// non-blocking accepted socket, and the peer. `buffer` bounds the
    /// kernel's send buffer.
    pub fn pair(&self, buffer: Option<usize>) -> (RawFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Some(n) = buffer {
            set_int(listener.as_raw_fd(), libc::SO_SNDBUF, n as i32);
            set_int(listener.as_raw_fd(), libc::SO_RCVBUF, n as i32);
        }
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let fd = server.into_raw_fd();
        self.engine
            .accepted(listener.as_raw_fd(), fd, libc::SOCK_NONBLOCK);
        // As a server would, in its epoll set.
        let event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        self.engine.registered(-1, fd, event);
        (fd, peer)
    }
}

fn set_int(fd: RawFd, name: i32, v: i32) {
    // SAFETY: a local int.
    unsafe {
        let p = (&raw const v).cast();
        assert_eq!(libc::setsockopt(fd, libc::SOL_SOCKET, name, p, 4), 0);
    }
}

type Answer = Result<usize, i32>;

fn plain(n: isize) -> Answer {
    usize::try_from(n).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap())
}

impl Hands {
    fn send_call(&self, fd: RawFd, bytes: &[u8], flags: i32, kind: OpKind) -> Answer {
        let call = WriteCall {
            fd,
            kind,
            flags,
            bytes: Bytes::One(bytes.as_ptr(), bytes.len()),
        };
        // SAFETY: the bytes are a live slice.
        match unsafe { self.engine.write(self.seg, &call) } {
            Verdict::Ret(n) => Ok(n as usize),
            Verdict::Err(e) => Err(e),
            _ => {
                let flags = flags | libc::MSG_NOSIGNAL;
                // SAFETY: as above.
                let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
                let r = plain(n);
                self.engine.after_write(self.seg, fd, kind, flags, n);
                r
            }
        }
    }

    pub fn write(&self, fd: RawFd, bytes: &[u8]) -> Answer {
        self.send_call(fd, bytes, 0, OpKind::Write)
    }

    /// A write that says more follows, so it is kept without being learnt.
    pub fn more(&self, fd: RawFd, bytes: &[u8]) -> Answer {
        self.send_call(fd, bytes, libc::MSG_MORE, OpKind::Send)
    }

    /// A write with MSG_NOSIGNAL.
    pub fn send(&self, fd: RawFd, bytes: &[u8]) -> Answer {
        self.send_call(fd, bytes, libc::MSG_NOSIGNAL, OpKind::Send)
    }

    pub fn sendfile(&self, fd: RawFd, file: RawFd, at: Option<&mut i64>, n: usize) -> Answer {
        let at = at.map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: null or a live offset.
        let v = unsafe { self.engine.sendfile(self.seg, fd, file, at, n) };
        match v {
            Verdict::Ret(n) => Ok(n as usize),
            Verdict::Err(e) => Err(e),
            _ => {
                // SAFETY: as above.
                let n = unsafe { libc::sendfile(fd, file, at, n) };
                let r = plain(n);
                let held = v == Verdict::PassHeld;
                self.engine.after_sendfile(self.seg, fd, held, n);
                r
            }
        }
    }

    pub fn read(&self, fd: RawFd, room: &mut [u8]) -> Answer {
        if let Verdict::Err(e) = self.engine.before_read(self.seg, fd, room.len(), 0) {
            return Err(e);
        }
        // SAFETY: a live slice.
        let n = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), 0) };
        let r = plain(n);
        let errno = r.err().unwrap_or(0);
        match self
            .engine
            .after_read(self.seg, fd, room.len(), 0, n, errno)
        {
            Some(e) => Err(e),
            None => r,
        }
    }

    /// A wait: the segment ends, `events` descriptors are reported.
    pub fn wait(&self, events: u32) {
        self.engine.before_wait(self.seg, WaitKind::Level);
        self.engine.after_wait(self.seg, events);
    }

    pub fn close(&self, fd: RawFd) {
        self.engine.close(self.seg, fd);
        // SAFETY: the test's own descriptor.
        assert_eq!(unsafe { libc::close(fd) }, 0);
    }

    pub fn shutdown(&self, fd: RawFd, how: i32) -> Answer {
        match self.engine.shutdown(self.seg, fd, how) {
            Verdict::Ret(n) => Ok(n as usize),
            Verdict::Err(e) => Err(e),
            // SAFETY: numbers.
            _ => plain(unsafe { libc::shutdown(fd, how) } as isize),
        }
    }

    pub fn dup(&self, fd: RawFd) -> RawFd {
        self.engine.before_dup(self.seg, fd);
        // SAFETY: a number.
        let new = unsafe { libc::dup(fd) };
        self.engine.duplicated(fd, new);
        new
    }

    pub fn tcp_option(&self, fd: RawFd, name: i32, v: i32) -> Answer {
        self.set_option(fd, libc::IPPROTO_TCP, name, v, &v)
    }

    pub fn socket_option(&self, fd: RawFd, name: i32, v: &libc::linger) -> Answer {
        self.set_option(fd, libc::SOL_SOCKET, name, v.l_onoff, v)
    }

    fn set_option<T>(&self, fd: RawFd, level: i32, name: i32, first: i32, v: &T) -> Answer {
        match self
            .engine
            .setsockopt(self.seg, fd, level, name, || Some(first))
        {
            Verdict::Ret(n) => Ok(n as usize),
            Verdict::Err(e) => Err(e),
            _ => {
                let (at, len) = (std::ptr::from_ref(v).cast(), size_of::<T>() as u32);
                // SAFETY: a live value of that size.
                let n = unsafe { libc::setsockopt(fd, level, name, at, len) };
                self.engine
                    .after_setsockopt(fd, level, name, || Some(first));
                plain(n as isize)
            }
        }
    }

    pub fn get_option(&self, fd: RawFd, level: i32, name: i32) -> i32 {
        self.engine.before_getsockopt(self.seg, fd);
        let told = kernel_option(fd, level, name);
        self.engine
            .after_getsockopt(fd, level, name, told)
            .unwrap_or(told)
    }

    /// Teaches the predictor that writes are followed by more.
    pub fn learn(&self, fd: RawFd, peer: &mut TcpStream) {
        for _ in 0..2 {
            self.write(fd, b"a").unwrap();
            self.write(fd, b"b").unwrap();
            self.wait(1);
            expect(peer, b"ab");
        }
    }
}

/// An open file without a name that holds these bytes.
pub fn file(bytes: &[u8]) -> std::fs::File {
    let path = std::env::temp_dir().join(format!(
        "esca-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::File::create(&path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
    let f = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    f
}

/// What the kernel says of an option.
pub fn kernel_option(fd: RawFd, level: i32, name: i32) -> i32 {
    let (mut v, mut len) = (0i32, 4u32);
    // SAFETY: local ints.
    let r = unsafe { libc::getsockopt(fd, level, name, (&raw mut v).cast(), &raw mut len) };
    assert_eq!(r, 0);
    v
}

/// The peer gets exactly these bytes next.
pub fn expect(peer: &mut TcpStream, bytes: &[u8]) {
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut got = vec![0; bytes.len()];
    peer.read_exact(&mut got).unwrap();
    assert!(got == bytes, "other bytes than expected");
}

/// The peer sees the end of the stream next.
pub fn expect_end(peer: &mut TcpStream) {
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

/// Nothing has arrived at the peer.
pub fn expect_nothing(peer: &TcpStream) {
    peer.set_nonblocking(true).unwrap();
    let e = peer.peek(&mut [0; 1]).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
    peer.set_nonblocking(false).unwrap();
}

/// Bytes that show where they belong.
pub fn pattern(n: usize, seed: u8) -> Vec<u8> {
    (0..n).map(|i| (i / 251 + i % 251) as u8 ^ seed).collect()
}

/// Looks until `f` holds or 20 seconds are over.
pub fn until(mut f: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !f() {
        assert!(Instant::now() < end, "it did not happen");
        std::thread::yield_now();
    }
}
