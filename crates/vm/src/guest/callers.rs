//! Whom the device refuses: processes that did not set it up, and tasks whose
//! system calls are filtered.

use crate::child::fork;
use crate::device::{Device, set_up};
use crate::module;
use crate::rules::{errno, results};
use esca_abi::device::Setup;
use esca_abi::op::Op;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{from_mut, null_mut};

pub fn another_process() {
    let device = Device::new(64).expect("a device");
    device.set(0, Op::nop());
    fork(|| {
        assert_eq!(errno(device.run(1)), libc::EPERM);
        assert_eq!(errno(device.run_by_ioctl(1)), libc::EPERM);
        let raw = device.fd.as_raw_fd();
        assert_eq!(errno(set_up(raw, &mut Setup::new(0))), libc::EPERM);
        let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a mapping that must fail.
        let at = unsafe { libc::mmap(null_mut(), 4096, prot, flags, raw, 0) };
        assert_eq!(at, libc::MAP_FAILED);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
        let mut resident = 0_u8;
        // SAFETY: asks whether the page is mapped; a byte is written.
        let done = unsafe { libc::mincore(device.at(0).cast(), 4096, from_mut(&mut resident)) };
        assert_eq!(done, -1, "the child has the parent's table");
        // Its own works.
        let own = Device::new(64).expect("its own device");
        assert_eq!(results(&own, &[Op::nop()]), [0]);
        std::mem::forget(own);
    })
    .succeeds();
    assert_eq!(results(&device, &[Op::nop()]), [0]);
}

/// A filter that allows everything.
fn under_seccomp() {
    let mut allow = libc::sock_filter {
        code: 6,
        jt: 0,
        jf: 0,
        k: 0x7fff_0000,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut allow,
    };
    // SAFETY: a program of one instruction, read by the kernel.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program), 0);
    }
}

pub fn seccomp() {
    fork(|| {
        let before = Device::new(64).expect("a device");
        assert_eq!(results(&before, &[Op::nop()]), [0]);
        under_seccomp();
        assert_eq!(errno(before.run(1)), libc::EACCES);
        assert_eq!(errno(before.run_by_ioctl(1)), libc::EACCES);
        assert_eq!(errno(Device::new(64)), libc::EACCES);
        std::mem::forget(before);
    })
    .succeeds();
    module::set("allow_seccomp", "1");
    fork(|| {
        under_seccomp();
        let device = Device::new(64).expect("a device");
        assert_eq!(results(&device, &[Op::nop()]), [0]);
        std::mem::forget(device);
    })
    .succeeds();
    module::set("allow_seccomp", "0");
}
