//! What operations work on: sockets with their peers, a file, a pipe, always
//! at the same numbers, so that the same table can run in two worlds.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// The first number of a world's descriptors.
pub const BASE: RawFd = 100;
/// Two TCP sockets (and two beyond them in `peers`).
pub const TCP: [RawFd; 2] = [BASE, BASE + 1];
/// Two UNIX stream sockets.
pub const UNIX: [RawFd; 2] = [BASE + 2, BASE + 3];
/// A file of [`FILE_BYTES`], its position at the start.
pub const FILE: RawFd = BASE + 4;
/// A pipe's end to write to.
pub const PIPE: RawFd = BASE + 5;
/// A pipe's end to read from, with some bytes in it.
pub const PIPE_IN: RawFd = BASE + 6;
/// The file, opened to write only.
pub const FILE_WRITE: RawFd = BASE + 7;
/// The file as a path only.
pub const FILE_PATH: RawFd = BASE + 8;
/// A number that is not open.
pub const NONE: RawFd = BASE + 60;
/// The numbers of a world.
pub const NUMBERS: std::ops::Range<RawFd> = BASE..BASE + 9;
/// Bytes in the file.
pub const FILE_BYTES: usize = 9000;
/// Bytes that wait in each stream and in the pipe.
pub const WAITING: usize = 64;

/// A world; its descriptors are closed with it.
pub struct World {
    peers: Vec<OwnedFd>,
    file: File,
}

/// Moves a descriptor to a number.
fn place(fd: OwnedFd, number: RawFd) {
    // SAFETY: the number is the world's own; nobody else uses it.
    let done = unsafe { libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) };
    assert_eq!(done, number, "{}", std::io::Error::last_os_error());
}

fn nonblocking(fd: &impl AsFd) {
    rustix::io::ioctl_fionbio(fd, true).expect("FIONBIO");
}

/// A connected pair of TCP sockets on loopback.
pub fn tcp() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let a = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    let (b, _) = listener.accept().expect("accept");
    a.set_nodelay(true).expect("TCP_NODELAY");
    b.set_nodelay(true).expect("TCP_NODELAY");
    (a.into(), b.into())
}

/// A connected pair of UNIX stream sockets.
pub fn unix() -> (OwnedFd, OwnedFd) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    socketpair(family, kind, SocketFlags::CLOEXEC, None).expect("a pair")
}

impl World {
    /// Makes one.
    pub fn new() -> World {
        let mut peers = Vec::new();
        for (number, make) in [
            (TCP[0], tcp as fn() -> _),
            (TCP[1], tcp),
            (UNIX[0], unix),
            (UNIX[1], unix),
        ] {
            let (ours, theirs) = make();
            nonblocking(&ours);
            nonblocking(&theirs);
            let bytes = esca_suite::site::noise(number.cast_unsigned().into(), WAITING);
            rustix::io::write(&theirs, &bytes).expect("waiting bytes");
            until(&ours, PollFlags::IN);
            place(ours, number);
            peers.push(theirs);
        }
        let file = memfd_create("world", MemfdFlags::CLOEXEC).expect("a file");
        let mut file = File::from(file);
        let content = esca_suite::site::noise(5, FILE_BYTES);
        file.write_all(&content).expect("its content");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let reopen = |flags: i32| {
            let path = std::ffi::CString::new(path.clone()).expect("a path");
            // SAFETY: a path that ends.
            let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            // SAFETY: just opened.
            unsafe { OwnedFd::from_raw_fd(fd) }
        };
        place(reopen(libc::O_RDWR), FILE);
        place(reopen(libc::O_WRONLY), FILE_WRITE);
        place(reopen(libc::O_PATH), FILE_PATH);
        for (number, ours_reads) in [(PIPE, false), (PIPE_IN, true)] {
            let (read, write) = rustix::pipe::pipe().expect("a pipe");
            nonblocking(&read);
            nonblocking(&write);
            rustix::io::write(&write, &content[..WAITING]).expect("waiting bytes");
            let (ours, theirs) = if ours_reads {
                (read, write)
            } else {
                (write, read)
            };
            place(ours, number);
            peers.push(theirs);
        }
        World { peers, file }
    }

    /// Closes a stream's peer, with a reset where the protocol has one.
    pub fn hang_up(&mut self, i: usize, reset: bool) {
        let null = File::open("/dev/null").expect("/dev/null");
        let peer = std::mem::replace(&mut self.peers[i], null.into());
        if reset {
            rustix::net::sockopt::set_socket_linger(&peer, Some(std::time::Duration::ZERO))
                .expect("SO_LINGER");
        }
        drop(peer);
        let number = [TCP[0], TCP[1], UNIX[0], UNIX[1], PIPE][i];
        // SAFETY: one of the world's, still open.
        let ours = unsafe { BorrowedFd::borrow_raw(number) };
        until(&ours, PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
    }

    /// Waits until the peer of a TCP socket has what was sent.
    fn settle(&self, i: usize) {
        let (zero, one) = (0_i32, 1_i32);
        let set = |name: i32, value: &i32| {
            let value = std::ptr::from_ref(value).cast();
            // SAFETY: four bytes are read.
            unsafe { libc::setsockopt(TCP[i], libc::SOL_TCP, name, value, 4) }
        };
        // What MSG_MORE held back goes now.
        if set(libc::TCP_CORK, &zero) < 0 {
            // Closed: the end comes.
            return until(
                &self.peers[i],
                PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR,
            );
        }
        set(libc::TCP_NODELAY, &one);
        let end = Instant::now() + Duration::from_secs(5);
        let mut left = 1_i32;
        while left > 0 && Instant::now() < end {
            // SAFETY: SIOCOUTQ writes an int.
            let done = unsafe { libc::ioctl(TCP[i], libc::TIOCOUTQ, &raw mut left) };
            // SAFETY: open, as the call above found.
            let ours = unsafe { BorrowedFd::borrow_raw(TCP[i]) };
            if done < 0 || ended(&ours) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// What every peer gets and how it ends, what the file holds, and what is
    /// left to read on our side.
    pub fn rest(&self) -> Vec<(Vec<u8>, String)> {
        let set = NUMBERS
            .filter(|&n| n < FILE)
            .map(|n| (Vec::new(), options(n)));
        let mut all: Vec<_> = set.collect();
        (0..TCP.len()).for_each(|i| self.settle(i));
        all.extend(self.peers.iter().map(drain));
        for number in NUMBERS {
            // SAFETY: asks about a number; a closed number gives EBADF.
            let state = unsafe { libc::fcntl(number, libc::F_GETFL) };
            all.push((Vec::new(), format!("{number}: {state:x}")));
            if state >= 0 && number < PIPE_IN {
                // SAFETY: open, as the call above found.
                let fd = unsafe { BorrowedFd::borrow_raw(number) };
                all.push((Vec::new(), format!("{:?}", rustix::fs::tell(fd))));
                if number < FILE {
                    all.push(drain(&fd));
                }
            }
        }
        use std::os::unix::fs::FileExt;
        let mut content = vec![0; 2 * FILE_BYTES];
        let n = self.file.read_at(&mut content, 0).expect("the file");
        content.truncate(n);
        all.push((content, "file".into()));
        all
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for number in NUMBERS {
            // SAFETY: the world's numbers, closed already or not.
            unsafe { libc::close(number) };
        }
    }
}

/// Reads until there is nothing; says why there is nothing.
fn drain(fd: &impl AsFd) -> (Vec<u8>, String) {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return (all, "end".into()),
            Ok(n) => all.extend(&buffer[..n]),
            Err(Errno::INTR) => {}
            Err(e) => return (all, format!("{e:?}")),
        }
    }
}

/// The options that a table may set.
fn options(fd: RawFd) -> String {
    [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::SOL_SOCKET, libc::SO_LINGER),
        (libc::SOL_TCP, libc::TCP_NODELAY),
        (libc::SOL_TCP, libc::TCP_CORK),
        (libc::SOL_TCP, libc::TCP_NOTSENT_LOWAT),
    ]
    .iter()
    .map(|(level, name)| {
        let (mut value, mut len) = ([0_u8; 16], 16_u32);
        // SAFETY: 16 bytes to write to.
        let done =
            unsafe { libc::getsockopt(fd, *level, *name, value.as_mut_ptr().cast(), &raw mut len) };
        format!("{done}{:x?} ", &value[..8])
    })
    .collect()
}

/// Waits for an event; a time's limit leaves it to the comparison to see that
/// it never came.
fn until(fd: &impl AsFd, events: PollFlags) {
    let mut fds = [PollFd::new(fd, events)];
    let limit = Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    let _ = poll(&mut fds, Some(&limit));
}

/// Whether a connection is over, reset or ended on both sides.
fn ended(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}
