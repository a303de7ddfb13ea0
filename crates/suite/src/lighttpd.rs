//! lighttpd on a site of files.

use crate::dir::Dir;
use crate::mode::Mode;
use crate::port;
use crate::server::Server;
use crate::site::Site;
use std::process::Command;

/// Starts it with `settings` beside those that every test needs; the
/// directory has its configuration and log, and goes with the value.
#[must_use]
pub fn start(mode: Mode, site: &Site, settings: &str) -> (Server, Dir) {
    let dir = Dir::new();
    let port = port::free();
    let (at, root) = (dir.path().display(), site.path().display());
    let conf = dir.write(
        "lighttpd.conf",
        format!(
            "server.document-root = \"{root}\"\nserver.port = {port}\n\
             server.bind = \"127.0.0.1\"\nserver.errorlog = \"{at}/error.log\"\n\
             server.upload-dirs = (\"{at}\")\n\
             mimetype.assign = (\"\" => \"text/plain\")\n{settings}\n"
        ),
    );
    let mut command = Command::new("lighttpd");
    command.arg("-D").arg("-f").arg(conf);
    (Server::start(mode, port, &mut command), dir)
}
