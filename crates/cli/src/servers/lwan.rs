//! lwan, from a path that the user gives: Debian has no package of it.

use super::{Load, Place, Server, arg, configure, get, verify_files};
use anyhow::{Context, Result};
use std::ffi::OsString;

/// lwan serving files.
pub struct Lwan;

impl Server for Lwan {
    fn name(&self) -> &str {
        "lwan"
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let program = std::env::var_os("LWAN").filter(|p| !p.is_empty()).context(
            "Debian has no package of lwan; build it and give its path: LWAN=/path/to/lwan",
        )?;
        let text = include_str!("../../../../conf/lwan.conf");
        let text = text.replace("threads = 1", &format!("threads = {}", place.workers));
        let conf = configure(place, "lwan.conf", &text, &[])?;
        Ok(vec![program, "-c".into(), arg(&conf)])
    }

    fn verify(&self, place: &Place, loads: &[&str]) -> Result<()> {
        verify_files(place, loads)
    }

    fn load(&self, what: &str) -> Load {
        get(what)
    }

    fn loads(&self) -> &'static [&'static str] {
        &["1 KiB", "20 KiB"]
    }

    fn version_flag(&self) -> &'static str {
        "-v"
    }
}
