//! Memory under many connections and many slow readers: a worker of nginx
//! needs no more than without ESCA and what custody is bounded by.

use esca_abi::stats::Counter;
use esca_suite::mode::{Mode, modes};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::process::{allow_descriptors, peak_resident, workers};
use esca_suite::scale;
use esca_suite::site::Site;
use esca_suite::swarm::Swarm;

/// What residues of a process may hold together (docs/semantics.md, 3).
const RESIDUES: u64 = 16 << 20;
/// Custody of the worker's one thread.
const CUSTODY: u64 = 256 << 10;
/// The library's code and data, the statistics, the sweeper's stack.
const LIBRARY: u64 = 4 << 20;
/// What is known of a descriptor.
const SLOT: u64 = 64;

/// Runs a session in every mode and compares the worker's most memory.
fn bounded(conf: Conf<'_>, residues: u64, descriptors: usize, session: impl Fn(&Nginx)) {
    let site = Site::new();
    let once = |mode| {
        let nginx = Nginx::start(mode, site.path(), conf);
        session(&nginx);
        nginx.assert_aggregated();
        peak_resident(workers(nginx.pid(), 1, &[])[0])
    };
    let plain = once(Mode::Plain);
    let bound = plain + residues + CUSTODY + LIBRARY + SLOT * descriptors as u64;
    for mode in modes().skip(1) {
        let peak = once(mode);
        println!("{mode:?}: {peak} bytes at most, {plain} without, bound {bound}");
        assert!(peak <= bound, "{mode:?}: {peak} bytes, {plain} without");
    }
}

#[test]
fn many_connections() {
    let n = scale(1000, 10_000);
    allow_descriptors(n + 500);
    let main = format!("worker_rlimit_nofile {};", n + 500);
    let conf = Conf {
        main: &main,
        http: "sendfile on; keepalive_timeout 600;",
        // Below a sixteenth of free ones nginx closes idle ones.
        connections: (n + n / 8) as u32 + 100,
        ..Conf::default()
    };
    bounded(conf, 0, n, |nginx| {
        let mut swarm = Swarm::connected(nginx.port, n, None);
        for size in [1024, 20_480, 100, 1024] {
            (0..n).for_each(|i| assert_eq!(swarm.ask(i, size, &[]), None));
            swarm.whole(n);
        }
        // A tenth of them, the others idle.
        for from in 0..10 {
            let some = (from..n).step_by(10);
            let len = some.len();
            some.for_each(|i| assert_eq!(swarm.ask(i, 1024, &[]), None));
            swarm.whole(len);
        }
        // Half of them go, and others come in their place.
        (0..n).step_by(2).for_each(|i| {
            swarm.close(i);
            assert!(swarm.open(i));
        });
        (0..n).for_each(|i| assert_eq!(swarm.ask(i, 1024, &[]), None));
        swarm.whole(n);
    });
}

/// Readers that take nothing until others had full service. No residue comes of
/// it: what their buffers have no room for is not promised.
fn slow_readers(conf: Conf<'_>) {
    let size = scale(102_400, 1 << 20);
    let n = scale(300, 1500);
    allow_descriptors(n + 500);
    let conf = Conf {
        // Below a sixteenth of free ones nginx closes idle ones.
        connections: (n + n / 8) as u32 + 100,
        ..conf
    };
    bounded(conf, RESIDUES, 3 * n, |nginx| {
        let mut slow = Swarm::connected(nginx.port, n, Some(4096));
        let mut quick = Swarm::connected(nginx.port, 20, None);
        // They come to pass one after the other.
        for i in 0..n {
            assert_eq!(slow.ask(i, size, &[]), None);
            assert_eq!(quick.ask(i % 20, 1024, &[]), None);
            quick.whole(1);
        }
        for size in [100, 1024, 20_480, 102_400] {
            (0..20).for_each(|i| assert_eq!(quick.ask(i, size, &[]), None));
            quick.whole(20);
        }
        if let Some(stats) = &nginx.stats {
            let bytes = stats.get(Counter::ResidueBytes);
            assert_eq!(bytes, 0, "bytes of residues");
        }
        slow.whole(n);
    });
}

#[test]
fn slow_readers_with_sendfile() {
    slow_readers(Conf {
        http: "sendfile on;",
        listen: "sndbuf=8k",
        ..Conf::default()
    });
}

#[test]
fn slow_readers_without_sendfile() {
    slow_readers(Conf {
        http: "sendfile off; output_buffers 2 8k; postpone_output 0;",
        listen: "sndbuf=8k",
        ..Conf::default()
    });
}
