//! PHP-FPM behind nginx, both under ESCA.

use super::nginx::{DEBIAN, end};
use crate::service::Service;
use crate::{Program, Run, web};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::port;
use esca_suite::site::Site;
use rustix::process::Signal;
use std::process::Command;

/// The program.
pub struct PhpFpm;

const APP: &str = "<?php
$path = $_SERVER['DOCUMENT_ROOT'] . $_SERVER['REQUEST_URI'];
header('Content-Type: application/octet-stream');
header('Content-Length: ' . filesize($path));
readfile($path);
";

impl Program for PhpFpm {
    fn name(&self) -> &'static str {
        "PHP-FPM behind nginx"
    }

    fn package(&self) -> &'static str {
        "php8.2-fpm"
    }

    fn checked(&self) -> &'static str {
        "a script that sends files to 1 MiB, over FastCGI by TCP, 24 keep-alive clients"
    }

    fn run(&self, mode: Mode) -> Run {
        let (site, dir, port) = (Site::new(), Dir::new(), port::free());
        let at = dir.path().display();
        let app = dir.write("app.php", APP);
        let conf = dir.write(
            "fpm.conf",
            format!(
                "[global]\nerror_log = {at}/error.log\ndaemonize = no\n\
                 [www]\nlisten = 127.0.0.1:{port}\nuser = www-data\ngroup = www-data\n\
                 pm = static\npm.max_children = 4\n"
            ),
        );
        let mut command = Command::new("php-fpm8.2");
        command.arg("-n").arg("-y").arg(conf);
        if rustix::process::getuid().is_root() {
            command.arg("-R");
        }
        let fpm =
            Service::start(mode, port, &dir, &mut command).logs_to(dir.path().join("error.log"));
        let server = format!(
            "location / {{ fastcgi_pass 127.0.0.1:{port};
             fastcgi_param SCRIPT_FILENAME {app};
             fastcgi_param DOCUMENT_ROOT $document_root;
             fastcgi_param REQUEST_URI $request_uri;
             fastcgi_param REQUEST_METHOD $request_method; }}",
            app = app.display()
        );
        let conf = Conf {
            http: DEBIAN,
            server: &server,
            ..Conf::default()
        };
        let mut nginx = Nginx::start(mode, site.path(), conf);
        let (mut seen, requests) = web::session(nginx.port);
        // What is counted is nginx's; php-fpm's own calls are blocking ones.
        let stats = end(&mut nginx);
        drop(fpm.end(Signal::QUIT, &mut seen));
        Run {
            seen,
            requests,
            stats,
        }
    }
}
