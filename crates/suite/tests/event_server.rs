//! The example server in lwan's manner: edge-triggered, several event-loop
//! threads, connections handed from one thread to another.

use esca_abi::stats::Counter;
use esca_suite::assert_same;
use esca_suite::build::{output, package};
use esca_suite::dir::Dir;
use esca_suite::eventually;
use esca_suite::http::{Http, Reply, assert_replies, dial, request};
use esca_suite::mode::{Mode, policies};
use esca_suite::server::Server;
use esca_suite::site::{SIZES, Site, content};
use std::process::Command;

fn start(mode: Mode, site: &Site, threads: &str) -> Server {
    let dir = Dir::new();
    let path = dir.write("port", "");
    let out = std::fs::File::create(&path).expect("a file");
    let mut command = Command::new(output().join("event-server"));
    command.arg(site.path()).args(["0", threads]).stdout(out);
    let mut server = Server::spawn(mode, &mut command);
    server.port = eventually("the server's port", || {
        let line = std::fs::read_to_string(&path).ok()?;
        line.strip_suffix('\n')?.rsplit(':').next()?.parse().ok()
    });
    server
}

fn compare(threads: &str, counter: Counter, session: impl Fn(u16) -> Vec<Reply>) {
    package("event-server");
    let site = Site::new();
    let once = |mode| {
        let server = start(mode, &site, threads);
        let replies = session(server.port);
        server.assert_aggregated();
        if let Some(stats) = &server.stats {
            assert!(stats.get(counter) > 0, "{counter:?} has not risen");
        }
        replies
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        assert_replies(&format!("{mode:?}"), &want, &once(mode));
    }
}

#[test]
fn keep_alive_pipelines_and_slow_readers() {
    compare("3", Counter::Elided, |port| {
        let mut slow = Http::over(dial(port, Some(4096)));
        slow.send(request("GET", "/8388608", &[]).repeat(2))
            .expect("sent");
        let mut all = Vec::new();
        let paths: Vec<String> = SIZES.iter().map(|s| format!("/{s}")).collect();
        // Connections fall on every thread.
        for _ in 0..6 {
            let mut http = Http::new(port);
            for (path, size) in paths.iter().zip(SIZES) {
                let reply = http.get(path);
                assert_same(path, &content(size), &reply.body);
                all.push(reply);
            }
            all.push(http.get("/missing"));
            all.push(http.ask("HEAD", "/20480", &[]).expect("a head"));
            let last = ["Connection: close"];
            all.push(http.ask("GET", "/65536", &last).expect("the last"));
            assert!(http.at_end());
        }
        let mut http = Http::new(port);
        let many: String = paths.iter().map(|p| request("GET", p, &[])).collect();
        http.send(many.repeat(4)).expect("sent");
        all.extend((0..4 * paths.len()).map(|_| http.reply("GET").expect("a reply")));
        for _ in 0..2 {
            let reply = slow.reply("GET").expect("the large file");
            assert_same("the large file", &content(8 << 20), &reply.body);
            all.push(reply);
        }
        all
    });
}

/// Many connections that come and go: numbers are used again at once, by
/// other threads.
#[test]
fn connections_come_and_go() {
    compare("2", Counter::Deferred, |port| {
        let clients = (0..4).map(|i| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                for n in 0..100 {
                    let size = SIZES[(i + n) % 12];
                    let mut http = Http::new(port);
                    let lines: &[&str] = &["Connection: close"];
                    let lines = if n % 2 == 0 { lines } else { &[] };
                    let reply = http
                        .ask("GET", &format!("/{size}"), lines)
                        .expect("a reply");
                    assert_same("a file", &content(size), &reply.body);
                    all.push(reply);
                }
                all
            })
        });
        let clients: Vec<_> = clients.collect();
        let join = |c: std::thread::JoinHandle<Vec<Reply>>| c.join().expect("a client");
        clients.into_iter().flat_map(join).collect()
    });
}
