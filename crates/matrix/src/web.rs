//! What is asked of every program that speaks HTTP.

use crate::service::Service;
use crate::{Piece, Run};
use esca_suite::assert_same;
use esca_suite::http::{Http, Reply, request};
use esca_suite::site::content;
use rustix::process::Signal;

/// Sizes asked for one after the other.
pub const SIZES: [usize; 7] = [1, 1024, 4096, 16_384, 65_536, 102_400, 1 << 20];
/// Connections at the same time, and rounds of them.
const CLIENTS: usize = 24;
const ROUNDS: usize = 20;

/// Header fields that differ from run to run.
const OWN: [&str; 6] = [
    "date",
    "age",
    "x-varnish",
    "last-modified",
    "etag",
    "keep-alive",
];

fn piece(what: String, reply: &Reply) -> Piece {
    let kept = reply.head.lines().filter(|line| {
        let field = line.split(':').next().unwrap_or("").to_ascii_lowercase();
        !OWN.contains(&field.as_str())
    });
    let mut bytes = kept.collect::<Vec<_>>().join("\n").into_bytes();
    bytes.extend(b"\n\n");
    bytes.extend(&reply.body);
    (what, bytes)
}

/// Has a server answer as [`session`] asks, and ends it.
#[must_use]
pub fn run(server: Service, signal: Signal) -> Run {
    let (mut seen, requests) = session(server.server().port);
    let stats = server.end(signal, &mut seen);
    Run {
        seen,
        requests,
        stats,
    }
}

/// Asks for `/SIZE`, which answers [`content`] of that size: one after the
/// other, and by many at a time. Returns the pieces and how many were asked.
#[must_use]
pub fn session(port: u16) -> (Vec<Piece>, u64) {
    let mut seen = Vec::new();
    let mut http = Http::new(port);
    for size in SIZES {
        let reply = http.get(&format!("/{size}"));
        assert_eq!(reply.status(), 200, "/{size}: {reply:?}");
        assert_same("a body", &content(size), &reply.body);
        seen.push(piece(format!("GET {size}"), &reply));
    }
    let mut clients: Vec<Http> = (0..CLIENTS).map(|_| Http::new(port)).collect();
    for round in 0..ROUNDS {
        // At last the largest for all, each of which waits for its turn to
        // be read.
        let last = round + 1 == ROUNDS;
        let size = |i: usize| {
            if last {
                SIZES[6]
            } else {
                SIZES[(i + round) % 5]
            }
        };
        for (i, c) in clients.iter_mut().enumerate() {
            let path = format!("/{}", size(i));
            c.send(request("GET", &path, &[])).expect("sent");
        }
        for (i, c) in clients.iter_mut().enumerate() {
            let reply = c.reply("GET").expect("a reply");
            assert_same("a body", &content(size(i)), &reply.body);
            seen.push(piece(format!("round {round}, client {i}"), &reply));
        }
    }
    let asked = seen.len() as u64;
    (seen, asked)
}
