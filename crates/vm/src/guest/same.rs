//! The table against plain calls: the same operations in two worlds alike
//! have the same results and leave the worlds alike.

use crate::device::Device;
use crate::plain;
use crate::random::Random;
use crate::report::Report;
use crate::world::{
    FILE, FILE_BYTES, FILE_PATH, FILE_WRITE, NONE, PIPE, PIPE_IN, TCP, UNIX, World,
};
use esca_abi::op::{COPY_MAX, F_LINK, F_MORE, Op, OpCode};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// An address that is nobody's.
pub const NOWHERE: u64 = 0x10;
/// One of the kernel's.
const KERNEL: u64 = 0xffff_8880_0000_1000;

/// SIGPIPEs that came.
static PIPES: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_pipe(_: i32) {
    PIPES.fetch_add(1, Relaxed);
}

/// Memory for operations: bytes to send, room to receive, and pieces.
pub struct Memory {
    payload: Vec<u8>,
    room: Vec<u8>,
    pieces: Vec<libc::iovec>,
}

/// Bytes of payload and of room.
const BYTES: usize = 1 << 17;

impl Memory {
    /// Makes it.
    pub fn new() -> Memory {
        let payload = esca_suite::site::noise(9, BYTES);
        let pieces = (0..1025).map(|i| libc::iovec {
            iov_base: payload[i * 7..].as_ptr().cast_mut().cast(),
            iov_len: i % 9,
        });
        Memory {
            pieces: pieces.collect(),
            payload,
            room: vec![0; BYTES],
        }
    }

    fn at(&self, i: usize) -> u64 {
        self.payload[i..].as_ptr() as u64
    }

    fn pieces(&self) -> u64 {
        self.pieces.as_ptr() as u64
    }

    /// The room is the kernel's to write to: never looked at through a
    /// reference while a table runs.
    fn room(&self, i: usize) -> u64 {
        self.room[i..].as_ptr() as u64
    }
}

/// An operation with its usual fields.
pub fn op(code: OpCode, fd: i32, ptr: u64, len: u64) -> Op {
    Op {
        opcode: code as u32,
        fd,
        ptr,
        len,
        ..Op::nop()
    }
}

fn with(op: Op, change: impl FnOnce(&mut Op)) -> Op {
    let mut op = op;
    change(&mut op);
    op
}

/// One side's view of everything.
#[derive(PartialEq)]
struct Seen {
    results: Vec<i64>,
    pipes: u32,
    room: Vec<u8>,
    world: Vec<(Vec<u8>, String)>,
}

/// Runs operations in a world of their own.
fn once(memory: &mut Memory, prepare: &dyn Fn(&mut World), run: impl FnOnce() -> Vec<i64>) -> Seen {
    let mut world = World::new();
    prepare(&mut world);
    memory.room.fill(0);
    PIPES.store(0, Relaxed);
    let results = run();
    Seen {
        results,
        pipes: PIPES.load(Relaxed),
        // What the kernel wrote, read afresh.
        room: std::hint::black_box(&memory.room).clone(),
        world: world.rest(),
    }
}

/// Asserts that both ways give the same. Loopback may deliver late on a
/// machine under load, to either side: what differs is tried again, and counts
/// when it differs every time.
fn compare(device: &Device, memory: &mut Memory, prepare: &dyn Fn(&mut World), ops: &[Op]) {
    for _ in 0..2 {
        let plain = once(memory, prepare, || plain::run_all(ops));
        let table = once(memory, prepare, || device.run_all(ops).0);
        if plain == table {
            return;
        }
    }
    let plain = once(memory, prepare, || plain::run_all(ops));
    let table = once(memory, prepare, || device.run_all(ops).0);
    for (i, op) in ops.iter().enumerate() {
        let (p, t) = (plain.results[i], table.results[i]);
        assert_eq!(
            p,
            t,
            "plain (left) and table (right), entry {i} of {}: {op:?}",
            ops.len()
        );
    }
    assert_eq!(plain.pipes, table.pipes, "SIGPIPEs of {ops:?}");
    assert!(
        plain.room == table.room,
        "other bytes were received: {ops:?}"
    );
    for (p, t) in plain.world.iter().zip(&table.world) {
        assert_eq!(p.1, t.1, "a descriptor's state: {ops:?}");
        esca_suite::assert_same("a peer's bytes", &p.0, &t.0);
    }
    assert!(plain == table, "the worlds differ: {ops:?}");
}

/// Every operation with what can be wrong about it.
fn everything(m: &Memory) -> Vec<Op> {
    use OpCode::{Close, Nop, Pread, Read, Recv, Send, SendFile, SendFileCopy, SendMsg};
    use OpCode::{SetSockOpt, Shutdown, Write, Writev};
    let mut all = vec![op(Nop, -1, 0, 0)];
    let fds = [
        TCP[0],
        UNIX[0],
        FILE,
        FILE_WRITE,
        FILE_PATH,
        PIPE,
        PIPE_IN,
        NONE,
        -1,
        i32::MIN,
    ];
    for fd in fds {
        for (ptr, len) in [
            (m.at(0), 100),
            (m.at(0), 0),
            (0, 0),
            (NOWHERE, 10),
            (NOWHERE, 0),
            (KERNEL, 10),
            (NOWHERE, u64::MAX),
            (NOWHERE, 1 << 63),
        ] {
            all.extend([Send, Write].map(|code| op(code, fd, ptr, len)));
        }
        for arg in [
            libc::MSG_MORE,
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
            libc::MSG_CONFIRM,
        ] {
            all.push(with(op(Send, fd, m.at(7), 33), |o| {
                o.arg = arg.cast_unsigned()
            }));
        }
        for len in [0, 1, 3, 8, 9, 100, 1024, 1025, 1 << 31, u64::MAX] {
            all.extend([SendMsg, Writev].map(|code| op(code, fd, m.pieces(), len)));
        }
        all.extend([SendMsg, Writev].map(|code| op(code, fd, NOWHERE, 2)));
        all.extend([SendMsg, Writev].map(|code| op(code, fd, NOWHERE, 0)));
        all.extend([SendMsg, Writev].map(|code| op(code, fd, KERNEL, 2)));
        for (ptr, len) in [(m.room(0), 10), (m.room(50), 0), (NOWHERE, 5), (KERNEL, 5)] {
            all.extend([Recv, Read, Pread].map(|code| op(code, fd, ptr, len)));
        }
        all.push(with(op(Recv, fd, m.room(90), 20), |o| {
            o.arg = libc::MSG_PEEK as u32
        }));
        all.extend([Recv, Read].map(|code| op(code, fd, m.room(200), 1000)));
        all.extend([Recv, Read].map(|code| op(code, fd, m.room(1300), 10)));
        for off in [0, 5000, FILE_BYTES as u64, 1 << 40, 1 << 63, u64::MAX] {
            all.push(with(op(Pread, fd, m.room(2000), 64), |o| o.off = off));
        }
        for arg2 in [
            libc::TCP_NODELAY,
            libc::TCP_CORK,
            libc::TCP_NOTSENT_LOWAT,
            libc::TCP_QUICKACK,
        ] {
            for value in [0, 1, 1000, u64::MAX] {
                all.push(with(op(SetSockOpt, fd, 0, 4), |o| {
                    (o.arg, o.arg2, o.off) = (libc::SOL_TCP as u32, arg2 as u32, value);
                }));
            }
        }
        for value in [1, 0, 5 << 32 | 1, 0] {
            all.push(with(op(SetSockOpt, fd, 0, 8), |o| {
                let level = libc::SOL_SOCKET as u32;
                (o.arg, o.arg2, o.off) = (level, libc::SO_LINGER as u32, value);
            }));
        }
        all.push(with(op(SetSockOpt, fd, 0, 4), |o| {
            let level = libc::SOL_SOCKET as u32;
            (o.arg, o.arg2, o.off) = (level, libc::SO_KEEPALIVE as u32, 1);
        }));
    }
    for fd in [TCP[1], UNIX[1], NONE] {
        for file in [FILE, FILE_WRITE, FILE_PATH, PIPE_IN, NONE, -1] {
            for off in [0, 100, 8999, 9000, 1 << 40, 1 << 63] {
                for len in [0, 50, 9000, 20_000] {
                    let send = with(op(SendFile, fd, 0, len), |o| (o.fd2, o.off) = (file, off));
                    all.push(send);
                    // All of it together stays below what a socket takes.
                    if len < 100 {
                        all.push(Op {
                            flags: F_MORE,
                            ..send
                        });
                    }
                }
            }
            all.push(with(op(SendFile, fd, 0, 70), |o| {
                (o.fd2, o.arg) = (file, 1)
            }));
            all.push(with(op(SendFile, fd, 0, 1 << 62), |o| {
                (o.fd2, o.arg) = (file, 1)
            }));
            for (off, len) in [
                (0, 100),
                (8990, 100),
                (9000, 10),
                (1 << 63, 5),
                (0, COPY_MAX),
            ] {
                all.push(with(op(SendFileCopy, fd, 0, len), |o| {
                    (o.fd2, o.off) = (file, off)
                }));
            }
        }
    }
    for fd in [TCP[0], UNIX[0], FILE, NONE] {
        all.extend([7, 1, 1, 0, 2].map(|how| with(op(Shutdown, fd, 0, 0), |o| o.arg = how)));
        all.push(op(Send, fd, m.at(0), 5));
        all.push(op(Recv, fd, m.room(5000), 5));
    }
    for fd in [TCP[0], UNIX[0], FILE, FILE_PATH, NONE, -1] {
        all.extend([Close, Close, Send].map(|code| op(code, fd, m.at(0), 5)));
    }
    all.retain(|o| !refused(o));
    all
}

/// What the module refuses although there is a plain call: to send a file to
/// what is no socket.
fn refused(o: &Op) -> bool {
    let to_socket = [TCP[0], TCP[1], UNIX[0], UNIX[1], NONE].contains(&o.fd);
    o.opcode == OpCode::SendFile as u32 && !to_socket
}

/// A peer that is gone: EPIPE with its SIGPIPE, ECONNRESET, the end.
fn gone(m: &Memory) -> Vec<Op> {
    use OpCode::{Recv, Send, SendFile, SendMsg, Write, Writev};
    let mut all = Vec::new();
    for fd in [TCP[0], UNIX[0], TCP[1], UNIX[1], PIPE] {
        for code in [Send, Write, Recv, Send, Recv] {
            all.push(op(code, fd, m.room(0), 70));
        }
        all.extend([SendMsg, Writev].map(|code| op(code, fd, m.pieces(), 9)));
        all.push(with(op(Send, fd, m.at(0), 9), |o| {
            o.arg = libc::MSG_NOSIGNAL as u32
        }));
        if fd != PIPE {
            all.push(with(op(SendFile, fd, 0, 100), |o| o.fd2 = FILE));
        }
        let linked = |o: &mut Op| o.flags = F_LINK;
        all.push(with(op(Write, fd, m.at(0), 9), linked));
        all.push(op(Send, fd, m.at(0), 9));
        all.push(op(Send, FILE, m.at(0), 9));
    }
    all
}

/// More than a UNIX socket and a pipe take (a TCP socket's room depends on
/// the time): short counts and EAGAIN, linked and not.
fn full(m: &Memory, flags: u32) -> Vec<Op> {
    let mut all = Vec::new();
    for i in 0..40 {
        for (fd, code) in [
            (UNIX[0], OpCode::Send),
            (PIPE, OpCode::Write),
            (UNIX[1], OpCode::Writev),
        ] {
            let (ptr, len) = match code {
                OpCode::Writev => (m.pieces(), 1000),
                _ => (m.at(i * 11), 30_000),
            };
            all.push(Op {
                flags,
                ..op(code, fd, ptr, len)
            });
        }
    }
    all
}

/// Random tables of what cannot depend on the time.
fn random(m: &Memory, r: &mut Random) -> Vec<Op> {
    use OpCode::{Close, Nop, Pread, Read, Recv, Send, SendFile, SendFileCopy, SendMsg};
    use OpCode::{SetSockOpt, Shutdown, Write, Writev};
    let codes = [
        Nop,
        Send,
        Send,
        SendMsg,
        Write,
        Writev,
        SendFile,
        SendFileCopy,
        Recv,
        Read,
        Pread,
        Shutdown,
        Close,
        SetSockOpt,
    ];
    let n = 1 + r.below(60);
    let one = |r: &mut Random| {
        let fd = [TCP[0], TCP[1], UNIX[0], UNIX[1], FILE, PIPE, PIPE_IN, NONE][r.below(8) as usize];
        let code = codes[r.below(14) as usize];
        let (ptr, len) = match code {
            SendMsg | Writev => (m.pieces(), r.below(30)),
            Recv | Read | Pread => (m.room(r.below(BYTES as u64 / 2) as usize), r.below(300)),
            _ => (m.at(r.below(BYTES as u64 / 2) as usize), r.below(300)),
        };
        let ptr = if r.below(20) == 0 { NOWHERE } else { ptr };
        let mut o = op(code, fd, ptr, len);
        o.off = r.below(10_000);
        match code {
            SendFile | SendFileCopy => {
                o.fd2 = [FILE, FILE, FILE, PIPE_IN, NONE][r.below(5) as usize]
            }
            Shutdown => o.arg = r.below(4) as u32,
            SetSockOpt => {
                let name = [libc::TCP_NODELAY, libc::TCP_CORK][r.below(2) as usize];
                (o.arg, o.arg2, o.len) = (libc::SOL_TCP as u32, name as u32, 4);
                o.off = r.below(2);
            }
            _ => {}
        }
        if r.below(3) == 0 {
            o.flags |= F_LINK;
        }
        if r.below(4) == 0 && matches!(code, Send | SendMsg | SendFile | SendFileCopy) {
            o.flags |= F_MORE;
        }
        o
    };
    let mut all: Vec<Op> = (0..n).map(|_| one(r)).collect();
    all.retain(|o| !refused(o));
    all.push(Op::nop());
    all
}

/// Runs all; `tables` random ones in each way.
pub fn run(report: &mut Report, tables: u32) {
    // SAFETY: the handler adds to an atomic. No SA_RESTART: as a signal that
    // must be seen.
    unsafe { libc::signal(libc::SIGPIPE, on_pipe as *const () as usize) };
    let all = |report: &mut Report, way: &str| {
        let none: &dyn Fn(&mut World) = &|_| {};
        let case = |report: &mut Report,
                    name: &str,
                    prepare: &dyn Fn(&mut World),
                    make: &mut dyn FnMut(&Memory) -> Vec<Op>,
                    times: u32| {
            report.run(&format!("same: {name}{way}"), || {
                let device = Device::new(4096).expect("a device");
                let mut memory = Memory::new();
                for _ in 0..times {
                    let ops = make(&memory);
                    compare(&device, &mut memory, prepare, &ops);
                }
            });
        };
        case(
            report,
            "every operation, right and wrong",
            none,
            &mut everything,
            1,
        );
        let closed: &dyn Fn(&mut World) = &|w| (0..5).for_each(|i| w.hang_up(i, false));
        case(report, "the peer has closed", closed, &mut gone, 1);
        let reset: &dyn Fn(&mut World) = &|w| (0..4).for_each(|i| w.hang_up(i, true));
        case(report, "the peer has reset", reset, &mut gone, 1);
        case(report, "a full buffer", none, &mut |m| full(m, 0), 1);
        case(
            report,
            "a full buffer, linked",
            none,
            &mut |m| full(m, F_LINK),
            1,
        );
        let mut r = Random::new(1);
        case(
            report,
            "random tables",
            none,
            &mut |m| random(m, &mut r),
            tables,
        );
    };
    all(report, "");
    // A second thread shares the descriptors: the module looks them up in
    // another way.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        let _ = stopped.recv();
    });
    all(report, ", two threads");
    drop(stop);
    other.join().expect("the other thread");
    // SAFETY: back to what Rust programs begin with.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
