//! A server with nothing to aggregate: one connection, one message at a time.

use super::{Load, Place, Server};
use crate::client::{Answer, Exchange};
use anyhow::{Result, ensure};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;

/// This program's own echo server.
pub struct Pingpong;

impl Server for Pingpong {
    fn name(&self) -> &str {
        "pingpong"
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        Ok(vec![
            std::env::current_exe()?.into_os_string(),
            "pingpong-server".into(),
            place.port.to_string().into(),
        ])
    }

    fn verify(&self, place: &Place, _loads: &[&str]) -> Result<()> {
        let mut s = TcpStream::connect(("127.0.0.1", place.port))?;
        for n in 1..100u8 {
            let mut got = [0; 64];
            s.write_all(&[n; 64])?;
            s.read_exact(&mut got)?;
            ensure!(got == [n; 64], "pingpong answered other bytes");
        }
        Ok(())
    }

    fn load(&self, what: &str) -> Load {
        Load {
            name: what.into(),
            exchange: Exchange {
                ask: vec![7; 64],
                answer: Answer::Exact(vec![7; 64]),
                requests: 1,
                prepare: None,
            },
            connections: 1,
            path: String::new(),
        }
    }

    fn loads(&self) -> &'static [&'static str] {
        &["64 B"]
    }

    fn version_flag(&self) -> &'static str {
        "--version"
    }
}
