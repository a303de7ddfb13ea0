//! nginx, as Debian ships it, with one worker.

use super::{Place, Server, arg, configure, program, verify_files, wrk};
use crate::load::Load;
use anyhow::Result;
use std::ffi::OsString;

/// nginx with its defaults, or tuned by hand.
pub struct Nginx {
    /// With tcp_nopush and open_file_cache.
    pub tuned: bool,
}

const TUNING: &str = "tcp_nopush on; open_file_cache max=1000;";

impl Server for Nginx {
    fn name(&self) -> &'static str {
        if self.tuned { "nginx-tuned" } else { "nginx" }
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let user = if rustix::process::getuid().is_root() {
            "user www-data;"
        } else {
            ""
        };
        let tuning = if self.tuned { TUNING } else { "" };
        let more = [("@USER@", user), ("@TUNING@", tuning)];
        let text = include_str!("../../../../conf/nginx.conf");
        let conf = configure(place, "nginx.conf", text, &more)?;
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

    fn verify(&self, place: &Place) -> Result<()> {
        verify_files(place)
    }

    fn load(&self, what: &str, place: &Place, seconds: f64) -> Load {
        wrk(what, place, seconds)
    }

    fn loads(&self) -> &'static [(&'static str, f64, f64)] {
        if self.tuned {
            &[("1 KiB", 1.0, 1.0), ("20 KiB", 1.0, 1.0)]
        } else {
            &[
                ("1 KiB", 1.35, 0.70),
                ("20 KiB", 1.18, 0.85),
                ("100 KiB", 1.03, 0.95),
            ]
        }
    }

    fn version_flag(&self) -> &'static str {
        "-v"
    }
}
