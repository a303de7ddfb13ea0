//! Debian's nginx with a configuration of the test's own.

use crate::dir::Dir;
use crate::mode::Mode;
use crate::port;
use crate::server::Server;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

/// What a test says in nginx.conf.
#[derive(Clone, Copy, Default)]
pub struct Conf<'a> {
    /// Lines in `http { }`.
    pub http: &'a str,
    /// Lines in `server { }`.
    pub server: &'a str,
    /// What follows the port in `listen`.
    pub listen: &'a str,
    /// Worker processes; 0 means 1.
    pub workers: u32,
    /// Its environment, beside what the mode sets.
    pub env: &'a [(&'a str, &'a str)],
}

/// A running nginx: master and workers.
pub struct Nginx {
    server: Server,
    dir: Dir,
}

impl Nginx {
    /// Starts it.
    #[must_use]
    pub fn start(mode: Mode, root: &Path, conf: Conf<'_>) -> Nginx {
        let dir = Dir::new();
        let port = port::free();
        let (at, root) = (dir.path().display(), root.display());
        let Conf {
            http,
            server,
            listen,
            workers,
            env,
        } = conf;
        let workers = workers.max(1);
        let log = if http.contains("access_log") {
            ""
        } else {
            "access_log off;"
        };
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let file = dir.write(
            "nginx.conf",
            format!(
                "daemon off;\nworker_processes {workers};\npid {at}/pid;\n\
                 error_log {at}/error.log notice;\nevents {{ worker_connections 512; }}\n\
                 http {{\n{log}\ndefault_type text/plain;\n{temp}{http}\n\
                 server {{\nlisten 127.0.0.1:{port} {listen};\nroot {root};\n{server}\n}}\n}}\n"
            ),
        );
        let mut command = Command::new("nginx");
        command.envs(env.iter().copied());
        command.arg("-e").arg(dir.path().join("error.log"));
        command.arg("-c").arg(file).arg("-p").arg(dir.path());
        let server = Server::start(mode, port, &mut command);
        Nginx { server, dir }
    }

    /// Its directory, with the logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server's process, to stop it.
    pub fn process(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Deref for Nginx {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.dir.path().join("error.log"))
        {
            eprintln!("nginx's error log:\n{log}");
        }
    }
}
