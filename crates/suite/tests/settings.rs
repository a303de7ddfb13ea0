//! Settings and statistics on a real server: each rule off by name, the files
//! that the statistics go to.

use esca_abi::stats::{ALL, NAMES};
use esca_suite::dir::Dir;
use esca_suite::http::Http;
use esca_suite::mode::Mode;
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::server::Server;
use esca_suite::site::{Site, content};
use esca_suite::{assert_same, build, eventually, port};
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;

const ESCA: Mode = Mode::Esca("coalesce");

/// Fetches small and large files, each twice in one connection.
fn fetch(port: u16) {
    let mut http = Http::new(port);
    for size in [1024, 16_384, 65_536, 1024] {
        let reply = http.get(&format!("/{size}"));
        assert_same("a file", &content(size), &reply.body);
    }
}

#[test]
fn each_rule_can_be_switched_off_by_name() {
    let site = Site::new();
    let rules = || ALL.iter().zip(NAMES).filter(|(_, (g, _))| *g == "rules");
    // Without the rule for it the kernel corks, and nothing is kept: files in
    // /plain/ are sent without corking.
    let plain = format!(
        "location /plain/ {{ tcp_nopush off; alias {}/; }}",
        site.path().display()
    );
    for (counter, (_, name)) in rules() {
        let off = format!("-{name}");
        let env = [("ESCA_RULES", off.as_str())];
        let conf = Conf {
            http: "sendfile on; tcp_nopush on;",
            server: &plain,
            env: &env,
            ..Conf::default()
        };
        let nginx = Nginx::start(ESCA, site.path(), conf);
        fetch(nginx.port);
        let mut http = Http::new(nginx.port);
        for size in [1024, 65_536, 1024, 65_536] {
            let reply = http.get(&format!("/plain/{size}"));
            assert_same("a plain file", &content(size), &reply.body);
        }
        nginx.assert_aggregated();
        let stats = nginx.stats.as_ref().expect("statistics");
        assert_eq!(stats.get(*counter), 0, "{name} was off");
    }
}

fn deferred(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).expect("whole JSON");
    json["operations"]["deferred"].as_u64()
}

#[test]
fn the_library_writes_its_statistics_at_exit() {
    let (site, out) = (Site::new(), Dir::new());
    let file = out.path().join("stats.json");
    let env = [("ESCA_STATS", file.to_str().expect("a path"))];
    let conf = Conf {
        http: "sendfile on;",
        env: &env,
        ..Conf::default()
    };
    let mut nginx = Nginx::start(ESCA, site.path(), conf);
    fetch(nginx.port);
    nginx.assert_aggregated();
    nginx.process().stop(Signal::TERM);
    assert!(deferred(&file).expect("the file") > 0);
}

#[test]
fn esca_run_writes_them_while_the_server_runs() {
    let (site, out) = (Site::new(), Dir::new());
    let file = out.path().join("stats.json");
    let port = port::free();
    let conf = out.write(
        "lighttpd.conf",
        format!(
            "server.document-root = \"{}\"\nserver.bind = \"127.0.0.1\"\nserver.port = {port}\n",
            site.path().display()
        ),
    );
    let mut command = Command::new(build::workspace().join("target/release/esca"));
    command.arg("run").arg("--policy=batch");
    command.arg(format!("--stats={}", file.display()));
    command.args(["--", "lighttpd", "-D", "-f"]).arg(conf);
    let mut server = Server::start(Mode::Plain, port, &mut command);
    eventually("deferred operations in the file", || {
        let hands: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(move || fetch(port)))
            .collect();
        hands.into_iter().for_each(|h| h.join().expect("a client"));
        deferred(&file).filter(|n| *n > 0)
    });
    // The signal goes on to lighttpd, and its end is that of esca. By itself
    // too lighttpd 1.4.69 answers SIGTERM with status 0 mostly and 1 at times.
    server.signal(Signal::TERM);
    let status = server.wait().expect("the server ends when asked to");
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
}
