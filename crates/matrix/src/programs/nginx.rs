//! nginx, static files, with the two options that Debian's nginx.conf sets.

use crate::service::assert_calm;
use crate::{Program, Run, web};
use esca_suite::mode::{Mode, Stats};
use esca_suite::nginx::{Conf, Nginx as Running};
use esca_suite::site::Site;
use rustix::process::Signal;

/// The program.
pub struct Nginx;

/// What Debian's nginx.conf says.
pub const DEBIAN: &str = "sendfile on;\ntcp_nopush on;\n";

impl Program for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn package(&self) -> &'static str {
        "nginx"
    }

    fn checked(&self) -> &'static str {
        "static files to 1 MiB, 24 keep-alive clients"
    }

    fn run(&self, mode: Mode) -> Run {
        let site = Site::new();
        let conf = Conf {
            http: DEBIAN,
            workers: 2,
            ..Conf::default()
        };
        let mut nginx = Running::start(mode, site.path(), conf);
        let (seen, requests) = web::session(nginx.port);
        Run {
            seen,
            requests,
            stats: end(&mut nginx),
        }
    }
}

/// One that runs without ESCA, for programs that need a server.
pub fn plain(site: &Site) -> Running {
    let conf = Conf {
        http: DEBIAN,
        ..Conf::default()
    };
    Running::start(Mode::Plain, site.path(), conf)
}

/// Asks it to end, and looks at its log.
pub fn end(nginx: &mut Running) -> Option<Stats> {
    nginx.process().stop(Signal::QUIT);
    assert_calm(&nginx.dir().join("error.log"));
    nginx.process().stats.take()
}
