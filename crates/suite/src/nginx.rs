//! Debian's nginx with a configuration of the test's own.

use crate::dir::Dir;
use crate::mode::Mode;
use crate::port;
use crate::server::Server;
use std::ffi::OsStr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a test says in nginx.conf.
#[derive(Clone, Copy, Default)]
pub struct Conf<'a> {
    /// Lines outside of every block.
    pub main: &'a str,
    /// Lines in `http { }`.
    pub http: &'a str,
    /// Lines in `server { }`.
    pub server: &'a str,
    /// What follows the port in `listen`.
    pub listen: &'a str,
    /// Worker processes; 0 means 1.
    pub workers: u32,
    /// Connections a worker takes; 0 means 512.
    pub connections: u32,
    /// A program that starts it, with that one's arguments.
    pub under: &'a [&'a str],
    /// Its environment, beside what the mode sets.
    pub env: &'a [(&'a str, &'a str)],
}

/// A running nginx: master and workers.
pub struct Nginx {
    server: Server,
    dir: Dir,
}

impl Nginx {
    /// Starts it and waits until it takes connections.
    #[must_use]
    pub fn start(mode: Mode, root: &Path, conf: Conf<'_>) -> Nginx {
        let (dir, port, mut command) = Nginx::prepare(root, conf);
        let server = Server::start(mode, port, &mut command);
        Nginx { server, dir }
    }

    /// Starts one that `conf` makes a daemon: what is started here ends at
    /// once, and the daemon is the caller's to wait for and to end.
    #[must_use]
    pub fn launch(mode: Mode, root: &Path, conf: Conf<'_>) -> Nginx {
        let (dir, port, mut command) = Nginx::prepare(root, conf);
        let mut server = Server::spawn(mode, &mut command);
        server.port = port;
        let status = server.wait().expect("a daemon leaves");
        assert!(status.success(), "{command:?}: {status}");
        Nginx { server, dir }
    }

    fn prepare(root: &Path, conf: Conf<'_>) -> (Dir, u16, Command) {
        let dir = Dir::new();
        let port = port::free();
        let (at, root) = (dir.path().display(), root.display());
        let Conf {
            main,
            http,
            server,
            listen,
            workers,
            connections,
            under,
            env,
        } = conf;
        let workers = workers.max(1);
        let connections = if connections == 0 { 512 } else { connections };
        let log = if http.contains("access_log") {
            ""
        } else {
            "access_log off;"
        };
        let daemon = if main.contains("daemon") {
            ""
        } else {
            "daemon off;"
        };
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let file = dir.write(
            "nginx.conf",
            format!(
                "{daemon}\nworker_processes {workers};\npid {at}/pid;\n\
                 error_log {at}/error.log notice;\n{main}\nevents {{ worker_connections {connections}; }}\n\
                 http {{\n{log}\ndefault_type text/plain;\n{temp}{http}\n\
                 server {{\nlisten 127.0.0.1:{port} {listen};\nroot {root};\n{server}\n}}\n}}\n"
            ),
        );
        // By its whole path, as it needs to replace itself.
        let nginx = find("nginx");
        let mut words = under.iter().map(OsStr::new).chain([nginx.as_os_str()]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        command.envs(env.iter().copied());
        command.arg("-e").arg(dir.path().join("error.log"));
        command.arg("-c").arg(file).arg("-p").arg(dir.path());
        (dir, port, command)
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

/// A program in PATH.
fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH");
    let mut all = std::env::split_paths(&path).map(|dir| dir.join(name));
    all.find(|p| p.exists())
        .unwrap_or_else(|| panic!("no {name} in PATH"))
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
