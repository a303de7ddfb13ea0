//! OpenSSH: sshd, whose process that talks to the network before the login is
//! jailed by a system call filter that kills.

use crate::client::{together, tool};
use crate::service::Service;
use crate::{Piece, Program, Run};
use esca_suite::build::output_of;
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::site::noise;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program.
pub struct OpenSsh;

/// Sessions at the same time.
const CLIENTS: usize = 4;
/// Files and outputs that each transfers.
const TRANSFERS: usize = 5;

fn key(dir: &Dir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    let mut command = tool("ssh-keygen");
    output_of(
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&path),
    );
    path
}

fn start(mode: Mode, dir: &Dir) -> Service {
    if rustix::process::getuid().is_root() {
        // Made by the service's unit where there is one.
        std::fs::create_dir_all("/run/sshd").expect("/run/sshd");
    }
    let (host, port, at) = (key(dir, "host"), port::free(), dir.path().display());
    let user = key(dir, "user").with_extension("pub");
    let conf = dir.write(
        "sshd_config",
        format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nPidFile {at}/pid\n\
             AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             MaxStartups 100\nMaxSessions 100\nLogLevel VERBOSE\n\
             Subsystem sftp /usr/lib/openssh/sftp-server\n",
            host.display(),
            user.display(),
        ),
    );
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(conf);
    Service::start(mode, port, dir, &mut command)
}

/// A client's command with the options that all of them take.
fn client(program: &str, dir: &Dir, port: u16) -> Command {
    let mut command = tool(program);
    command
        .args(["-q", "-F", "none", "-i"])
        .arg(dir.path().join("user"))
        .arg(format!("-oPort={port}"))
        .arg("-oIdentitiesOnly=yes")
        .arg("-oStrictHostKeyChecking=no")
        .arg("-oUserKnownHostsFile=/dev/null")
        .args(["-oBatchMode=yes", "-oConnectTimeout=30"]);
    command
}

/// One client's use: scp there and back, a command with much output, sftp.
fn session(dir: &Dir, port: u16, i: usize) -> Vec<Piece> {
    let (at, host) = (dir.path().join(format!("client-{i}")), "127.0.0.1");
    std::fs::create_dir(&at).expect("a directory");
    let content = noise(i as u64, 3_000_000 + i);
    std::fs::write(at.join("file"), &content).expect("a file");
    let place = |name: &str| format!("{host}:{}", at.join(name).display());
    let mut seen = Vec::new();
    let mut file = |name: &str| {
        let bytes = std::fs::read(at.join(name)).expect("a file that came over");
        assert!(
            bytes == content,
            "client {i}: {name} is not the file that was sent"
        );
        seen.push((format!("client {i}: {name}"), bytes));
    };
    output_of(
        client("scp", dir, port)
            .arg(at.join("file"))
            .arg(place("there")),
    );
    file("there");
    output_of(
        client("scp", dir, port)
            .arg(place("there"))
            .arg(at.join("back")),
    );
    file("back");
    let batch = at.join("batch");
    let [from, to] = ["there", "fetched"].map(|n| at.join(n).display().to_string());
    std::fs::write(&batch, format!("get {from} {to}\nput {to} {to}-2\n")).expect("a file");
    output_of(client("sftp", dir, port).arg("-b").arg(&batch).arg(host));
    file("fetched");
    file("fetched-2");
    let said = output_of(client("ssh", dir, port).arg(host).arg(lines(&at)));
    seen.push((format!("client {i}: a command's output"), said));
    seen
}

/// A command with much output in many pieces.
fn lines(at: &Path) -> String {
    format!("seq 1 60000; od -An -tx1 {}", at.join("there").display())
}

impl Program for OpenSsh {
    fn name(&self) -> &'static str {
        "OpenSSH"
    }

    fn package(&self) -> &'static str {
        "openssh-server"
    }

    fn checked(&self) -> &'static str {
        "scp there and back, sftp, a command with 9 MB of output; 4 clients"
    }

    fn nothing(&self, _policy: &str) -> Option<&'static str> {
        Some("a process serves one connection and sends what it has by one write, then waits.")
    }

    fn note(&self) -> Option<&'static str> {
        Some(
            "its process before the login is killed for a system call that is not on a list; the \
             library steps aside in it.",
        )
    }

    fn run(&self, mode: Mode) -> Run {
        let dir = Dir::new();
        let server = start(mode, &dir);
        let port = server.server().port;
        let mut seen = together(CLIENTS, |i| session(&dir, port, i)).concat();
        let stats = server.end(Signal::INT, &mut seen);
        Run {
            seen,
            requests: (TRANSFERS * CLIENTS) as u64,
            stats,
        }
    }
}
