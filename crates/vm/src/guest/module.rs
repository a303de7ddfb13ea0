//! Loading and unloading the module.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

fn answer(done: libc::c_long) -> io::Result<()> {
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Loads it with parameters.
pub fn load(parameters: &str) {
    let file = File::open(esca_vm::MODULE).expect("the module");
    let text = CString::new(parameters).expect("parameters");
    // SAFETY: a file and a text that ends.
    let done = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), text.as_ptr(), 0) };
    answer(done).expect("the module is loaded");
}

/// Gives the device to the group esca, as the udev rule does: nginx's workers
/// run as nobody, who is in that group.
pub fn share() {
    use std::os::unix::fs::PermissionsExt;
    let group = rustix::fs::Gid::from_raw(990);
    rustix::fs::chown("/dev/esca", None, Some(group)).expect("chown");
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions("/dev/esca", mode).expect("chmod");
}

/// Unloads it, unless somebody uses it.
pub fn unload() -> io::Result<()> {
    // SAFETY: a text that ends.
    answer(unsafe { libc::syscall(libc::SYS_delete_module, c"esca".as_ptr(), libc::O_NONBLOCK) })
}

/// Sets a parameter while it is loaded.
pub fn set(parameter: &str, value: &str) {
    let path = format!("/sys/module/esca/parameters/{parameter}");
    std::fs::write(path, value).expect("a parameter");
}
