//! Varnish in front of an nginx that runs without ESCA: misses, then hits.

use super::nginx;
use crate::service::Service;
use crate::{Program, Run, web};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::site::Site;
use rustix::process::Signal;
use std::process::Command;

/// The program.
pub struct Varnish;

impl Program for Varnish {
    fn name(&self) -> &'static str {
        "Varnish"
    }

    fn package(&self) -> &'static str {
        "varnish"
    }

    fn checked(&self) -> &'static str {
        "cache of an nginx, bodies to 1 MiB, 24 keep-alive clients"
    }

    fn nothing(&self, _policy: &str) -> Option<&'static str> {
        Some("a thread serves one connection, answers by one writev, and waits.")
    }

    fn run(&self, mode: Mode) -> Run {
        let (site, dir, port) = (Site::new(), Dir::new(), port::free());
        let nginx = nginx::plain(&site);
        let mut command = Command::new("varnishd");
        command
            .args(["-F", "-n"])
            .arg(dir.path().join("work"))
            .args(["-a", &format!("127.0.0.1:{port}")])
            .args(["-b", &format!("127.0.0.1:{}", nginx.port)])
            .args(["-s", "malloc,64m", "-p", "vsl_space=1m"]);
        let server = Service::start(mode, port, &dir, &mut command);
        web::run(server, Signal::TERM)
    }
}
