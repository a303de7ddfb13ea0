//! Mosquitto: publishers and subscribers with a small MQTT client.

use crate::service::Service;
use crate::{Program, Run};
use esca_suite::assert_same;
use esca_suite::dir::Dir;
use esca_suite::http::dial;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::scenario::take;
use esca_suite::site::noise;
use rustix::process::Signal;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

/// The program.
pub struct Mosquitto;

/// Publishers, subscribers to each, messages of each.
const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 4;
const MESSAGES: usize = 150;

/// An MQTT packet: its first byte, its length in groups of seven bits, and
/// the rest.
fn packet(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut all = vec![kind];
    let mut left = rest.len();
    loop {
        let more = if left > 127 { 128 } else { 0 };
        all.push((left & 127) as u8 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    all.extend(rest);
    all
}

fn text(s: &str) -> Vec<u8> {
    let len = u16::try_from(s.len()).expect("a short text");
    let mut all = len.to_be_bytes().to_vec();
    all.extend(s.bytes());
    all
}

/// MQTT 3.1.1, a clean session, no keep-alive.
fn connect(port: u16, name: &str) -> TcpStream {
    let mut stream = dial(port, None);
    let hello = [&text("MQTT")[..], &[4, 2, 0, 0], &text(name)].concat();
    stream.write_all(&packet(0x10, &hello)).expect("sent");
    assert_eq!(take(&mut stream, 4), [0x20, 2, 0, 0], "CONNACK");
    stream
}

fn subscriber(port: u16, name: &str, topic: &str) -> TcpStream {
    let mut stream = connect(port, name);
    let wish = [&[0, 1][..], &text(topic), &[0]].concat();
    stream.write_all(&packet(0x82, &wish)).expect("sent");
    assert_eq!(take(&mut stream, 5), [0x90, 3, 0, 1, 0], "SUBACK");
    stream
}

/// Message `i` of a publisher; the last one is large.
fn message(publisher: usize, i: usize) -> Vec<u8> {
    let size = if i + 1 == MESSAGES {
        400_000
    } else {
        i * 37 % 3000
    };
    noise((publisher * MESSAGES + i) as u64, size)
}

impl Program for Mosquitto {
    fn name(&self) -> &'static str {
        "Mosquitto"
    }

    fn package(&self) -> &'static str {
        "mosquitto"
    }

    fn checked(&self) -> &'static str {
        "450 messages to 400 KB at QoS 1 from 3 publishers, each to 4 subscribers"
    }

    fn nothing(&self, policy: &str) -> Option<&'static str> {
        let why = "it takes one message of a publisher in each round and writes it once to each \
                   subscriber; batch holds those of all subscribers.";
        (policy == "coalesce").then_some(why)
    }

    fn small(&self) -> bool {
        true
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, port) = (Dir::new(), port::free());
        let conf = dir.write(
            "mosquitto.conf",
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
                 user root\nmax_queued_messages 0\nlog_dest stderr\n"
            ),
        );
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(conf);
        let server = Service::start(mode, port, &dir, &mut command);
        let mut seen = Vec::new();
        let topic = |p: usize| format!("topic/{p}");
        let mut subscribers: Vec<Vec<TcpStream>> = (0..PUBLISHERS)
            .map(|p| {
                let name = |s| format!("subscriber-{p}-{s}");
                let one = |s| subscriber(port, &name(s), &topic(p));
                (0..SUBSCRIBERS).map(one).collect()
            })
            .collect();
        std::thread::scope(|scope| {
            for p in 0..PUBLISHERS {
                scope.spawn(move || publish(port, p, &topic(p)));
            }
            for (p, streams) in subscribers.iter_mut().enumerate() {
                let sent = |i| packet(0x30, &[text(&topic(p)), message(p, i)].concat());
                let want: Vec<u8> = (0..MESSAGES).flat_map(sent).collect();
                for (s, stream) in streams.iter_mut().enumerate() {
                    let got = take(stream, want.len());
                    assert_same("a subscriber's messages", &want, &got);
                    seen.push((format!("subscriber {s} of publisher {p}"), got));
                }
            }
        });
        drop(subscribers);
        let stats = server.end(Signal::TERM, &mut seen);
        Run {
            seen,
            requests: (PUBLISHERS * MESSAGES) as u64,
            stats,
        }
    }
}

/// Publishes every message, ten at a time, and takes what acknowledges them.
fn publish(port: u16, p: usize, topic: &str) {
    let mut stream = connect(port, &format!("publisher-{p}"));
    for first in (0..MESSAGES).step_by(10) {
        let mut all = Vec::new();
        for i in first..first + 10 {
            let id = u16::try_from(i + 1).expect("a short number").to_be_bytes();
            all.extend(packet(
                0x32,
                &[&text(topic)[..], &id, &message(p, i)].concat(),
            ));
        }
        stream.write_all(&all).expect("sent");
        for i in first..first + 10 {
            let id = u16::try_from(i + 1).expect("a short number").to_be_bytes();
            assert_eq!(take(&mut stream, 4), [0x40, 2, id[0], id[1]], "PUBACK {i}");
        }
    }
}
