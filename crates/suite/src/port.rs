//! Ports for servers that cannot be asked to take a free one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// A free port on loopback that no other test process will get while this one
/// lives, below the range from which the kernel takes the clients' own: those
/// could take it before the server does; and above those of Redis's own suite,
/// which may run beside the tests.
///
/// That a port can be bound now is not enough: two tests that find the same
/// one free would start two servers, of which one fails, and then both talk
/// to the other.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin at different places.
    let start = u16::try_from(std::process::id() % 199).unwrap_or(0) * 100;
    for _ in 0..13_000 {
        let n = NEXT.fetch_add(1, Relaxed).wrapping_add(start);
        let port = 19_000 + n % 13_000;
        if reserve(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Locks a port's file until this process ends; false if another has it.
fn reserve(port: u16) -> bool {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let dir = std::env::temp_dir().join("esca-suite-ports");
    if fs::create_dir(&dir).is_ok() {
        // For every user, as the directory above.
        fs::set_permissions(&dir, Permissions::from_mode(0o1777)).expect("chmod");
    }
    let path = dir.join(port.to_string());
    let open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    // One of another user's counts as taken.
    match open {
        Ok(file) if file.try_lock().is_ok() => {
            HELD.lock().expect("not poisoned").push(file);
            true
        }
        _ => false,
    }
}
