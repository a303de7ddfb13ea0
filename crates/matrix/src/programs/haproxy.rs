//! HAProxy in front of an nginx that runs without ESCA.

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
pub struct Haproxy;

impl Program for Haproxy {
    fn name(&self) -> &'static str {
        "HAProxy"
    }

    fn package(&self) -> &'static str {
        "haproxy"
    }

    fn checked(&self) -> &'static str {
        "reverse proxy of an nginx, bodies to 1 MiB, 24 keep-alive clients, 2 threads"
    }

    fn small(&self) -> bool {
        true
    }

    fn note(&self) -> Option<&'static str> {
        Some(
            "run as root here. It forbids new threads and processes once it is set up \
             (RLIMIT_NPROC), which binds every other user: then the library cannot have its \
             sweeper and takes nothing into custody, unless haproxy.cfg says \
             `insecure-fork-wanted`.",
        )
    }

    fn run(&self, mode: Mode) -> Run {
        let (site, dir, port) = (Site::new(), Dir::new(), port::free());
        let nginx = nginx::plain(&site);
        let conf = dir.write(
            "haproxy.cfg",
            format!(
                "global\n maxconn 200\n nbthread 2\n\
                 defaults\n mode http\n timeout connect 30s\n timeout client 60s\n \
                 timeout server 60s\n option http-keep-alive\n\
                 frontend in\n bind 127.0.0.1:{port}\n default_backend out\n\
                 backend out\n server nginx 127.0.0.1:{}\n",
                nginx.port
            ),
        );
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(conf);
        let server = Service::start(mode, port, &dir, &mut command);
        web::run(server, Signal::TERM)
    }
}
