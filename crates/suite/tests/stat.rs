//! `esca stat` on real servers that were preloaded without any preparation:
//! what it says is what was asked of them.

use esca_suite::dir::Dir;
use esca_suite::http::Http;
use esca_suite::mode::{Mode, library};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::resp::{Resp, Value};
use esca_suite::server::Server;
use esca_suite::site::{Site, content};
use esca_suite::{assert_same, build, eventually, port};
use rustix::process::Signal;
use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn esca(args: &[&str]) -> Command {
    let mut c = Command::new(build::workspace().join("target/release/esca"));
    c.args(args);
    c
}

fn text(out: &Output) -> String {
    let all = [out.stdout.as_slice(), &out.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Standard output of an `esca stat` that succeeds.
fn stat(pid: &str, args: &[&str]) -> String {
    let out = esca(&[&["stat", pid], args].concat())
        .output()
        .expect("esca");
    assert!(out.status.success(), "{args:?}: {}", text(&out));
    String::from_utf8(out.stdout).expect("text")
}

fn json(line: &str) -> Json {
    serde_json::from_str(line).expect("whole JSON")
}

fn requests(report: &Json) -> u64 {
    report["total"]["figures"]["requests"]
        .as_u64()
        .expect("a number")
}

/// nginx with the library preloaded and nothing else set.
fn nginx(site: &Site, workers: u32) -> Nginx {
    let library = library();
    let env = [("LD_PRELOAD", library.to_str().expect("a path"))];
    let conf = Conf {
        http: "sendfile on;",
        workers,
        env: &env,
        ..Conf::default()
    };
    Nginx::start(Mode::Plain, site.path(), conf)
}

fn fetch(port: u16, n: usize) {
    let mut http = Http::new(port);
    for _ in 0..n {
        assert_same("a file", &content(1024), &http.get("/1024").body);
    }
}

fn pid(server: &Server) -> String {
    server.pid().as_raw_nonzero().to_string()
}

/// What a process's descriptors are, without the sockets' numbers and without
/// those of the library for residues, in the top eighth of the range.
fn descriptors(pid: u64) -> Vec<String> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let soft = limit.current.unwrap_or(65_536).min(65_536);
    let high = soft - soft / 8;
    let dir = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
    let mut all: Vec<_> = dir
        .map(|e| e.expect("an entry"))
        .filter(|e| {
            let number: u64 = e.file_name().to_string_lossy().parse().expect("a number");
            number < high
        })
        .map(|e| {
            let to = std::fs::read_link(e.path()).unwrap_or_default();
            let to = to.to_string_lossy();
            let kind = to.split(':').next().unwrap_or_default();
            let name = kind.rsplit('/').next().unwrap_or_default();
            format!("{} {name}", e.file_name().to_string_lossy())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_form_counts_the_requests_of_all_workers() {
    let site = Site::new();
    let nginx = nginx(&site, 2);
    let pid = pid(&nginx);
    for _ in 0..5 {
        fetch(nginx.port, 20);
    }
    let report = json(&stat(&pid, &["--once", "--json"]));
    assert_eq!(requests(&report), 100, "{report}");
    assert_eq!(report["policy"], "coalesce");
    let counters = &report["total"]["counters"];
    for (group, name) in [
        ("operations", "deferred"),
        ("operations", "merged"),
        ("rules", "small-file"),
        ("calls", "wait"),
    ] {
        let n = counters[group][name].as_i64().expect("a counter");
        assert!(n > 0, "{group}.{name}: {report}");
    }
    // Header and file were two segments and became one.
    let figures = &report["total"]["figures"];
    assert_eq!(figures["sends"].as_f64(), Some(2.0), "{report}");
    let joined = figures["joined"].as_f64().expect("a figure");
    assert!(joined > 0.9 && joined <= 1.0, "{report}");
    let processes = report["processes"].as_array().expect("processes");
    assert_eq!(processes.len(), 3, "master and workers: {report}");
    assert_eq!(processes[0]["state"], "waiting", "the master never waits");
    let parts = processes.iter().map(|p| {
        let n = p["figures"]["requests"].as_u64();
        n.expect("a number")
    });
    assert_eq!(parts.sum::<u64>(), 100, "{report}");

    let lines = stat(&pid, &["--once"]);
    assert!(lines.contains("100 requests; calls per request"), "{lines}");
    assert!(lines.contains("segments 2.00 -> 1."), "{lines}");

    let name = format!("esca_requests_answered_total{{server=\"nginx\",pid=\"{pid}\"}} 100");
    let prometheus = stat(&pid, &["--prometheus"]);
    assert!(prometheus.lines().any(|l| l == name), "{prometheus}");
    check_exposition(&prometheus);
    let dir = Dir::new();
    let file = dir.path().join("esca.prom");
    stat(&pid, &["--textfile", file.to_str().expect("a path")]);
    let written = std::fs::read_to_string(&file).expect("the file");
    assert!(written.lines().any(|l| l == name), "{written}");
    let others = std::fs::read_dir(dir.path()).expect("the directory");
    assert_eq!(others.count(), 1, "nothing but the file is left");
}

/// Each metric has its type once, before its lines; each line a number.
fn check_exposition(text: &str) {
    let mut seen = Vec::new();
    let mut now = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            now = rest.split(' ').next().expect("a name");
            assert!(!seen.contains(&now), "{now} stands twice");
            seen.push(now);
        } else if !line.starts_with("# HELP ") {
            let name = line.split('{').next().expect("a name");
            assert_eq!(name, now, "{line}");
            let value = line.rsplit(' ').next().expect("a value");
            value.parse::<f64>().expect(line);
        }
    }
    assert!(seen.len() > 10, "{text}");
}

#[test]
fn the_counters_need_no_descriptor() {
    let site = Site::new();
    let worker = |n: &Nginx| {
        let file = format!("/proc/{0}/task/{0}/children", pid(n));
        eventually("a worker", || {
            let text = std::fs::read_to_string(&file).ok()?;
            text.trim().parse::<u64>().ok()
        })
    };
    let with = nginx(&site, 1);
    let without = Nginx::start(
        Mode::Plain,
        site.path(),
        Conf {
            http: "sendfile on;",
            ..Conf::default()
        },
    );
    for n in [&with, &without] {
        fetch(n.port, 10);
    }
    let same = || {
        let (a, b) = (descriptors(worker(&with)), descriptors(worker(&without)));
        (a == b).then_some(())
    };
    eventually("the same descriptors as without the library", same);
    assert_eq!(
        requests(&json(&stat(&pid(&with), &["--once", "--json"]))),
        10
    );
}

#[test]
fn totals_outlive_the_workers_that_counted_them() {
    let site = Site::new();
    let nginx = nginx(&site, 1);
    fetch(nginx.port, 30);
    let mut follow = esca(&["stat", &pid(&nginx), "--json", "--interval", "0.05"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("esca");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    let mut next = || json(&lines.next().expect("a line").expect("a line"));
    let first = next();
    assert_eq!(requests(&first), 30);
    assert!(first["interval"].is_null());
    let worker = first["processes"][1]["pid"].as_u64().expect("a worker");
    nginx.signal(Signal::HUP);
    let mut last = 30;
    loop {
        let report = next();
        assert!(requests(&report) >= last, "totals never fall: {report}");
        last = requests(&report);
        assert!(report["interval"]["seconds"].as_f64() > Some(0.0));
        let all = report["processes"].as_array().expect("processes");
        if all.len() == 2 && all[1]["pid"].as_u64() != Some(worker) {
            break;
        }
    }
    fetch(nginx.port, 12);
    while last < 42 {
        last = requests(&next());
    }
    assert_eq!(last, 42);
    let mut nginx = nginx;
    nginx.process().stop(Signal::TERM);
    // It ends by itself, and says so by its exit code.
    while lines.next().is_some() {}
    assert_eq!(follow.wait().expect("its end").code(), Some(1));
}

#[test]
fn a_forked_child_counts_for_itself() {
    let dir = Dir::new();
    let port = port::free();
    let mut command = esca(&["run", "--policy=batch", "--", "redis-server"]);
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--enable-debug-command", "yes", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null());
    let redis = Server::start(Mode::Plain, port, &mut command);
    let pid = pid(&redis);
    let mut client = Resp::new(port);
    let ok = |v: Value| assert!(matches!(v, Value::Simple(_)), "an answer");
    ok(client.say("SET key value"));
    // The child lives long enough to be looked at.
    ok(client.say("CONFIG SET rdb-key-save-delay 10000000"));
    ok(client.say("BGSAVE"));
    let child = eventually("the saving child", || {
        let report = json(&stat(&pid, &["--once", "--json"]));
        let all = report["processes"].as_array()?.clone();
        all.get(1)
            .filter(|c| c["state"] == "counting")
            .map(|c| (c.clone(), requests(&report)))
    });
    assert_eq!(
        child.0["figures"]["requests"], 0,
        "the parent's are its own"
    );
    assert_eq!(child.1, 3);
    ok(client.say("CONFIG SET rdb-key-save-delay 0"));
    let report = json(&stat(&pid, &["--once", "--json"]));
    assert!(requests(&report) >= 4, "{report}");
}

#[test]
fn what_it_cannot_do_is_one_line() {
    // Not this process: its children are the servers of the other tests.
    let mut other = Command::new("sleep").arg("600").spawn().expect("sleep");
    let me = other.id().to_string();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["stat", "99999999"], 1, "there is no process 99999999"),
        (&["stat", &me, "--once"], 1, "runs without ESCA's library"),
        (&["stat", "nginx"], 2, "invalid value 'nginx'"),
        (&["stat", &me, "--interval", "0"], 2, "seconds from 0.05"),
        (
            &["stat", &me, "--json", "--prometheus"],
            2,
            "cannot be used",
        ),
    ];
    for (args, code, part) in cases {
        let out = esca(args).output().expect("esca");
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out));
        assert!(text(&out).contains(part), "{args:?}: {}", text(&out));
    }
    other.kill().and_then(|()| other.wait()).expect("its end");
    let site = Site::new();
    let nginx = nginx(&site, 1);
    fetch(nginx.port, 1);
    let bad = Path::new("/nonexistent/esca.prom");
    let out = esca(&["stat", &pid(&nginx), "--textfile"])
        .arg(bad)
        .output()
        .expect("esca");
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("cannot write /nonexistent/esca.prom"));
}
