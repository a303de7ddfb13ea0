//! Ports for servers that cannot be asked to take a free one.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// A free port on loopback, below the range from which the kernel takes the
/// clients' own: those could take it before the server does.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin at different places.
    let start = u16::try_from(std::process::id() % 199).unwrap_or(0) * 100;
    for _ in 0..20_000 {
        let n = NEXT.fetch_add(1, Relaxed).wrapping_add(start);
        let port = 12_000 + n % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
