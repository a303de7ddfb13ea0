//! In steady state the library allocates nothing and makes no system call
//! that the plain program would not have made: in nginx and in lighttpd.
//! (What a call does in-process, lock by lock, is in the engine's hot_path.)

use esca_suite::build::{c_program, run};
use esca_suite::dir::Dir;
use esca_suite::eventually;
use esca_suite::http::Http;
use esca_suite::mode::{Mode, library, policies};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::port;
use esca_suite::process::{children, sleeps};
use esca_suite::server::Server;
use esca_suite::shared::{Shareable, Shared};
use esca_suite::site::Site;
use esca_suite::swarm::Swarm;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Kinds of replies: copied files, sent files, in pieces.
const NGINX: [&str; 3] = [
    "sendfile on; keepalive_requests 100000;",
    "sendfile on; tcp_nopush on; keepalive_requests 100000;",
    "sendfile off; keepalive_requests 100000;",
];

/// What crates/suite/c/malloc_count.c counts.
#[repr(C)]
struct Counts {
    all: AtomicU64,
    library: AtomicU64,
}

// SAFETY: atomics, for which zeroes are a value.
unsafe impl Shareable for Counts {}

#[test]
fn allocates_nothing() {
    let dir = Dir::new();
    let counter = c_program("crates/suite/c/malloc_count.c", &dir, &["-shared", "-fPIC"]);
    let site = Site::new();
    for mode in policies() {
        for (i, http) in NGINX.into_iter().enumerate() {
            let counts = Shared::<Counts>::create(&dir.path().join(format!("{mode:?}{i}")));
            let preload = format!("LD_PRELOAD={}:{}", library().display(), counter.display());
            let file = format!("MALLOC_COUNTS={}", counts.path().display());
            let conf = Conf {
                under: &["env", &preload, &file],
                http,
                ..Conf::default()
            };
            let nginx = Nginx::start(mode, site.path(), conf);
            let mut swarm = Swarm::connected(nginx.port, 8, None);
            let mut rounds = |n| {
                for round in 0..n {
                    let size = [1024, 20_480, 100, 102_400][round % 4];
                    (0..8).for_each(|i| assert_eq!(swarm.ask(i, size, &[]), None));
                    swarm.whole(8);
                }
            };
            rounds(20);
            let now = || (counts.all.load(Relaxed), counts.library.load(Relaxed));
            let before = now();
            assert!(before.1 > 0, "the library's start allocates");
            rounds(100);
            let after = now();
            assert!(after.0 > before.0 + 100, "the program allocates");
            assert_eq!(after.1, before.1, "{mode:?}, {http}: the library allocates");
            nginx.assert_aggregated();
        }
    }
}

type Calls = BTreeMap<String, u64>;

/// Calls that send, and the one that reads a small file in their place:
/// which of them is made may differ, but not how many (docs/semantics.md).
const SENDS: [&str; 6] = [
    "write", "writev", "sendto", "sendmsg", "sendfile", "preadv2",
];
/// Calls that receive, counted as one: see rule `socket-calls`.
const RECEIVES: [&str; 2] = ["read", "recvfrom"];
/// The library wakes its sweeper at the first deferral after an idle time of
/// about 0.2 s: no more often than this.
const WAKES_APART: Duration = Duration::from_millis(150);

/// Requests between the two markers.
const REQUESTS: u64 = 400;

fn traced(log: &str) -> Vec<&str> {
    // Not `-D`: a tracer may always trace what it started.
    vec!["strace", "-f", "-qq", "-e", "signal=none", "-o", log]
}

/// A marker, requests, and the marker again, each when the server waits: one
/// that comes earlier would spare it a wait, or a read that finds nothing.
fn phase(server: &Server) {
    let mut http = Http::new(server.port);
    let mut worker = server.pid();
    while let Some(child) = children(worker).first() {
        worker = *child;
    }
    let mut get = |size: usize| {
        eventually("a wait", || sleeps(worker).then_some(()));
        assert_eq!(http.get(&format!("/{size}")).body.len(), size);
    };
    // The predictor learns, the sweeper is started.
    for n in [10, REQUESTS / 4] {
        for _ in 0..n {
            [1024, 20_480, 100, 102_400].into_iter().for_each(&mut get);
        }
        get(4095);
    }
    get(1024);
}

/// Counts the calls of the thread that read the marker, from one marker to
/// the other.
fn calls(log: &Path) -> Calls {
    let marker = |l: &&str| l.contains("\"GET /4095 ");
    let text = eventually("the trace", || {
        let text = std::fs::read_to_string(log).ok()?;
        (text.lines().filter(marker).count() == 2).then_some(text)
    });
    let mut lines = text.lines().skip_while(|l| !marker(l));
    let first = lines.next().and_then(|l| l.split_once(' '));
    let (thread, _) = first.expect("a thread");
    let mut calls = Calls::new();
    for line in lines.take_while(|l| !marker(l)) {
        let mut words = line.split_whitespace();
        if words.next() != Some(thread) {
            continue;
        }
        if let Some((name, _)) = words.next().and_then(|w| w.split_once('(')) {
            let name = if RECEIVES.contains(&name) {
                RECEIVES[0]
            } else {
                name
            };
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// `took`: how long the run with ESCA was.
fn assert_no_more(what: &str, plain: &Calls, esca: &Calls, took: Duration) {
    println!("{what}:\n  without {plain:?}\n  with    {esca:?}");
    let told = format!("{what}: without {plain:?}, with {esca:?}");
    let sends = |calls: &Calls| -> u64 { SENDS.iter().filter_map(|n| calls.get(*n)).sum() };
    assert!(sends(plain) >= REQUESTS, "{told}");
    // A wake, and one for a lock that the sweeper held.
    let wakes = 2 * (1 + took.as_millis() / WAKES_APART.as_millis()) as u64;
    // What a send buffer has room for is asked by two calls, once for many
    // answers (credit).
    let questions = 2 * (1 + REQUESTS / 50);
    // One for the marker: its own call is seen at its start or at its end. The
    // others for what a server does once in a second.
    let spare = 1 + took.as_secs();
    assert!(sends(esca) <= sends(plain) + 1, "{told}");
    for (name, n) in esca {
        let was = plain.get(name).unwrap_or(&0);
        let most = match name.as_str() {
            "futex" => was + wakes,
            "getsockopt" => was + questions,
            name if SENDS.contains(&name) => continue,
            _ => was + spare,
        };
        assert!(*n <= most, "{name}: {told}");
    }
    let all: u64 = esca
        .iter()
        .filter(|(n, _)| !matches!(n.as_str(), "futex" | "getsockopt"))
        .map(|(_, n)| n)
        .sum();
    assert!(all <= plain.values().sum::<u64>() + spare, "{told}");
}

/// Compares the calls of a server in every mode.
fn no_call_more<S: Deref<Target = Server>>(what: &str, start: impl Fn(Mode, &Site, &[&str]) -> S) {
    // Says why, where tracing is not allowed.
    run(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]));
    let site = Site::new();
    let once = |mode| {
        let logs = Dir::new();
        let log = logs.path().join("trace");
        let server = start(mode, &site, &traced(&log.to_string_lossy()));
        let start = Instant::now();
        phase(&server);
        server.assert_aggregated();
        (calls(&log), start.elapsed())
    };
    let (plain, _) = once(Mode::Plain);
    for mode in policies() {
        let (esca, took) = once(mode);
        assert_no_more(&format!("{what}, {mode:?}"), &plain, &esca, took);
    }
}

#[test]
fn nginx_makes_no_call_more() {
    for http in NGINX {
        no_call_more(http, |mode, site, under| {
            let conf = Conf {
                under,
                http,
                ..Conf::default()
            };
            Nginx::start(mode, site.path(), conf)
        });
    }
}

struct Lighttpd {
    server: Server,
    _dir: Dir,
}

impl Deref for Lighttpd {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.server
    }
}

#[test]
fn lighttpd_makes_no_call_more() {
    for backend in ["sendfile", "writev"] {
        no_call_more(backend, |mode, site, under| {
            let (dir, port) = (Dir::new(), port::free());
            let root = site.path().display();
            let conf = dir.write(
                "lighttpd.conf",
                format!(
                    "server.document-root = \"{root}\"\nserver.port = {port}\n\
                     server.bind = \"127.0.0.1\"\nserver.network-backend = \"{backend}\"\n\
                     server.max-keep-alive-requests = 100000\n\
                     server.stat-cache-engine = \"disable\"\n\
                     mimetype.assign = (\"\" => \"text/plain\")\n"
                ),
            );
            let mut command = Command::new(under[0]);
            command
                .args(&under[1..])
                .args(["lighttpd", "-D", "-f"])
                .arg(conf);
            let server = Server::start(mode, port, &mut command);
            Lighttpd { server, _dir: dir }
        });
    }
}
