//! The device's rules: what it refuses. Whom it refuses stands in callers.rs,
//! when it stops in stops.rs.

use crate::callers;
use crate::device::{Device, open, run, seek as by_seek, set_up};
use crate::module;
use crate::report::Report;
use crate::same::op;
use crate::seek;
use crate::stops;
use crate::world::{tcp, unix};
use esca_abi::device::{MAX_CANCELLED, MAX_ENTRIES, Setup, VERSION};
use esca_abi::op::{F_KNOWN, F_LINK, F_MORE, OPCODES, Op, OpCode};
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

/// The errno of a failure; 0 for none.
pub fn errno<T>(result: io::Result<T>) -> i32 {
    result.err().and_then(|e| e.raw_os_error()).unwrap_or(0)
}

/// What each operation came to.
pub fn results(device: &Device, ops: &[Op]) -> Vec<i64> {
    device.run_all(ops).0
}

/// Bytes to send, and room.
static BYTES: [u8; 64] = [b'x'; 64];

/// A send of eight bytes.
pub fn send(fd: i32) -> Op {
    op(OpCode::Send, fd, BYTES.as_ptr() as u64, 8)
}

/// Runs all.
pub fn run_all(report: &mut Report) {
    report.run("rules: setup", setup);
    report.run("rules: a seek that runs nothing", seek::runs_nothing);
    report.run("rules: mapping", mapping);
    report.run("rules: unknown bits and opcodes are refused", unknown);
    report.run("rules: links cancel their stream only", links);
    report.run(
        "rules: another process is refused",
        callers::another_process,
    );
    report.run("rules: a task under seccomp is refused", callers::seccomp);
    report.run("rules: a table that runs is busy", stops::busy);
    report.run(
        "rules: a signal stops between operations",
        stops::signal_between,
    );
    report.run(
        "rules: a signal ends a blocking operation with EINTR",
        stops::signal_inside,
    );
    report.run(
        "rules: the device can be closed by its own table",
        stops::own_close,
    );
    report.run("rules: killed in the middle", stops::killed);
    report.run("rules: what is not hooked needs leave", unhooked);
}

fn setup() {
    let fd = open().expect("the device");
    let raw = fd.as_raw_fd();
    for way in [run, by_seek] {
        assert_eq!(errno(way(raw, 0)), libc::EBADFD, "RUN before SETUP");
    }
    let mut other = Setup {
        version: VERSION + 1,
        ..Setup::new(8)
    };
    assert_eq!(errno(set_up(raw, &mut other)), libc::EPROTONOSUPPORT);
    assert_eq!(other.version, VERSION, "the kernel tells its version");
    for bad in [
        Setup {
            flags: 1,
            ..Setup::new(8)
        },
        Setup {
            flags: 1 << 31,
            ..Setup::new(8)
        },
        Setup::new(MAX_ENTRIES + 1),
        Setup::new(u32::MAX),
    ] {
        assert_eq!(
            errno(set_up(raw, &mut bad.clone())),
            libc::EINVAL,
            "{bad:?}"
        );
    }
    // SAFETY: the kernel refuses these addresses.
    let done = unsafe { libc::ioctl(raw, u64::from(esca_abi::device::SETUP), 0x10) };
    assert_eq!(
        (done, errno(Err::<(), _>(io::Error::last_os_error()))),
        (-1, libc::EFAULT)
    );
    // SAFETY: an unknown request.
    let done = unsafe { libc::ioctl(raw, 0xEA77_u64, 0) };
    assert_eq!(
        (done, errno(Err::<(), _>(io::Error::last_os_error()))),
        (-1, libc::ENOTTY)
    );

    // A later version's struct, longer: good where the rest is zero.
    let mut longer = [0_u8; 64];
    let request = 3_u64 << 30 | 64 << 16 | 0xEA << 8;
    let ask = Setup::new(64);
    // SAFETY: a Setup is 32 bytes of plain data.
    unsafe { longer.as_mut_ptr().cast::<Setup>().write_unaligned(ask) };
    longer[63] = 1;
    // SAFETY: 64 bytes are there, as the request says.
    let mut ask = || unsafe { libc::ioctl(raw, request, longer.as_mut_ptr()) };
    assert_eq!(ask(), -1);
    assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::E2BIG));
    longer[63] = 0;
    // SAFETY: as above.
    let done = unsafe { libc::ioctl(raw, request, longer.as_mut_ptr()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    assert_eq!(
        errno(set_up(raw, &mut Setup::new(64))),
        libc::EBUSY,
        "SETUP twice"
    );
    for way in [run, by_seek] {
        assert_eq!(
            way(raw, 64).ok(),
            Some(64),
            "zeroes are operations that do nothing"
        );
        assert_eq!(way(raw, 0).ok(), Some(0));
        for n in [65, 1 << 31, 1 << 32, (1 << 32) + 1, u64::MAX] {
            assert_eq!(errno(way(raw, n)), libc::EINVAL, "RUN of {n}");
        }
    }
    let largest = Device::new(MAX_ENTRIES).expect("the largest table");
    assert_eq!(largest.setup.entry_size, 64);
    assert_eq!(largest.setup.op_flags, F_KNOWN);
    assert_eq!(largest.run(MAX_ENTRIES).ok(), Some(MAX_ENTRIES));
}

fn mapping() {
    let map = |fd: i32, len: usize, prot: i32, flags: i32, off: i64| {
        // SAFETY: a new mapping, over nothing else.
        let at = unsafe { libc::mmap(null_mut(), len, prot, flags, fd, off) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: made above.
        unsafe { libc::munmap(at, len) };
        Ok(())
    };
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let fd = open().expect("the device");
    let early = map(fd.as_raw_fd(), 4096, rw, libc::MAP_SHARED, 0);
    assert_eq!(errno(early), libc::EBADFD, "before SETUP");
    let device = Device::new(64).expect("a table");
    let raw = device.fd.as_raw_fd();
    assert_eq!(
        errno(map(raw, 4096, rw, libc::MAP_PRIVATE, 0)),
        libc::EINVAL
    );
    let exec = rw | libc::PROT_EXEC;
    assert_eq!(
        errno(map(raw, 4096, exec, libc::MAP_SHARED, 0)),
        libc::EINVAL
    );
    for (len, off) in [
        (8192, 0),
        (4096, 4096),
        (1 << 30, 0),
        (4096, i64::MAX & !4095),
    ] {
        assert!(
            map(raw, len, rw, libc::MAP_SHARED, off).is_err(),
            "{len} at {off}"
        );
    }
    // SAFETY: the table's page, which is there.
    let done = unsafe { libc::mprotect(device.at(0).cast(), 4096, exec) };
    assert_eq!(done, -1, "a table must not become executable");
    // The table outlives its descriptor.
    let at = device.at(3);
    let copy = Device::new(64).expect("another");
    drop(copy);
    // SAFETY: an entry of a mapped table.
    unsafe { (*at).result = 5 };
    assert_eq!(device.result(3), 5);
}

fn unknown() {
    let device = Device::new(64).expect("a device");
    let (a, b) = unix();
    let fd = a.as_raw_fd();
    let mut ops = Vec::new();
    for bit in 2..32 {
        ops.push(Op {
            flags: 1 << bit,
            ..send(fd)
        });
    }
    ops.push(Op {
        reserved: 1,
        ..send(fd)
    });
    ops.push(Op {
        reserved: 1 << 63,
        ..Op::nop()
    });
    for code in [OpCode::Nop, OpCode::Write, OpCode::Recv, OpCode::Close] {
        ops.push(Op {
            flags: F_MORE,
            ..op(code, fd, 0, 0)
        });
    }
    let einval = vec![-i64::from(libc::EINVAL); ops.len()];
    assert_eq!(results(&device, &ops), einval);
    let codes = [OPCODES, OPCODES + 1, 255, 256, 1 << 16, 1 << 31, u32::MAX];
    let ops: Vec<Op> = codes
        .iter()
        .map(|&opcode| Op { opcode, ..send(fd) })
        .collect();
    let refused = vec![-i64::from(libc::EOPNOTSUPP); ops.len()];
    assert_eq!(results(&device, &ops), refused);
    drop(a);
    assert_eq!(
        rustix::io::read(&b, &mut [0; 8]),
        Ok(0),
        "nothing was sent, nothing closed"
    );
}

fn links() {
    let device = Device::new(256).expect("a device");
    let (a, mut peer) = tcp();
    let (other, _keep) = unix();
    let (fd, other_fd) = (a.as_raw_fd(), other.as_raw_fd());
    let bad = Op {
        flags: F_LINK,
        ptr: 0x10,
        ..send(fd)
    };
    let ops = [
        send(fd),
        bad,
        send(fd),
        send(other_fd),
        Op {
            flags: F_LINK,
            ..send(fd)
        },
        Op::nop(),
    ];
    let cancelled = -i64::from(libc::ECANCELED);
    let want = [8, -i64::from(libc::EFAULT), cancelled, 8, cancelled, 0];
    assert_eq!(results(&device, &ops), want);
    // A new run begins anew.
    assert_eq!(results(&device, &[send(fd)]), [8]);
    drop(a);
    let mut got = Vec::new();
    io::Read::read_to_end(
        &mut std::fs::File::from(std::mem::replace(&mut peer, unix().0)),
        &mut got,
    )
    .expect("the peer's bytes");
    assert_eq!(got, &BYTES[..16]);
    // More streams than a run can remember end the run, with all said.
    let n = MAX_CANCELLED as i32 + 10;
    let many: Vec<Op> = (0..n)
        .map(|i| Op {
            flags: F_LINK,
            ..send(5000 + i)
        })
        .collect();
    let (results, runs) = device.run_all(&many);
    assert_eq!(results, vec![-i64::from(libc::EBADF); many.len()]);
    assert_eq!(runs, 2);
}

fn unhooked() {
    module::set("allow_unhooked", "0");
    let device = Device::new(64).expect("a device");
    let (a, b) = unix();
    let how = Op {
        arg: libc::SHUT_WR as u32,
        ..op(OpCode::Shutdown, a.as_raw_fd(), 0, 0)
    };
    assert_eq!(results(&device, &[how]), [-i64::from(libc::EOPNOTSUPP)]);
    assert_eq!(
        device.setup.opcodes & 1 << OpCode::Shutdown as u32,
        0,
        "SETUP says so"
    );
    module::set("allow_unhooked", "1");
    let device = Device::new(64).expect("a device");
    assert_eq!(device.setup.opcodes, (1 << OPCODES) - 1);
    assert_eq!(results(&device, &[how]), [0]);
    assert_eq!(rustix::io::read(&b, &mut [0; 8]), Ok(0));
}
