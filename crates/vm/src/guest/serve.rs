//! Unmodified servers under `esca run --backend kmod`: what they send, and how
//! often they enter the kernel for it.

use crate::client::Client;
use crate::count::{family, lighttpd, nginx, redis};
use crate::entries::{self, Counts};
use crate::module;
use crate::report::Report;
use esca_abi::stats::Counter;
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::server::Server;
use esca_suite::site::noise;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Connections, each with a request in every round: as many as are served
/// within the delay after which the library lets nothing wait longer.
const CONNECTIONS: u32 = 16;
/// Rounds before the count.
const WARM_UP: u32 = 8;

/// Calls whose answer the program needs, or that others see at once.
const NOT_DEFERRED: [i64; 10] = [
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_preadv2,
    libc::SYS_fstatfs,
    libc::SYS_close,
    libc::SYS_gettimeofday,
];

/// Calls that are made now and then: for memory, or to wake the library's
/// sweeper from its sleep.
const SLACK: u64 = 6;
/// Rounds that are counted.
const ROUNDS: u32 = 20;

/// Runs all.
pub fn run(report: &mut Report) {
    report.run("serve: the device is the group's", module::share);
    // The client and the servers it starts share a processor, so that the
    // client's requests stand in the sockets before the server runs.
    let before = sched_getaffinity(None).expect("the processors");
    let mut one = CpuSet::new();
    one.set(0);
    sched_setaffinity(None, &one).expect("one processor");
    for policy in ["batch", "coalesce"] {
        all(report, policy);
    }
    sched_setaffinity(None, &before).expect("the processors");
}

fn all(report: &mut Report, policy: &'static str) {
    let mode = Mode::Run(policy, "kmod");
    for kib in [1, 20, 100] {
        let body = noise(1, kib << 10);
        report.test(&format!("serve: nginx, {kib} KiB, {policy}"), |report| {
            let site = Dir::new();
            site.write("page", &body);
            let nginx = nginx(mode, &site);
            let request = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let seen = measure(&nginx, request, &body);
            nginx.assert_aggregated();
            seen.tell(report);
            // Longer files go by sendfile, which is not deferred.
            if policy == "batch" && kib == 1 {
                seen.assert_gathered();
            }
        });
    }
    let body = noise(1, 1 << 10);
    report.test(&format!("serve: lighttpd, 1 KiB, {policy}"), |report| {
        let site = Dir::new();
        site.write("page.html", &body);
        let server = lighttpd(mode, &site);
        let request = b"GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let seen = measure(&server, request, &body);
        server.assert_aggregated();
        seen.tell(report);
        if policy == "batch" {
            seen.assert_gathered();
        }
    });
    report.test(&format!("serve: Redis, 1 KiB, {policy}"), |report| {
        let dir = Dir::new();
        let server = redis(mode, &dir);
        esca_suite::resp::Resp::new(server.port).ask(&[b"SET", b"k", &body]);
        let request = esca_suite::resp::command(&[b"GET", b"k"]);
        let seen = measure(&server, &request, &body);
        seen.tell(report);
        // It writes an answer in one piece: nothing to coalesce.
        if policy == "batch" {
            server.assert_aggregated();
            seen.assert_gathered();
        }
    });
}

/// What was counted in some rounds.
struct Seen {
    requests: u64,
    /// Of the thread that serves.
    calls: Counts,
    /// Of the library's sweeper, and Redis's own threads.
    others: u64,
}

fn measure(server: &Server, request: &[u8], body: &[u8]) -> Seen {
    let mut client = Client::new(server.port, CONNECTIONS, request, body);
    (0..WARM_UP).for_each(|_| client.round());
    // nginx's worker: only now is it sure to be there.
    let pid = server.pid().as_raw_nonzero().get().cast_unsigned();
    let pid = family(pid).pop().expect("a process");
    let counting = entries::count(pid);
    (0..ROUNDS).for_each(|_| client.round());
    let (calls, others) = counting.end();
    let stats = server.stats.as_ref().expect("statistics");
    assert_eq!(stats.backend(), "kmod");
    stats.assert_active();
    assert_eq!(stats.get(Counter::AsyncErrors), 0, "{}", stats.describe());
    Seen {
        requests: u64::from(CONNECTIONS * ROUNDS),
        calls,
        others,
    }
}

impl Seen {
    fn number(&self, call: i64) -> u64 {
        self.calls.get(&call).copied().unwrap_or(0)
    }

    /// Rounds of events: returns of the wait.
    fn waits(&self) -> u64 {
        self.number(libc::SYS_epoll_wait) + self.number(libc::SYS_epoll_pwait)
    }

    fn tell(&self, report: &mut Report) {
        let n = self.requests as f64;
        let all: u64 = self.calls.values().sum();
        let mut rest = self.calls.clone();
        rest.retain(|call, _| !NOT_DEFERRED.contains(call));
        report.note(format!(
            "{} requests in {} rounds of events: {:.2} kernel entries a request; beside those \
             that cannot be deferred {rest:?}; {} of other threads",
            self.requests,
            self.waits(),
            all as f64 / n,
            self.others
        ));
    }

    /// Asserts that tables were run, one in a round of events: with the wait
    /// two kernel entries, beside the calls that cannot be deferred.
    fn assert_gathered(&self) {
        let calls = &self.calls;
        let (tables, waits) = (self.number(libc::SYS_lseek), self.waits());
        assert!(tables > 0, "no table: {calls:?}");
        let others = calls.iter().filter(|(c, _)| !NOT_DEFERRED.contains(c));
        let entries: u64 = others.map(|(_, times)| times).sum();
        assert!(
            entries <= 2 * waits + SLACK,
            "{entries} in {waits}: {calls:?}"
        );
        // Else that would say little: a round has many requests.
        assert!(10 * waits <= self.requests, "{waits} rounds: {calls:?}");
    }
}
