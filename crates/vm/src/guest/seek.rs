//! The device has no position: what a seek does that runs no table, and what one
//! that runs a table does to another file.

use crate::child::fork;
use crate::device::{Device, seek};
use crate::world::unix;
use esca_abi::device::RUN_AT;
use esca_abi::op::Op;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::from_mut;

/// A 32-bit call is refused: call 140 of theirs, _llseek.
fn refused_32_bit(device: &Device) {
    let (mut result, mut answer) = (77_i64, 140_isize);
    // SAFETY: the old way into the kernel. The pointer is cut to 32 bits, but
    // nothing is written where the call fails, as asserted.
    unsafe {
        core::arch::asm!(
            "push rbx",
            "mov ebx, {fd:e}",
            "int 0x80",
            "pop rbx",
            fd = in(reg) device.fd.as_raw_fd(),
            inlateout("rax") answer,
            in("rcx") (RUN_AT >> 32) as usize,
            in("rdx") 1,
            in("rsi") from_mut(&mut result),
            in("rdi") libc::SEEK_DATA as usize,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    assert_eq!((answer as i32, result), (-libc::ESPIPE, 77));
}

/// The device has no position, and a run by a seek is none of another file.
pub fn runs_nothing() {
    let device = Device::new(64).expect("a device");
    let fd = device.fd.as_raw_fd();
    let failed = |done: i64| {
        assert_eq!(done, -1);
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    };
    let at = RUN_AT.cast_signed();
    for whence in [
        libc::SEEK_SET,
        libc::SEEK_CUR,
        libc::SEEK_END,
        libc::SEEK_HOLE,
    ] {
        for offset in [0, at, at + 1] {
            // SAFETY: numbers only; so below.
            let done = unsafe { libc::lseek(fd, offset, whence) };
            assert_eq!(failed(done), libc::ESPIPE, "{offset} {whence}");
        }
    }
    for offset in [0, 1, at - 1, -1, i64::MAX, i64::MIN] {
        // SAFETY: see above.
        let done = unsafe { libc::lseek(fd, offset, libc::SEEK_DATA) };
        assert_eq!(failed(done), libc::EINVAL, "{offset}");
    }
    let mut byte = 0_u8;
    // SAFETY: a byte to read into and to write.
    let done = unsafe {
        [
            libc::pread(fd, from_mut(&mut byte).cast(), 1, 0),
            libc::pwrite(fd, from_mut(&mut byte).cast(), 1, 0),
        ]
    };
    assert_eq!(done, [-1, -1]);
    // Where the kernel has such calls at all, as Debian's have.
    if std::fs::exists("/proc/sys/abi/vsyscall32").expect("/proc") {
        fork(|| refused_32_bit(&device)).succeeds();
    }
    device.set(
        0,
        Op {
            result: 77,
            ..Op::nop()
        },
    );
    let file = std::fs::File::open("/etc/passwd").expect("a file");
    let (socket, _peer) = unix();
    for other in [file.as_raw_fd(), socket.as_raw_fd(), 0] {
        assert!(seek(other, 1).is_err());
    }
    assert_eq!(rustix::fs::tell(&file), Ok(0), "its position");
    assert_eq!(device.result(0), 77, "nothing ran");
}
