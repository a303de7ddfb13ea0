//! memcached: values of many sizes, set and got by many clients.

use crate::service::Service;
use crate::{Program, Run};
use esca_suite::dir::Dir;
use esca_suite::http::dial;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::scenario::take;
use esca_suite::site::content;
use rustix::process::Signal;
use std::io::Write;
use std::process::Command;

/// The program.
pub struct Memcached;

impl Program for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn package(&self) -> &'static str {
        "memcached"
    }

    fn checked(&self) -> &'static str {
        "set and get of values to 512 KiB, 20 clients"
    }

    fn nothing(&self, policy: &str) -> Option<&'static str> {
        let why = "it answers all that came on a connection by one `sendmsg`; batch holds those of \
                   several connections.";
        (policy == "coalesce").then_some(why)
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, port) = (Dir::new(), port::free());
        let mut command = Command::new("memcached");
        command.args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-p"]);
        command.arg(port.to_string());
        let server = Service::start(mode, port, &dir, &mut command);
        let mut clients: Vec<_> = (0..20).map(|_| dial(port, None)).collect();
        let mut seen = Vec::new();
        // The last round's values take several reads and writes.
        for round in 0..30 {
            let size = |i: usize| {
                if round == 29 {
                    26_214 * (i + 1)
                } else {
                    i * round * 7
                }
            };
            for (i, c) in clients.iter_mut().enumerate() {
                let value = content(size(i));
                let mut all = format!("set k{i} 0 0 {}\r\n", value.len()).into_bytes();
                all.extend(&value);
                all.extend(format!("\r\nget k{i}\r\n").bytes());
                c.write_all(&all).expect("sent");
            }
            for (i, c) in clients.iter_mut().enumerate() {
                let n = size(i);
                let head = format!("STORED\r\nVALUE k{i} 0 {n}\r\n").len();
                let reply = take(c, head + n + "\r\nEND\r\n".len());
                seen.push((format!("round {round}, client {i}"), reply));
            }
        }
        let requests = 2 * seen.len() as u64;
        let stats = server.end(Signal::INT, &mut seen);
        Run {
            seen,
            requests,
            stats,
        }
    }
}
