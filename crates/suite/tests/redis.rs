//! Redis: every reply as without ESCA.

use esca_suite::dir::Dir;
use esca_suite::eventually;
use esca_suite::mode::{Mode, policies};
use esca_suite::port;
use esca_suite::resp::{Resp, Value, command};
use esca_suite::server::Server;
use esca_suite::site::content;
use std::process::Command;

struct Redis {
    mode: Mode,
    server: Server,
    _dir: Dir,
}

fn start(mode: Mode, options: &[&str]) -> Redis {
    let dir = Dir::new();
    let port = port::free();
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .args(["--enable-debug-command", "yes", "--loglevel", "warning"])
        .args(options)
        .arg("--dir")
        .arg(dir.path())
        .arg("--logfile")
        .arg(dir.path().join("log"));
    let server = Server::start(mode, port, &mut command);
    Redis {
        mode,
        server,
        _dir: dir,
    }
}

/// Redis answers a client once a round: only `batch` defers such writes.
fn assert_used(redis: &Redis) {
    redis.server.assert_active();
    if redis.mode == Mode::Esca("batch") {
        redis.server.assert_aggregated();
    }
}

fn compare(options: &[&str], session: impl Fn(&Redis) -> Vec<Value>) {
    let once = |mode| {
        let redis = start(mode, options);
        let replies = session(&redis);
        assert_used(&redis);
        replies
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        let got = once(mode);
        assert_eq!(want.len(), got.len(), "{mode:?}");
        for (i, (want, got)) in want.iter().zip(&got).enumerate() {
            assert!(want == got, "{mode:?}: reply {i}: {}", short(got));
        }
    }
}

fn short(value: &Value) -> String {
    format!("{value:?}").chars().take(200).collect()
}

fn key(n: usize) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

/// Single commands, pipelines, large values, transactions, errors.
fn everything(redis: &Redis) -> Vec<Value> {
    let mut c = Resp::new(redis.server.port);
    let mut all = vec![c.say("PING")];
    for n in [0, 1, 100, 16_383, 16_384, 65_536, 1 << 20] {
        let value = content(n);
        all.push(c.ask(&[b"SET", &key(n), &value]));
        let got = c.ask(&[b"GET", &key(n)]);
        assert!(got == Value::Bulk(Some(value)), "{n}: {}", short(&got));
        all.push(got);
    }
    for words in [
        "GET none",
        "INCR key:100",
        "NOSUCH",
        "LPUSH l a b c",
        "LRANGE l 0 -1",
    ] {
        all.push(c.say(words));
    }
    // Pipelines, with large values among the small.
    for depth in [2, 16, 500] {
        let mut bytes = Vec::new();
        for i in 0..depth {
            let value = content(i * 37 % 3000);
            bytes.extend(command(&[b"SET", &key(i), &value]));
            bytes.extend(command(&[b"GET", &key(i)]));
            if i % 50 == 7 {
                bytes.extend(command(&[b"GET", &key(1 << 20)]));
            }
        }
        c.send(&bytes);
        for i in 0..depth {
            all.push(c.reply());
            all.push(c.reply());
            if i % 50 == 7 {
                all.push(c.reply());
            }
        }
    }
    for words in ["MULTI", "INCR n", "INCRBY n 5", "EXEC", "DBSIZE"] {
        all.push(c.say(words));
    }
    all.extend(at_once(redis));
    all.push(c.say("DEBUG DIGEST"));
    all
}

/// Several clients in the same round.
fn at_once(redis: &Redis) -> Vec<Value> {
    let mut clients: Vec<Resp> = (0..20).map(|_| Resp::new(redis.server.port)).collect();
    let mut all = Vec::new();
    for round in 0..20 {
        for (i, c) in clients.iter_mut().enumerate() {
            c.send(&command(&[b"SET", &key(9000 + i), &content(i * round)]));
            c.send(&command(&[b"GET", &key(9000 + i)]));
        }
        for c in &mut clients {
            all.push(c.reply());
            all.push(c.reply());
        }
    }
    all
}

#[test]
fn commands() {
    compare(&[], everything);
}

#[test]
fn io_threads() {
    compare(
        &["--io-threads", "4", "--io-threads-do-reads", "yes"],
        everything,
    );
}

#[test]
fn publish_and_subscribe() {
    compare(&[], |redis| {
        let mut subscribers: Vec<Resp> = (0..5).map(|_| Resp::new(redis.server.port)).collect();
        let mut all = Vec::new();
        for s in &mut subscribers {
            all.push(s.say("SUBSCRIBE news"));
        }
        let mut publisher = Resp::new(redis.server.port);
        for n in 0..100 {
            let message = content(n * 211 % 9000);
            all.push(publisher.ask(&[b"PUBLISH", b"news", &message]));
        }
        for s in &mut subscribers {
            all.extend((0..100).map(|_| s.reply()));
        }
        all.extend(at_once(redis));
        all
    });
}

/// A primary and its replica, both under ESCA: a first copy by a forked
/// child, then the stream of commands.
#[test]
fn replication() {
    let diskless = ["--repl-diskless-sync-delay", "0"];
    let on_disk = ["--repl-diskless-sync", "no"];
    for options in [&diskless[..], &on_disk] {
        compare(options, |primary| {
            let mut c = Resp::new(primary.server.port);
            for n in 0..300 {
                c.ask(&[b"SET", &key(n), &content(n * 31)]);
            }
            c.ask(&[b"SET", b"large", &content(1 << 20)]);
            let replica = start(primary.mode, options);
            let mut r = Resp::new(replica.server.port);
            let mut all = vec![r.say(&format!("REPLICAOF 127.0.0.1 {}", primary.server.port))];
            eventually("the replica's link", || {
                let Value::Bulk(Some(info)) = r.say("INFO replication") else {
                    panic!("no INFO");
                };
                let info = String::from_utf8_lossy(&info).into_owned();
                info.contains("master_link_status:up").then_some(())
            });
            for n in 0..300 {
                all.push(c.ask(&[b"APPEND", &key(n), &content(n)]));
            }
            all.push(c.say("WAIT 1 20000"));
            let (own, copy) = (c.say("DEBUG DIGEST"), r.say("DEBUG DIGEST"));
            assert_eq!(own, copy, "the replica's data");
            all.push(own);
            all.push(r.ask(&[b"GET", b"large"]));
            all
        });
    }
}

/// A child saves while the parent serves; then it is read back.
#[test]
fn save_and_reload() {
    let once = |mode| {
        let redis = start(mode, &[]);
        let mut c = Resp::new(redis.server.port);
        for n in 0..200 {
            c.ask(&[b"SET", &key(n), &content(n * 100)]);
        }
        at_once(&redis);
        c.say("BGSAVE");
        for n in 0..200 {
            c.ask(&[b"GET", &key(n)]);
        }
        at_once(&redis);
        let digest = c.say("DEBUG DIGEST");
        eventually("the end of the save", || {
            let Value::Bulk(Some(info)) = c.say("INFO persistence") else {
                panic!("no INFO");
            };
            let info = String::from_utf8_lossy(&info).into_owned();
            info.contains("rdb_bgsave_in_progress:0").then_some(())
        });
        // Reads what the child wrote.
        assert_eq!(c.say("DEBUG RELOAD NOSAVE"), Value::Simple("OK".into()));
        assert_eq!(c.say("DEBUG DIGEST"), digest, "{mode:?}: what was saved");
        assert_used(&redis);
        digest
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        assert_eq!(want, once(mode), "{mode:?}");
    }
}
