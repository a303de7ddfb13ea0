//! Redis under load while it saves, is ended and is killed: every reply is
//! the right one, and what was acknowledged is there after a restart.

use esca_suite::dir::Dir;
use esca_suite::mode::{Mode, modes};
use esca_suite::port;
use esca_suite::resp::{Resp, Value, command};
use esca_suite::server::Server;
use esca_suite::site::noise;
use esca_suite::swarm::Stop;
use esca_suite::{eventually, scale};
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::scope;

/// Commands in one piece.
const DEPTH: u64 = 10;

fn start(mode: Mode, dir: &Path, options: &[&str]) -> Server {
    let port = port::free();
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--daemonize", "no", "--loglevel", "warning"])
        .args(["--enable-debug-command", "yes"])
        .args(options)
        .arg("--dir")
        .arg(dir)
        .arg("--logfile")
        .arg(dir.join("log"));
    Server::start(mode, port, &mut command)
}

/// Redis answers a client once a round: only `batch` defers such writes.
fn assert_used(mode: Mode, server: &Server) {
    server.assert_active();
    if mode == Mode::Esca("batch") {
        server.assert_aggregated();
    }
}

fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..scale(8, 40)).map(|n| format!("key:{n}").into_bytes())
}

/// Raises a number until the server ends; how often it was told so.
fn count(port: u16, key: &[u8], total: &AtomicU64) -> u64 {
    let mut c = Resp::new(port);
    let bytes = command(&[b"INCR", key]).repeat(DEPTH as usize);
    let mut told = 0;
    loop {
        if c.try_send(&bytes).is_err() {
            return told;
        }
        for _ in 0..DEPTH {
            match c.try_reply() {
                Ok(Value::Int(n)) => {
                    told += 1;
                    assert_eq!(n, told as i64, "the reply");
                    total.fetch_add(1, Relaxed);
                }
                // Before the end of the process, or while it goes.
                Err(_) => return told,
                Ok(other) => panic!("INCR: {other:?}"),
            }
        }
    }
}

/// Ends a server under load and starts it again on what it left.
fn ends(act: impl Fn(&mut Server)) {
    for mode in modes() {
        let dir = Dir::new();
        let options = ["--appendonly", "yes", "--appendfsync", "no"];
        let mut server = start(mode, dir.path(), &options);
        let (port, total) = (server.port, AtomicU64::new(0));
        let told: Vec<u64> = scope(|s| {
            let total = &total;
            let clients: Vec<_> = keys()
                .map(|key| s.spawn(move || count(port, &key, total)))
                .collect();
            eventually("load", || {
                (total.load(Relaxed) > scale(3000, 300_000) as u64).then_some(())
            });
            act(&mut server);
            clients
                .into_iter()
                .map(|c| c.join().expect("a client"))
                .collect()
        });
        assert_used(mode, &server);
        let again = start(Mode::Plain, dir.path(), &options);
        let mut c = Resp::new(again.port);
        for (key, told) in keys().zip(told) {
            // While it reads the log it answers with an error.
            let text = eventually("the number", || match c.ask(&[b"GET", &key]) {
                Value::Bulk(text) => Some(text),
                Value::Error(e) if e.starts_with("LOADING") => None,
                other => panic!("GET: {other:?}"),
            });
            let text = String::from_utf8(text.unwrap_or(b"0".into())).expect("text");
            let is: u64 = text.parse().expect("a number");
            // The last commands may have been done without a reply.
            let asked = told.next_multiple_of(DEPTH) + DEPTH;
            assert!(told <= is && is <= asked, "{mode:?}: told {told}, is {is}");
        }
    }
}

#[test]
fn ended() {
    ends(|server| server.stop(Signal::TERM));
}

#[test]
fn killed() {
    ends(|server| {
        server.signal(Signal::KILL);
        assert!(!server.wait().expect("the end").success());
    });
}

/// Children that save, or rewrite the log, while clients are served.
#[test]
fn saves_under_load() {
    for mode in modes() {
        let dir = Dir::new();
        let server = start(mode, dir.path(), &["--appendonly", "yes"]);
        let (port, done, total) = (server.port, AtomicBool::new(false), AtomicU64::new(0));
        scope(|s| {
            for key in keys() {
                let (done, total) = (&done, &total);
                s.spawn(move || set_and_get(port, &key, done, total));
            }
            let _end = Stop(&done);
            let mut c = Resp::new(port);
            for _ in 0..scale(2, 40) {
                for (what, field) in [
                    ("BGSAVE", "rdb_bgsave_in_progress:0"),
                    ("BGREWRITEAOF", "aof_rewrite_in_progress:0"),
                ] {
                    let before = total.load(Relaxed);
                    let reply = c.say(what);
                    assert!(matches!(reply, Value::Simple(_)), "{what}: {reply:?}");
                    eventually(what, || {
                        let Value::Bulk(Some(info)) = c.say("INFO persistence") else {
                            panic!("no INFO");
                        };
                        let info = String::from_utf8_lossy(&info).into_owned();
                        let well = !info.contains("status:err");
                        assert!(well, "{info}");
                        (info.contains(field) && total.load(Relaxed) > before + 500).then_some(())
                    });
                }
            }
        });
        let mut c = Resp::new(port);
        let digest = c.say("DEBUG DIGEST");
        assert_eq!(c.say("DEBUG LOADAOF"), Value::Simple("OK".into()));
        assert_eq!(c.say("DEBUG DIGEST"), digest, "{mode:?}: what was saved");
        assert_used(mode, &server);
    }
}

fn set_and_get(port: u16, key: &[u8], done: &AtomicBool, total: &AtomicU64) {
    let mut c = Resp::new(port);
    let mut n = 0;
    while !done.load(Relaxed) {
        let values: Vec<_> = (n..n + DEPTH)
            .map(|n| noise(n, n as usize * 131 % 9000))
            .collect();
        let mut bytes = Vec::new();
        for value in &values {
            bytes.extend(command(&[b"SET", key, value]));
            bytes.extend(command(&[b"GET", key]));
        }
        c.send(&bytes);
        for value in values {
            assert_eq!(c.reply(), Value::Simple("OK".into()));
            assert!(c.reply() == Value::Bulk(Some(value)), "another value");
        }
        n += DEPTH;
        total.fetch_add(2 * DEPTH, Relaxed);
    }
}
