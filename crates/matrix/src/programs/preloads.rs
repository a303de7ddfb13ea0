//! ESCA beside other preloaded libraries: behind one, and before another.

use super::{lighttpd, redis};
use crate::service::Service;
use crate::{Program, Run};
use esca_suite::mode::{Mode, library};
use std::ffi::OsString;

/// lighttpd with another allocator, which stands before ESCA.
pub struct Jemalloc;

/// Redis with an append-only file and a library behind ESCA that interposes
/// open, fsync and their kin.
pub struct EatMyData;

impl Program for Jemalloc {
    fn name(&self) -> &'static str {
        "lighttpd with jemalloc preloaded"
    }

    fn package(&self) -> &'static str {
        "libjemalloc2"
    }

    fn checked(&self) -> &'static str {
        "LD_PRELOAD=libjemalloc.so.2:libesca_preload.so, static files as above"
    }

    fn run(&self, mode: Mode) -> Run {
        const OTHER: &str = "libjemalloc.so.2";
        let mut preload = OsString::from(OTHER);
        if mode != Mode::Plain {
            preload.push(":");
            preload.push(library());
        }
        let prepare = |c: &mut _| with_preload(c, preload);
        lighttpd::session(mode, prepare, |s| assert_loaded(s, OTHER))
    }
}

impl Program for EatMyData {
    fn name(&self) -> &'static str {
        "Redis with eatmydata preloaded"
    }

    fn package(&self) -> &'static str {
        "libeatmydata1"
    }

    fn checked(&self) -> &'static str {
        "LD_PRELOAD=libesca_preload.so:libeatmydata.so, appendfsync always, commands as above"
    }

    fn nothing(&self, policy: &str) -> Option<&'static str> {
        redis::Redis.nothing(policy)
    }

    fn run(&self, mode: Mode) -> Run {
        const OTHER: &str = "libeatmydata.so";
        let prepare = |c: &mut std::process::Command| {
            c.args(["--appendonly", "yes", "--appendfsync", "always"]);
            with_preload(c, OTHER.into());
        };
        redis::session(mode, prepare, |s| assert_loaded(s, OTHER))
    }
}

/// Has a command preload this; the mode puts ESCA first if it isn't named.
fn with_preload(command: &mut std::process::Command, preload: OsString) {
    command.env("LD_PRELOAD", preload);
}

fn assert_loaded(service: &Service, library: &str) {
    let pid = service.server().pid().as_raw_nonzero();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
    assert!(maps.contains(library), "{library} was not loaded");
}
