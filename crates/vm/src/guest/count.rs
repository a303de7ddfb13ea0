//! Instructions per request of real servers, without ESCA and with it, on a
//! machine whose clocks count instructions.

use crate::client::Client;
use crate::counter;
use crate::report::Report;
use esca_abi::stats::Counter;
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::resp::{Resp, command};
use esca_suite::server::Server;
use esca_suite::site::noise;
use std::process::Command;

const MODES: [(&str, Mode); 3] = [
    ("plain", Mode::Plain),
    ("coalesce", Mode::Esca("coalesce")),
    ("batch", Mode::Esca("batch")),
];

/// Connections, and rounds that are counted.
const LOADS: [(u32, u32); 2] = [(1, 400), (50, 20)];
/// Rounds before those.
const WARM_UP: u32 = 8;

/// Counts every server in every mode.
pub fn run(report: &mut Report) {
    for kib in [1, 20, 100] {
        let body = noise(1, kib << 10);
        for (how, mode) in MODES {
            let what = format!("nginx {kib} KiB");
            report.test(&format!("{what} {how}"), |report| {
                let site = Dir::new();
                site.write("page", &body);
                let nginx = nginx(mode, &site);
                let request = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n";
                measure(report, &what, how, &nginx, request, &body);
            });
        }
    }
    let body = noise(1, 1 << 10);
    for (how, mode) in MODES {
        report.test(&format!("lighttpd 1 KiB {how}"), |report| {
            let site = Dir::new();
            site.write("page.html", &body);
            let server = lighttpd(mode, &site);
            let request = b"GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n";
            measure(report, "lighttpd 1 KiB", how, &server, request, &body);
        });
    }
    let get: [&[u8]; 2] = [b"GET", b"k"];
    let set: [&[u8]; 3] = [b"SET", b"k", &body];
    for (what, words, answer) in [
        ("redis GET 1 KiB", &get[..], &body[..]),
        ("redis SET 1 KiB", &set[..], b"+OK"),
    ] {
        for (how, mode) in MODES {
            report.test(&format!("{what} {how}"), |report| {
                let dir = Dir::new();
                let server = redis(mode, &dir);
                Resp::new(server.port).ask(&set);
                measure(report, what, how, &server, &command(words), answer);
            });
        }
    }
}

/// nginx that serves a directory.
pub fn nginx(mode: Mode, site: &Dir) -> Nginx {
    let conf = Conf {
        http: "sendfile on; keepalive_requests 1000000;",
        ..Conf::default()
    };
    Nginx::start(mode, site.path(), conf)
}

/// lighttpd that serves a directory.
pub fn lighttpd(mode: Mode, site: &Dir) -> Server {
    let port = esca_suite::port::free();
    let text = include_str!("../../../../conf/lighttpd.conf")
        .replace("@ROOT@", &site.path().display().to_string())
        .replace("@PORT@", &port.to_string());
    let conf = site.write("lighttpd.conf", text);
    Server::start(
        mode,
        port,
        Command::new("lighttpd").arg("-D").arg("-f").arg(conf),
    )
}

/// Redis without persistence.
pub fn redis(mode: Mode, dir: &Dir) -> Server {
    let port = esca_suite::port::free();
    let text = include_str!("../../../../conf/redis.conf")
        .replace("@RUN@", &dir.path().display().to_string())
        .replace("@PORT@", &port.to_string());
    let conf = dir.write("redis.conf", text);
    Server::start(mode, port, Command::new("redis-server").arg(conf))
}

/// A process and its children.
pub fn family(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).expect("children");
    let mut all = vec![pid];
    all.extend(
        children
            .split_whitespace()
            .map(|c| c.parse::<u32>().expect("a number")),
    );
    all
}

/// TCP segments sent on this machine so far.
fn segments() -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").expect("counters");
    let mut rows = text.lines().filter(|l| l.starts_with("Tcp:"));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let found = pairs.find(|(name, _)| *name == "OutSegs");
    found.expect("OutSegs").1.parse().expect("a number")
}

fn measure(
    report: &mut Report,
    what: &str,
    how: &str,
    server: &Server,
    request: &[u8],
    body: &[u8],
) {
    let entries = || server.stats.as_ref().map(|s| s.get(Counter::Made));
    for (connections, rounds) in LOADS {
        let mut client = Client::new(server.port, connections, request, body);
        (0..WARM_UP).for_each(|_| client.round());
        // nginx's worker too: only now is it sure to be there.
        let pids = family(server.pid().as_raw_nonzero().get().cast_unsigned());
        let before: u64 = pids.iter().map(|p| counter::of_process(*p)).sum();
        let (sent, made, at) = (segments(), entries(), counter::now());
        (0..rounds).for_each(|_| client.round());
        let (all, sent) = (counter::now() - at, segments() - sent);
        let after: u64 = pids.iter().map(|p| counter::of_process(*p)).sum();
        let n = f64::from(connections * rounds);
        let mut tell = |unit, value: u64| {
            report.figure(what, how, connections, unit, value as f64 / n);
        };
        tell("server's instructions", after - before);
        // With one connection both sides wait at times, and the clock goes on.
        if connections > 1 {
            tell("machine's instructions", all);
        }
        tell("segments", sent);
        if let (Some(before), Some(after)) = (made, entries()) {
            tell("library's kernel entries", after - before);
        }
    }
    if let Some(stats) = &server.stats {
        stats.assert_active();
    }
}
