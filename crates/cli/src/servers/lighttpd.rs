//! lighttpd, as Debian ships it.

use super::{Load, Place, Server, arg, configure, get, program, verify_files};
use anyhow::Result;
use std::ffi::OsString;

/// lighttpd serving files.
pub struct Lighttpd;

impl Server for Lighttpd {
    fn name(&self) -> &'static str {
        "lighttpd"
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let text = include_str!("../../../../conf/lighttpd.conf");
        let conf = configure(place, "lighttpd.conf", text, &[])?;
        Ok(vec![
            program("lighttpd", "lighttpd")?,
            "-D".into(),
            "-f".into(),
            arg(&conf),
        ])
    }

    fn verify(&self, place: &Place) -> Result<()> {
        verify_files(place)
    }

    fn load(&self, what: &str) -> Load {
        get(what)
    }

    fn loads(&self) -> &'static [(&'static str, f64, f64)] {
        &[
            ("1 KiB", 1.03, 0.97),
            ("20 KiB", 1.0, 1.0),
            ("100 KiB", 1.0, 1.0),
        ]
    }

    fn version_flag(&self) -> &'static str {
        "-v"
    }
}
