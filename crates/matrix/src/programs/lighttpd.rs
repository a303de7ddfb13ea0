//! lighttpd, static files.

use crate::service::Service;
use crate::{Program, Run, web};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::site::Site;
use rustix::process::Signal;
use std::process::Command;

/// The program.
pub struct Lighttpd;

impl Program for Lighttpd {
    fn name(&self) -> &'static str {
        "lighttpd"
    }

    fn package(&self) -> &'static str {
        "lighttpd"
    }

    fn checked(&self) -> &'static str {
        "static files to 1 MiB, 24 keep-alive clients"
    }

    fn run(&self, mode: Mode) -> Run {
        session(mode, |_| {}, |_| {})
    }
}

/// Starts it, once `prepare` saw the command, shows it to `look`, has it serve,
/// and stops it.
pub fn session(mode: Mode, prepare: impl FnOnce(&mut Command), look: impl FnOnce(&Service)) -> Run {
    let (site, dir, port) = (Site::new(), Dir::new(), port::free());
    let conf = dir.write(
        "lighttpd.conf",
        format!(
            "server.document-root = \"{}\"\nserver.port = {port}\n\
             server.bind = \"127.0.0.1\"\n\
             mimetype.assign = (\"\" => \"text/plain\")\n",
            site.path().display(),
        ),
    );
    let mut command = Command::new("lighttpd");
    command.arg("-D").arg("-f").arg(conf);
    prepare(&mut command);
    let server = Service::start(mode, port, &dir, &mut command);
    look(&server);
    web::run(server, Signal::INT)
}
