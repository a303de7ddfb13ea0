//! Redis, as Debian ships it, without persistence.

use super::{Load, Place, Server, arg, configure, program};
use crate::client::{Answer, Exchange};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// redis-server.
pub struct Redis;

impl Server for Redis {
    fn name(&self) -> &str {
        "redis"
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let text = include_str!("../../../../conf/redis.conf");
        let text = format!("{text}io-threads {}\n", place.workers);
        let conf = configure(place, "redis.conf", &text, &[])?;
        Ok(vec![program("redis-server", "redis-server")?, arg(&conf)])
    }

    /// Sets values of many sizes in one pipeline and reads them all back.
    fn verify(&self, place: &Place, _loads: &[&str]) -> Result<()> {
        let mut s = TcpStream::connect(("127.0.0.1", place.port)).context("redis: connect")?;
        s.set_read_timeout(Some(Duration::from_secs(10)))?;
        let sizes = [0, 1, 100, 5_000, 70_000];
        let (mut ask, mut want) = (Vec::new(), Vec::new());
        for n in sizes {
            let v = &crate::workload::page(100)[..n];
            let key = format!("esca:{n}");
            write!(
                ask,
                "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${n}\r\n",
                key.len()
            )?;
            ask.extend_from_slice(v);
            ask.extend_from_slice(b"\r\n");
            want.extend_from_slice(b"+OK\r\n");
            write!(ask, "*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len())?;
            write!(want, "${n}\r\n")?;
            want.extend_from_slice(v);
            want.extend_from_slice(b"\r\n");
        }
        s.write_all(&ask)?;
        let mut got = vec![0; want.len()];
        s.read_exact(&mut got).context("redis: no whole answer")?;
        ensure!(got == want, "redis answered other bytes than were set");
        Ok(())
    }

    fn load(&self, what: &str) -> Load {
        let mut words = what.split(' ');
        let (set, get) = (
            b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\nxxx\r\n".to_vec(),
            b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".to_vec(),
        );
        let ok = b"+OK\r\n".to_vec();
        let (ask, answer) = match words.next() {
            Some("SET") => (set.clone(), ok.clone()),
            _ => (get, b"$3\r\nxxx\r\n".to_vec()),
        };
        let pipeline = words.next().and_then(|p| p.strip_prefix('P'));
        let exchange = Exchange {
            ask,
            answer: Answer::Exact(answer),
            requests: 1,
            prepare: Some((set, ok)),
        };
        Load {
            name: what.into(),
            exchange: exchange.pipelined(pipeline.and_then(|p| p.parse().ok()).unwrap_or(1)),
            connections: 50,
            path: String::new(),
        }
    }

    fn loads(&self) -> &'static [&'static str] {
        &["GET P1", "SET P1", "GET P16", "SET P16"]
    }

    fn version_flag(&self) -> &'static str {
        "--version"
    }
}
