//! What operations cost, by plain calls and by table, for each batch size. On
//! a machine that counts the unit is an instruction, else a nanosecond.

use crate::counter;
use crate::device::Device;
use crate::report::Report;
use crate::same::op;
use crate::world::unix;
use esca_abi::device::{RUN, RUN_AT};
use esca_abi::op::{Op, OpCode};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use std::hint::black_box;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

/// Batch sizes.
const SIZES: [usize; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
/// Samples that only warm up; both ways take turns.
const WARM_UP: usize = 2;
/// Operations of a sample at least.
const LEAST: usize = 256;
/// Bytes that a send carries, and a sendfile.
const SMALL: usize = 64;
const FILE: usize = 1024;
/// Room for the largest batch.
const ROOM: usize = 8 << 20;

/// One kind of operation.
struct Load {
    name: &'static str,
    op: Op,
    /// Of each.
    result: i64,
    plain: fn(&Op) -> i64,
    /// Where what was sent comes out.
    peer: Option<OwnedFd>,
    /// Descriptors of the operations, where each has its own: numbers that are
    /// opened before each batch.
    numbers: Option<RawFd>,
    /// Held open.
    _keep: Vec<OwnedFd>,
}

/// Measures all; `counted` on a machine that counts.
pub fn run(report: &mut Report, counted: bool) {
    let limit = libc::rlimit {
        rlim_cur: 8192,
        rlim_max: 8192,
    };
    // SAFETY: a limit to read.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(done, 0, "setrlimit");
    let meter = if counted { &INSTRUCTIONS } else { &TIME };
    report.test("bench: parts of an entry", |report| parts(report, meter));
    all(report, meter, "");
    // A second thread shares the descriptors: both ways look them up otherwise.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        let _ = stopped.recv();
    });
    all(report, meter, ", threads");
    drop(stop);
    other.join().expect("the other thread");
}

/// `lseek(fd, RUN_AT + n, SEEK_DATA)`, as the library does.
#[inline(always)]
fn enter(fd: RawFd, n: usize) -> isize {
    let at = (RUN_AT as usize).wrapping_add(n);
    let done = call(libc::SYS_lseek, fd, at, libc::SEEK_DATA as usize);
    // An error is far below.
    done.wrapping_sub(RUN_AT as isize)
}

/// A call with three numbers, made in place, as the library does.
#[inline(always)]
fn call(number: libc::c_long, fd: RawFd, second: usize, third: usize) -> isize {
    let done;
    // SAFETY: calls of the device without a pointer; the addresses in the table
    // are valid.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => done,
            in("rdi") fd,
            in("rsi") second,
            in("rdx") third,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    done
}

/// What a kernel entry by the device consists of.
fn parts(report: &mut Report, meter: &Meter) {
    let device = Device::new(64).expect("a device");
    let fd = device.fd.as_raw_fd();
    let mut tell = |name: &str, call: &mut dyn FnMut()| {
        let mut samples: Vec<f64> = (0..meter.samples + WARM_UP)
            .map(|_| {
                let at = (meter.now)();
                (0..LEAST).for_each(|_| call());
                ((meter.now)() - at) as f64 / LEAST as f64
            })
            .skip(WARM_UP)
            .collect();
        report.measured(name, "part", 1, meter.unit, (meter.pick)(&mut samples));
    };
    tell("the cheapest system call", &mut || {
        // SAFETY: no arguments.
        black_box(unsafe { libc::getppid() });
    });
    tell("an ioctl that the module refuses at once", &mut || {
        assert_eq!(call(libc::SYS_ioctl, fd, 0, 0), -(libc::ENOTTY as isize));
    });
    tell("a run of an empty table by ioctl", &mut || {
        assert_eq!(call(libc::SYS_ioctl, fd, RUN as usize, 0), 0);
    });
    tell("a seek that the module refuses at once", &mut || {
        assert_eq!(call(libc::SYS_lseek, fd, 0, 0), -(libc::ESPIPE as isize));
    });
    tell("a run of an empty table by a seek", &mut || {
        assert_eq!(enter(fd, 0), 0);
    });
}

/// What is measured with, and which of some samples counts.
struct Meter {
    unit: &'static str,
    now: fn() -> u64,
    samples: usize,
    /// The figure, and its spread.
    pick: fn(&mut [f64]) -> Picked,
}

type Picked = (f64, Option<f64>);

/// The least of the samples: an allocator that happens to give back and take
/// anew a group of pages for every packet has 16 KiB zeroed for it, which
/// counts as 16,000 instructions and has nothing to do with the call.
const INSTRUCTIONS: Meter = Meter {
    unit: "instructions",
    now: counter::now,
    samples: 9,
    pick: |samples| (samples.iter().copied().fold(f64::INFINITY, f64::min), None),
};

/// The median, and half the way between the quartiles.
const TIME: Meter = Meter {
    unit: "ns",
    now: nanoseconds,
    samples: 21,
    pick: |samples| {
        samples.sort_by(f64::total_cmp);
        let [low, middle, high] = [1, 2, 3].map(|n| samples[(samples.len() - 1) * n / 4]);
        (middle, Some((high - low) / 2.0))
    },
};

fn nanoseconds() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).expect("a time")
}

fn all(report: &mut Report, meter: &Meter, variant: &str) {
    for load in loads() {
        report.test(&format!("bench: {}{variant}", load.name), |report| {
            let device = Device::new(1024).expect("a device");
            for n in SIZES {
                let (plain, table) = load.measure(&device, n, meter);
                let mut tell = |how: &str, value| {
                    report.measured(
                        load.name,
                        &format!("{how}{variant}"),
                        n as u32,
                        meter.unit,
                        value,
                    );
                };
                tell("plain", plain);
                tell("table", table);
            }
        });
    }
}

static BYTES: [u8; SMALL] = [b'x'; SMALL];

/// A connected pair of TCP sockets with room for everything.
fn roomy_tcp() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    set_socket_recv_buffer_size_force(&listener, ROOM).expect("SO_RCVBUFFORCE");
    let a = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    let (b, _) = listener.accept().expect("accept");
    a.set_nodelay(true).expect("TCP_NODELAY");
    set_socket_send_buffer_size_force(&a, ROOM).expect("SO_SNDBUFFORCE");
    a.set_nonblocking(true).expect("FIONBIO");
    (a.into(), b.into())
}

fn roomy_unix() -> (OwnedFd, OwnedFd) {
    let (a, b) = unix();
    set_socket_send_buffer_size_force(&a, ROOM).expect("SO_SNDBUFFORCE");
    rustix::io::ioctl_fionbio(&a, true).expect("FIONBIO");
    (a, b)
}

fn loads() -> Vec<Load> {
    let send = |name, (ours, theirs): (OwnedFd, OwnedFd)| Load {
        name,
        op: op(
            OpCode::Send,
            ours.as_raw_fd(),
            BYTES.as_ptr() as u64,
            SMALL as u64,
        ),
        result: SMALL as i64,
        // SAFETY: bytes that are there.
        plain: |o| unsafe { libc::send(o.fd, o.ptr as *const _, o.len as usize, 0) as i64 },
        peer: Some(theirs),
        numbers: None,
        _keep: vec![ours],
    };
    let file = |name, code| {
        let (ours, theirs) = roomy_tcp();
        let file = memfd_create("bench", MemfdFlags::CLOEXEC).expect("a file");
        rustix::io::write(&file, &[7; FILE]).expect("its content");
        Load {
            name,
            op: Op {
                fd2: file.as_raw_fd(),
                ..op(code, ours.as_raw_fd(), 0, FILE as u64)
            },
            result: FILE as i64,
            // SAFETY: an offset to read and write.
            plain: |o| unsafe {
                let mut off = 0;
                libc::sendfile(o.fd, o.fd2, &raw mut off, o.len as usize) as i64
            },
            peer: Some(theirs),
            numbers: None,
            _keep: vec![ours, file],
        }
    };
    vec![
        Load {
            name: "nop",
            op: Op::nop(),
            result: 0,
            // The cheapest call there is.
            // SAFETY: no arguments.
            plain: |_| i64::from(unsafe { libc::getppid() }),
            peer: None,
            numbers: None,
            _keep: Vec::new(),
        },
        send("send 64 B, TCP", roomy_tcp()),
        send("send 64 B, UNIX", roomy_unix()),
        Load {
            name: "close",
            op: op(OpCode::Close, 0, 0, 0),
            result: 0,
            // SAFETY: a number of this test's own.
            plain: |o| i64::from(unsafe { libc::close(o.fd) }),
            peer: None,
            numbers: Some(1000),
            _keep: Vec::new(),
        },
        file("sendfile 1 KiB", OpCode::SendFile),
        file("sendfile 1 KiB by copy", OpCode::SendFileCopy),
    ]
}

impl Load {
    /// The cost of an operation by plain calls and by table.
    fn measure(&self, device: &Device, n: usize, meter: &Meter) -> (Picked, Picked) {
        let mut ops = vec![self.op; n];
        if let Some(first) = self.numbers {
            let numbered = ops.iter_mut().zip(first..);
            numbered.for_each(|(op, number)| op.fd = number);
        }
        let mut plain = || {
            for o in black_box(&ops[..]) {
                let result = (self.plain)(o);
                // A parent's number is 0 here: the first process has none.
                assert_eq!(result, self.result);
            }
        };
        let (fd, entries) = (device.fd.as_raw_fd(), device.at(0));
        assert!(n <= device.setup.entries as usize);
        let mut table = || {
            for (i, o) in black_box(&ops[..]).iter().enumerate() {
                // SAFETY: an entry of the table, as asserted.
                unsafe { entries.add(i).write(*o) };
            }
            assert_eq!(enter(fd, n), n as isize);
            for i in 0..n {
                // SAFETY: as above.
                let result = unsafe { (*entries.add(i)).result };
                assert_eq!(result, self.result);
            }
        };
        let (mut plains, mut tables) = (Vec::new(), Vec::new());
        for i in 0..meter.samples + WARM_UP {
            let sample = [
                self.sample(n, meter, &mut plain),
                self.sample(n, meter, &mut table),
            ];
            if i >= WARM_UP {
                plains.push(sample[0]);
                tables.push(sample[1]);
            }
        }
        ((meter.pick)(&mut plains), (meter.pick)(&mut tables))
    }

    /// One sample of one way, for an operation.
    fn sample(&self, n: usize, meter: &Meter, batch: &mut dyn FnMut()) -> f64 {
        let times = (LEAST / n).max(1);
        let mut all = 0;
        for _ in 0..times {
            self.prepare(n);
            let at = (meter.now)();
            batch();
            all += (meter.now)() - at;
            self.drain(n);
        }
        all as f64 / (times * n) as f64
    }

    fn prepare(&self, n: usize) {
        for number in self.numbers.iter().flat_map(|&f| f..f + n as RawFd) {
            // SAFETY: a number of this test's own; 0 is open.
            assert_eq!(unsafe { libc::dup2(0, number) }, number);
        }
    }

    fn drain(&self, n: usize) {
        let Some(peer) = &self.peer else { return };
        let mut left = n * usize::try_from(self.result).expect("bytes");
        let mut buffer = vec![0; left.min(1 << 16)];
        while left > 0 {
            let got = rustix::io::read(peer.as_fd(), &mut buffer).expect("what was sent");
            assert!(got > 0, "the end, {left} bytes before it");
            left -= got;
        }
    }
}
