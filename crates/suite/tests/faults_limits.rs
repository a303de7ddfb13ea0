//! Servers that run out of descriptors, of memory, of threads, and whose
//! statistics cannot be written: they go on serving as without ESCA.

use esca_abi::stats::Counter;
use esca_suite::dir::Dir;
use esca_suite::eventually;
use esca_suite::mode::{Mode, modes, policies};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::process::{address_space, workers};
use esca_suite::site::Site;
use esca_suite::swarm::Swarm;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

/// Replies in small pieces through small buffers, from files that are open
/// already: a request needs no descriptor.
const PIECES: &str = "sendfile off; output_buffers 2 8k; postpone_output 0; keepalive_timeout 600; \
                      open_file_cache max=100; open_file_cache_valid 600;";

/// Asks on every connection and takes the replies.
fn served(swarm: &mut Swarm, n: usize) {
    for size in [1024, 20_480, 102_400] {
        (0..n).for_each(|i| assert_eq!(swarm.ask(i, size, &[]), None));
        swarm.whole(n);
    }
}

#[test]
fn descriptors_run_out() {
    let site = Site::new();
    for mode in modes() {
        let conf = Conf {
            main: "worker_rlimit_nofile 300;",
            http: PIECES,
            listen: "sndbuf=8k",
            connections: 2000,
            ..Conf::default()
        };
        let nginx = Nginx::start(mode, site.path(), conf);
        let log = || std::fs::read_to_string(nginx.dir().join("error.log")).expect("the log");
        let mut quick = Swarm::connected(nginx.port, 60, None);
        served(&mut quick, 60);
        // Slow readers, some of whose bytes are kept.
        let mut slow = Swarm::connected(nginx.port, 60, Some(4096));
        let mut late = Swarm::connected(nginx.port, 20, Some(4096));
        (0..60).for_each(|i| assert_eq!(slow.ask(i, 102_400, &[]), None));
        served(&mut quick, 60);
        // More connections than there are numbers for.
        let more = Swarm::connected(nginx.port, 300, None);
        eventually("EMFILE", || {
            log().contains("Too many open files").then_some(())
        });
        served(&mut quick, 60);
        // Those that were there may become slow now.
        (0..20).for_each(|i| assert_eq!(late.ask(i, 102_400, &[]), None));
        served(&mut quick, 60);
        late.whole(20);
        // Room again.
        drop(more);
        let mut fresh = Swarm::connected(nginx.port, 60, None);
        served(&mut fresh, 60);
        slow.whole(60);
        served(&mut slow, 60);
        if let Some(stats) = &nginx.stats {
            // What the buffers have no room for is not promised.
            assert_eq!(stats.get(Counter::ResidueBytes), 0, "residues");
        }
        nginx.assert_aggregated();
    }
}

/// The worker's address space cannot grow any more: its heap has room, but
/// nothing can be mapped.
#[test]
fn memory_runs_out() {
    let site = Site::new();
    for mode in modes() {
        let conf = Conf {
            // As this process, which may limit it for that.
            main: "user root;",
            http: PIECES,
            listen: "sndbuf=8k",
            env: &[("MALLOC_TOP_PAD_", "67108864")],
            ..Conf::default()
        };
        let nginx = Nginx::start(mode, site.path(), conf);
        let worker = workers(nginx.pid(), 1, &[])[0];
        let mut quick = Swarm::connected(nginx.port, 40, None);
        served(&mut quick, 40);
        let deferred = || nginx.stats.as_ref().map(|s| s.get(Counter::Deferred));
        let limit = Rlimit {
            current: Some(address_space(worker)),
            ..getrlimit(Resource::As)
        };
        prlimit(Some(worker), Resource::As, limit).expect("a limit for the worker");
        let before = deferred();
        served(&mut quick, 40);
        assert!(mode == Mode::Plain || deferred() > before, "as before");
        let mut slow = Swarm::connected(nginx.port, 60, Some(4096));
        (0..60).for_each(|i| assert_eq!(slow.ask(i, 102_400, &[]), None));
        served(&mut quick, 40);
        slow.whole(60);
        served(&mut slow, 60);
        let log = std::fs::read_to_string(nginx.dir().join("error.log")).expect("the log");
        assert!(!log.contains("[alert]") && !log.contains("[crit]"), "{log}");
    }
}

/// The worker's user has used up its processes: there is no sweeper, and so
/// nothing stays in custody.
#[test]
fn threads_run_out() {
    let site = Site::new();
    for mode in policies() {
        let conf = Conf {
            // For the worker, which is of another user than the master.
            under: &["prlimit", "--nproc=0"],
            http: "sendfile on;",
            ..Conf::default()
        };
        let nginx = Nginx::start(mode, site.path(), conf);
        let mut swarm = Swarm::connected(nginx.port, 40, None);
        for _ in 0..5 {
            served(&mut swarm, 40);
        }
        if let Some(stats) = &nginx.stats {
            stats.assert_active();
            // The first one found it out.
            assert!(stats.get(Counter::Deferred) <= 1, "{}", stats.describe());
        }
    }
}

/// Files for the statistics that are not there, are no such files, or may
/// not be written.
#[test]
fn statistics_that_cannot_be_kept() {
    let site = Site::new();
    let dir = Dir::new();
    let short = dir.write("short", "x");
    let other = dir.write("other", vec![7; 1 << 20]);
    let none = dir.path().join("none");
    let places = [
        ("ESCA_STATS_SHM", none.join("file")),
        ("ESCA_STATS_SHM", short),
        ("ESCA_STATS_SHM", other),
        ("ESCA_STATS", none.join("file")),
        ("ESCA_STATS", "/proc/version".into()),
        ("ESCA_STATS", dir.path().into()),
    ];
    for mode in policies() {
        for (name, place) in &places {
            let env = [(*name, place.to_str().expect("text"))];
            let conf = Conf {
                http: "sendfile on;",
                env: &env,
                ..Conf::default()
            };
            let mut nginx = Nginx::start(mode, site.path(), conf);
            let mut swarm = Swarm::connected(nginx.port, 10, None);
            served(&mut swarm, 10);
            nginx.process().stop(Signal::QUIT);
        }
    }
}
