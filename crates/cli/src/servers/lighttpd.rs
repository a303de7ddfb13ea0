//! lighttpd, as Debian ships it.

use super::{Load, Place, Server, arg, configure, get, program, verify_files};
use anyhow::Result;
use std::ffi::OsString;

/// lighttpd serving files.
pub struct Lighttpd;

impl Server for Lighttpd {
    fn name(&self) -> &str {
        "lighttpd"
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let text = include_str!("../../../../conf/lighttpd.conf");
        let text = match place.workers {
            1 => text.to_string(),
            n => format!("{text}server.max-worker = {n}\n"),
        };
        let conf = configure(place, "lighttpd.conf", &text, &[])?;
        Ok(vec![
            program("lighttpd", "lighttpd")?,
            "-D".into(),
            "-f".into(),
            arg(&conf),
        ])
    }

    fn verify(&self, place: &Place, loads: &[&str]) -> Result<()> {
        verify_files(place, loads)
    }

    fn load(&self, what: &str) -> Load {
        get(what)
    }

    fn loads(&self) -> &'static [&'static str] {
        &["1 KiB", "20 KiB", "100 KiB"]
    }

    fn version_flag(&self) -> &'static str {
        "-v"
    }
}
