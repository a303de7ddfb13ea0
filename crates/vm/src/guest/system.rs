//! A system from nothing: file systems, loopback, the end.

use rustix::fs::Mode;
use rustix::mount::{MountFlags, mount};
use rustix::system::RebootCommand;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Mounts what programs expect and brings loopback up. A panic here ends the
/// first process, and with it the machine.
pub fn set_up() {
    rustix::process::umask(Mode::from(0o022));
    let none = MountFlags::empty();
    mount("dev", "/dev", "devtmpfs", none, None).expect("devtmpfs");
    mount("proc", "/proc", "proc", none, None).expect("proc");
    mount("sys", "/sys", "sysfs", none, None).expect("sysfs");
    fs::create_dir_all("/dev/shm").expect("/dev/shm");
    for place in ["/dev/shm", "/tmp", "/run"] {
        if fs::read_dir(place).expect(place).next().is_some() {
            // The project stands below it, and so do its tests in the image.
            fs::set_permissions(place, fs::Permissions::from_mode(0o1777)).expect(place);
        } else {
            mount("tmp", place, "tmpfs", none, Some(c"mode=1777")).expect("tmpfs");
        }
    }
    loopback_up();
    // SAFETY: nothing else runs yet that could read the environment.
    unsafe {
        std::env::set_var("PATH", "/usr/bin:/usr/sbin:/bin");
        std::env::set_var("HOME", "/root");
        std::env::set_var("ESCA_LIB", esca_vm::LIBRARY);
    }
}

/// `ip link set lo up`.
fn loopback_up() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: zeroes are an ifreq, which is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    use std::os::fd::AsRawFd;
    // SAFETY: SIOCSIFFLAGS reads the ifreq that is given.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(done, 0, "lo up: {}", std::io::Error::last_os_error());
}

/// Asserts that the kernel's page tables are what its command line asks for:
/// a processor that is not affected says nothing of it elsewhere.
pub fn isolation() {
    let asked = fs::read_to_string("/proc/cmdline").expect("the command line");
    let info = fs::read_to_string("/proc/cpuinfo").expect("the processor");
    let flags = info.lines().find(|l| l.starts_with("flags"));
    let isolated = flags.expect("flags").split_whitespace().any(|f| f == "pti");
    for (word, want) in [("pti=on", true), ("pti=off", false)] {
        let this = asked.split_whitespace().any(|w| w == word);
        assert!(!this || isolated == want, "{word}, but it is {isolated}");
    }
}

/// Ends the machine. Only ACPI can switch it off; QEMU ends at a restart too.
pub fn off() -> ! {
    let _ = std::io::Write::flush(&mut std::io::stdout());
    rustix::fs::sync();
    let how = if fs::exists("/sys/firmware/acpi").unwrap_or(false) {
        RebootCommand::PowerOff
    } else {
        RebootCommand::Restart
    };
    let e = rustix::system::reboot(how);
    panic!("cannot switch off: {e:?}");
}
