//! The module's life: loaded and unloaded, in use and not.

use crate::device::{Device, open};
use crate::module::{load, unload};
use crate::report::Report;
use esca_abi::op::Op;
use std::path::Path;

/// Runs all; loads the module so many times.
pub fn run(report: &mut Report, times: u32) {
    report.run(&format!("life: loaded and unloaded {times} times"), || {
        for i in 0..times {
            load("");
            let device = Device::new(64 << (i % 7)).expect("a device");
            assert_eq!(device.run_all(&[Op::nop(), Op::nop()]).0, [0, 0]);
            drop(device);
            unload().expect("unloaded");
            assert!(!Path::new("/sys/module/esca").exists());
            assert!(open().is_err(), "no module, no device");
        }
    });
    report.run("life: not unloaded while in use", || {
        load("");
        let busy = || unload().expect_err("in use").raw_os_error();
        let file = open().expect("the device");
        assert_eq!(busy(), Some(libc::EWOULDBLOCK), "open");
        drop(file);
        let device = Device::new(64).expect("a device");
        assert_eq!(busy(), Some(libc::EWOULDBLOCK), "mapped");
        let at = device.at(0);
        // SAFETY: closes the device's own number; its mapping stays.
        unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&device.fd)) };
        assert_eq!(busy(), Some(libc::EWOULDBLOCK), "mapped, not open");
        // SAFETY: an entry of the mapping, which holds the pages.
        unsafe { at.write_volatile(Op::nop()) };
        device.abandon();
        unload().expect("nobody uses it");
    });
}
