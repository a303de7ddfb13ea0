//! Apache httpd, static files, by its event and its prefork module.

use crate::service::Service;
use crate::{Program, Run, web};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::site::Site;
use rustix::process::Signal;
use std::process::Command;

/// The program, with one of its processing modules.
pub struct Apache {
    /// The module.
    pub mpm: &'static str,
}

impl Program for Apache {
    fn name(&self) -> &'static str {
        match self.mpm {
            "event" => "Apache event",
            _ => "Apache prefork",
        }
    }

    fn package(&self) -> &'static str {
        "apache2-bin"
    }

    fn checked(&self) -> &'static str {
        "static files to 1 MiB, EnableSendfile on, 24 keep-alive clients"
    }

    fn run(&self, mode: Mode) -> Run {
        let (site, dir, port) = (Site::new(), Dir::new(), port::free());
        let (at, mpm) = (dir.path().display(), self.mpm);
        let conf = dir.write(
            "httpd.conf",
            format!(
                "ServerRoot {at}\nServerName localhost\nListen 127.0.0.1:{port}\n\
                 PidFile {at}/pid\nErrorLog {at}/error.log\nUser www-data\nGroup www-data\n\
                 DefaultRuntimeDir {at}\nMutex file:{at}\n\
                 LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so\n\
                 LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
                 KeepAliveTimeout 60\nMaxKeepAliveRequests 0\nStartServers 2\n\
                 EnableSendfile On\n\
                 DocumentRoot {root}\n<Directory {root}>\nRequire all granted\n</Directory>\n",
                root = site.path().display()
            ),
        );
        let mut command = Command::new("apache2");
        command.arg("-DFOREGROUND").arg("-f").arg(conf);
        let server =
            Service::start(mode, port, &dir, &mut command).logs_to(dir.path().join("error.log"));
        web::run(server, Signal::TERM)
    }
}
