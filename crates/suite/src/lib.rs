//! The harness of the suite: servers started without ESCA and under it, small
//! clients, and comparison of what they saw. The tests are in `tests/`.

pub mod board;
pub mod build;
pub mod calls;
pub mod dir;
pub mod http;
pub mod lighttpd;
pub mod mode;
pub mod nginx;
pub mod port;
pub mod process;
pub mod resp;
pub mod scenario;
pub mod server;
pub mod shared;
pub mod site;
pub mod socket_memory;
pub mod stack;
pub mod swarm;

use std::time::{Duration, Instant};

/// How long anything may take before it counts as lost. Nothing is measured
/// with it: a machine under load, or an emulated one, must not fail a test.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A number for `make test`, and a larger one for `make stress`
/// (`ESCA_STRESS` is set).
#[must_use]
pub fn scale(small: usize, large: usize) -> usize {
    if std::env::var_os("ESCA_STRESS").is_some() {
        large
    } else {
        small
    }
}

/// Asks `probe` until it has an answer.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < end, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts that two byte strings are the same and says where they part.
pub fn assert_same(what: &str, want: &[u8], got: &[u8]) {
    if want == got {
        return;
    }
    let at = want.iter().zip(got).take_while(|(a, b)| a == b).count();
    let part = |all: &[u8]| {
        String::from_utf8_lossy(&all[at..all.len().min(at + 200)])
            .escape_debug()
            .to_string()
    };
    panic!(
        "{what}: {} bytes wanted, {} came; they part at {at}:\n  want {}\n  got  {}",
        want.len(),
        got.len(),
        part(want),
        part(got),
    );
}
