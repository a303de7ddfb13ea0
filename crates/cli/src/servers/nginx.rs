//! nginx, as Debian ships it.

use super::{Load, Place, Server, arg, configure, get, program, verify_files};
use anyhow::Result;
use std::ffi::OsString;

/// nginx serving files.
pub struct Nginx;

/// What one sets by hand to get most of what merging header and file gives.
const TUNING: &str = "tcp_nopush on; open_file_cache max=1000;";

impl Server for Nginx {
    fn name(&self) -> &str {
        "nginx"
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let user = if rustix::process::getuid().is_root() {
            "user www-data;"
        } else {
            ""
        };
        let tuning = if place.tuned { TUNING } else { "" };
        let more = [("@USER@", user), ("@TUNING@", tuning)];
        let text = include_str!("../../../../conf/nginx.conf");
        let workers = format!("worker_processes {};", place.workers);
        let text = text.replace("worker_processes 1;", &workers);
        let conf = configure(place, "nginx.conf", &text, &more)?;
        Ok(vec![
            program("nginx", "nginx-light")?,
            "-p".into(),
            arg(&place.run),
            "-c".into(),
            arg(&conf),
            "-e".into(),
            arg(&place.run.join("nginx-error.log")),
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

    fn has_tuning(&self) -> bool {
        true
    }

    fn version_flag(&self) -> &'static str {
        "-v"
    }
}
