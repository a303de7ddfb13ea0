//! Memory that is short and copies that fault: the first, second, third ...
//! allocation or copy of a call fails, until the call has no more of them. What
//! it says must be true then: an error and nothing done, or bytes that came.

use crate::child::fork;
use crate::device::Device;
use crate::report::Report;
use crate::same::op;
use crate::world::{tcp, unix};
use esca_abi::op::{Op, OpCode};
use esca_suite::site::noise;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size, set_socket_timeout};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// What fails, and that it fails also where the kernel could wait for memory,
/// for single pages too, and without a word in the log.
const KNOBS: [(&str, &str); 6] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
    ("fail_usercopy/verbose", "0"),
];
/// Far more than any of the calls has.
const MOST: u32 = 2000;
/// Errors that say that memory is short, or that a copy faulted.
const SHORT: [i32; 5] = [
    libc::ENOMEM,
    libc::EFAULT,
    libc::ENOBUFS,
    // What does not wait is told to try again.
    libc::EAGAIN,
    // No file structure.
    libc::ENFILE,
];
/// How long bytes that a call said were sent may take: lost segments are sent
/// again by a timer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs all.
pub fn run(report: &mut Report) {
    for (knob, value) in KNOBS {
        fs::write(format!("/sys/kernel/debug/{knob}"), value).expect("a knob");
    }
    let tests: [(&str, fn()); 3] = [
        ("faults: a context is made", contexts),
        ("faults: a table on TCP sockets", || tables(tcp)),
        ("faults: a table on UNIX sockets", || tables(unix)),
    ];
    for (name, test) in tests {
        report.run(name, || fork(test).succeeds());
    }
}

/// This thread's next failure.
struct Failure(File);

impl Failure {
    fn new() -> Failure {
        let path = "/proc/thread-self/fail-nth";
        let file = File::options().read(true).write(true).open(path);
        Failure(file.expect(path))
    }

    /// Lets the `n`th chance to fail from now on be one; true if there were
    /// that many.
    fn strikes(&self, n: u32, call: impl FnOnce()) -> bool {
        self.0.write_at(n.to_string().as_bytes(), 0).expect("armed");
        call();
        let mut left = [0; 16];
        // Its own copies may be the ones that fail.
        let own = self.0.read_at(&mut left, 0).is_err();
        let struck = !own && left[0] == b'0';
        while self.0.write_at(b"0", 0).is_err() {}
        struck
    }

    /// Fails each chance of a call in turn: `call` is told which, and says
    /// whether there was such a one. Gives how many there were.
    fn each(&self, mut call: impl FnMut(u32) -> bool) -> u32 {
        // Without a failure first: pages that the program itself touches on the
        // way are there then.
        call(0);
        let n = (1..MOST).find(|&n| !call(n));
        n.expect("a call without end") - 1
    }
}

fn note(what: &str, chances: u32) {
    let _ = fs::write(
        "/dev/console",
        format!("{what}: {chances} chances to fail\n"),
    );
    assert!(chances > 3, "{what}: nothing failed");
}

fn contexts() {
    let failure = Failure::new();
    let chances = failure.each(|n| {
        let mut made = None;
        let struck = failure.strikes(n, || made = Some(Device::new(4096)));
        match made.expect("an answer") {
            Ok(device) => assert_eq!(device.run_all(&[Op::nop()]).0, [0]),
            Err(e) => {
                assert!(struck, "{e}");
                let errno = e.raw_os_error().expect("a number");
                assert!(SHORT.contains(&errno), "chance {n}: {e}");
            }
        }
        let device = Device::new(4096).expect("a device, with memory");
        assert_eq!(device.run_all(&[Op::nop()]).0, [0]);
        struck
    });
    note("a context", chances);
}

/// Bytes of the largest operation.
const BYTES: usize = 9000;
/// More pieces than the kernel keeps on its stack.
const PIECES: usize = 20;
/// Bytes of a piece.
const PIECE: usize = 15;

fn tables(pair: fn() -> (OwnedFd, OwnedFd)) {
    let failure = Failure::new();
    let payload = noise(3, BYTES);
    let pieces: Vec<_> = payload
        .chunks(PIECE)
        .take(PIECES)
        .map(|piece| libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        })
        .collect();
    let mut file = File::from(memfd_create("file", MemfdFlags::CLOEXEC).expect("a file"));
    file.write_all(&payload).expect("its content");
    let (payload, pieces) = (&payload[..], pieces.as_ptr() as u64);
    let chances = failure.each(|n| {
        let (ours, theirs) = pair();
        rustix::io::write(&theirs, &payload[..64]).expect("bytes to read");
        let extra = ours.try_clone().expect("a second number");
        let (fd, bytes, all) = (ours.as_raw_fd(), payload.as_ptr() as u64, BYTES as u64);
        let mut room = [0_u8; 64];
        let from_file = |code| Op {
            fd2: file.as_raw_fd(),
            ..op(code, fd, 0, all)
        };
        // With what each sends if it is done in full.
        let sending = [
            (op(OpCode::Send, fd, bytes, 100), 100),
            (
                op(OpCode::SendMsg, fd, pieces, PIECES as u64),
                PIECES * PIECE,
            ),
            (op(OpCode::Write, fd, bytes, all), BYTES),
            (
                op(OpCode::Writev, fd, pieces, PIECES as u64),
                PIECES * PIECE,
            ),
            (from_file(OpCode::SendFile), BYTES),
            (from_file(OpCode::SendFileCopy), BYTES),
        ];
        let mut ops: Vec<Op> = sending.iter().map(|(op, _)| *op).collect();
        ops.push(op(OpCode::Read, fd, room.as_mut_ptr() as u64, 64));
        ops.push(op(OpCode::Close, extra.into_raw_fd(), 0, 0));
        let device = Device::new(64).expect("a device");
        for (i, op) in ops.iter().enumerate() {
            device.set(i, *op);
        }
        // What does not wait needs no reason to.
        set_socket_send_buffer_size(&ours, 8 * BYTES).expect("room");
        let mut fds = [PollFd::new(&ours, PollFlags::IN)];
        poll(&mut fds, None).expect("bytes to read");
        rustix::io::ioctl_fionbio(&ours, true).expect("FIONBIO");
        let mut done = None;
        let struck = failure.strikes(n, || done = Some(device.run(ops.len() as u32)));
        let done = done.expect("an answer").expect("a run");
        assert_eq!(done as usize, ops.len(), "chance {n}");
        let results: Vec<i64> = (0..ops.len()).map(|i| device.result(i)).collect();
        // The peer has what the results say, and no more.
        let mut want: Vec<u8> = Vec::new();
        for ((_, whole), result) in sending.iter().zip(&results) {
            if let Ok(sent) = usize::try_from(*result) {
                assert!(sent <= *whole, "chance {n}: {results:?}");
                assert!(sent == *whole || struck, "chance {n}: {results:?}");
                want.extend(&payload[..sent]);
            }
        }
        for result in &results {
            let short = SHORT.iter().any(|e| -i64::from(*e) == *result);
            assert!(*result >= 0 || struck && short, "chance {n}: {results:?}");
        }
        // Not closed: what it has not read would make that a reset.
        rustix::net::shutdown(&ours, Shutdown::Write).expect("shutdown");
        assert_eq!(received(&theirs), want, "chance {n}: {results:?}");
        if results[6] == 64 {
            assert_eq!(std::hint::black_box(&room)[..], payload[..64]);
        }
        struck
    });
    note("a table", chances);
}

/// All until the end; the other side is closed.
fn received(theirs: &OwnedFd) -> Vec<u8> {
    set_socket_timeout(theirs.as_fd(), Timeout::Recv, Some(PATIENCE)).expect("a limit");
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match rustix::io::read(theirs, &mut buffer) {
            Ok(0) => return all,
            Ok(n) => all.extend(&buffer[..n]),
            Err(Errno::INTR) => {}
            Err(e) => panic!("the other side: {e}"),
        }
    }
}
