//! nginx, static files: every reply as without ESCA.

use esca_suite::http::{Http, Reply, assert_replies, dial, request};
use esca_suite::mode::{Mode, policies};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::site::{SIZES, Site, content};
use esca_suite::{assert_same, eventually};
use rustix::process::Signal;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Runs a session without ESCA and under each policy, and compares.
fn compare(conf: Conf, session: impl Fn(&Nginx) -> Vec<Reply>) {
    let site = Site::new();
    let once = |mode| {
        let nginx = Nginx::start(mode, site.path(), conf);
        let replies = session(&nginx);
        nginx.assert_aggregated();
        replies
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        assert_replies(&format!("{mode:?}"), &want, &once(mode));
    }
}

/// What a browser, a downloader and a proxy ask.
fn everything(nginx: &Nginx) -> Vec<Reply> {
    let mut http = Http::new(nginx.port);
    let mut all: Vec<Reply> = Vec::new();
    for size in SIZES {
        let reply = http.get(&format!("/{size}"));
        assert_same("a file", &content(size), &reply.body);
        all.push(reply);
    }
    let tag = all[2].field("etag").expect("an ETag").to_owned();
    let mut ask = |method: &str, path: &str, lines: &[&str]| {
        let reply = http.ask(method, path, lines);
        all.push(reply.unwrap_or_else(|e| panic!("{method} {path} {lines:?}: {e}")));
    };
    for size in ["1", "1024", "20480", "8388608"] {
        ask("HEAD", &format!("/{size}"), &[]);
    }
    ask("GET", "/missing", &[]);
    ask("GET", "/1024", &[&format!("If-None-Match: {tag}")]);
    for range in [
        "0-0",
        "100-199",
        "-500",
        "1000-",
        "5000-9000",
        "0-1,7-9,-3",
        "99999999-",
    ] {
        for size in ["1024", "20480", "1048576"] {
            ask(
                "GET",
                &format!("/{size}"),
                &[&format!("Range: bytes={range}")],
            );
        }
    }
    // Refused, with the connection's end.
    ask("POST", "/1024", &["Content-Length: 0", "Connection: close"]);
    let mut http = Http::new(nginx.port);
    all.push(
        http.ask("GET", "/20480", &["Connection: close"])
            .expect("a reply"),
    );
    assert!(http.at_end(), "the end after Connection: close");
    all.extend(pipelined(nginx));
    all
}

/// Many requests in one piece.
fn pipelined(nginx: &Nginx) -> Vec<Reply> {
    let paths: Vec<String> = (0..48).map(|i| format!("/{}", SIZES[i * 5 % 13])).collect();
    let all: String = paths.iter().map(|p| request("GET", p, &[])).collect();
    let mut http = Http::new(nginx.port);
    http.send(all).expect("sent");
    let reply = |_| http.reply("GET").expect("a reply");
    paths.iter().map(reply).collect()
}

fn variant(http: &str) {
    let conf = Conf {
        http,
        ..Conf::default()
    };
    compare(conf, everything);
}

#[test]
fn sendfile_off() {
    variant("sendfile off;");
}

#[test]
fn sendfile_on() {
    variant("sendfile on;");
}

#[test]
fn sendfile_and_tcp_nopush() {
    variant("sendfile on; tcp_nopush on;");
}

#[test]
fn sendfile_with_an_open_file_cache_and_small_chunks() {
    variant("sendfile on; sendfile_max_chunk 16k; open_file_cache max=100; tcp_nodelay off;");
}

#[test]
fn postponed_output_off_and_gzip() {
    let http = "postpone_output 0; gzip on; gzip_types *; gzip_min_length 10; output_buffers 2 4k;";
    let conf = Conf {
        http,
        workers: 2,
        ..Conf::default()
    };
    compare(conf, |nginx| {
        let mut http = Http::new(nginx.port);
        let ask = |size| http.ask("GET", &format!("/{size}"), &["Accept-Encoding: gzip"]);
        SIZES.map(ask).map(|r| r.expect("a reply")).to_vec()
    });
}

/// A reader that takes nothing until others had full service.
fn slow_reader(http: &str) {
    let conf = Conf {
        http,
        ..Conf::default()
    };
    compare(conf, |nginx| {
        let mut slow: Vec<Http> = (0..3)
            .map(|_| Http::over(dial(nginx.port, Some(4096))))
            .collect();
        for reader in &mut slow {
            reader.send(request("GET", "/8388608", &[])).expect("sent");
        }
        let mut all = everything(nginx);
        for reader in &mut slow {
            let reply = reader.reply("GET").expect("the large file");
            assert_same("the large file", &content(8 << 20), &reply.body);
            all.push(reply);
            all.push(reader.get("/1024"));
        }
        all
    });
}

#[test]
fn slow_reader_with_sendfile() {
    slow_reader("sendfile on; tcp_nopush on;");
}

#[test]
fn slow_reader_without_sendfile() {
    slow_reader("sendfile off;");
}

#[test]
fn limit_rate() {
    let conf = Conf {
        http: "sendfile on;",
        server: "limit_rate 600k; limit_rate_after 100k;",
        ..Conf::default()
    };
    compare(conf, |nginx| {
        let mut http = Http::new(nginx.port);
        let reply = http.get("/1048576");
        assert_same("the file", &content(1 << 20), &reply.body);
        vec![reply, http.get("/102400")]
    });
}

#[test]
fn access_log() {
    let site = Site::new();
    let http = "log_format t '$request $status $body_bytes_sent $bytes_sent \
                $request_completion $connection_requests'; access_log access.log t; sendfile on;";
    let conf = Conf {
        http,
        ..Conf::default()
    };
    let once = |mode| {
        let mut nginx = Nginx::start(mode, site.path(), conf);
        everything(&nginx);
        nginx.assert_aggregated();
        nginx.process().stop(Signal::QUIT);
        let log = std::fs::read_to_string(nginx.dir().join("access.log"));
        let log = log.expect("the log");
        assert!(log.lines().count() > 50, "{log}");
        log
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        assert_same(&format!("{mode:?}"), want.as_bytes(), once(mode).as_bytes());
    }
}

/// Every request is answered while workers come and go.
#[test]
fn reload_under_load() {
    let site = Site::new();
    let conf = Conf {
        http: "sendfile on;",
        server: "location = /pid { return 200 \"$pid\"; }",
        workers: 2,
        ..Conf::default()
    };
    for mode in policies() {
        let nginx = Nginx::start(mode, site.path(), conf);
        let pid = || Http::new(nginx.port).get("/pid").body;
        let (done, served) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| load(nginx.port, &done, &served));
            }
            // Let the load end when this thread fails.
            let _end = End(&done);
            let mut old = Vec::new();
            for _ in 0..3 {
                // Whoever answers now is of the workers that go.
                old.push(pid());
                nginx.signal(Signal::HUP);
                eventually("a new worker", || (!old.contains(&pid())).then_some(()));
                let before = served.load(Relaxed);
                eventually("load", || {
                    (served.load(Relaxed) > before + 50).then_some(())
                });
            }
        });
        nginx.assert_aggregated();
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Keep-alive requests without a pause. A worker that goes may close a
/// connection between two requests: then, and only then, it is asked again.
fn load(port: u16, done: &AtomicBool, served: &AtomicU32) {
    let mut http = Http::new(port);
    let mut used = 0;
    while !done.load(Relaxed) {
        let size = [1024, 20_480][used % 2];
        match http.ask("GET", &format!("/{size}"), &[]) {
            Ok(reply) => {
                assert_same("under load", &content(size), &reply.body);
                served.fetch_add(1, Relaxed);
                used += 1;
            }
            Err(e) => {
                let gone = matches!(
                    e.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                );
                assert!(gone && http.is_fresh() && used > 0, "request {used}: {e}");
                (http, used) = (Http::new(port), 0);
            }
        }
    }
}
