//! Redis: commands and pipelines of many clients.

use crate::service::Service;
use crate::{Program, Run};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::resp::{Resp, command};
use esca_suite::site::content;
use rustix::process::Signal;
use std::process::Command;

/// The program.
pub struct Redis;

/// Why policy coalesce finds nothing to do in it.
pub const ONE_WRITE: &str = "it answers a client by one write for each round of events; batch holds those of several \
     clients.";

impl Program for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn package(&self) -> &'static str {
        "redis-server"
    }

    fn checked(&self) -> &'static str {
        "SET and GET pipelines, values to 512 KiB, 20 clients"
    }

    fn nothing(&self, policy: &str) -> Option<&'static str> {
        (policy == "coalesce").then_some(ONE_WRITE)
    }

    fn run(&self, mode: Mode) -> Run {
        session(mode, |_| {}, |_| {})
    }
}

/// Starts it, once `prepare` saw the command, has 20 clients set and get, and
/// stops it once `look` saw it.
pub fn session(mode: Mode, prepare: impl FnOnce(&mut Command), look: impl FnOnce(&Service)) -> Run {
    let (dir, port) = (Dir::new(), port::free());
    let mut redis = Command::new("redis-server");
    redis
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--loglevel", "warning", "--dir"])
        .arg(dir.path());
    prepare(&mut redis);
    let server = Service::start(mode, port, &dir, &mut redis);
    let mut clients: Vec<Resp> = (0..20).map(|_| Resp::new(port)).collect();
    let mut seen = Vec::new();
    // The last round's values take several reads and writes.
    for round in 0..30 {
        for (i, c) in clients.iter_mut().enumerate() {
            let key = format!("key:{i}");
            let size = if round == 29 {
                26_214 * (i + 1)
            } else {
                i * round * 7
            };
            c.send(&command(&[b"SET", key.as_bytes(), &content(size)]));
            c.send(&command(&[b"GET", key.as_bytes()]));
        }
        for (i, c) in clients.iter_mut().enumerate() {
            for _ in 0..2 {
                let reply = format!("{:?}", c.reply()).into_bytes();
                seen.push((format!("round {round}, client {i}"), reply));
            }
        }
    }
    let requests = seen.len() as u64;
    look(&server);
    let stats = server.end(Signal::TERM, &mut seen);
    Run {
        seen,
        requests,
        stats,
    }
}
