//! A program that listens: started with its output in a file, asked to end,
//! and its end and its complaints looked at.

use crate::Piece;
use esca_suite::dir::Dir;
use esca_suite::mode::{Mode, Stats};
use esca_suite::server::Server;
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Words in a program's output or log that mean something went wrong, in any
/// case of letters. The first is the library's own, the second ld.so's.
const COMPLAINTS: [&str; 11] = [
    "esca:",
    "ld_preload",
    "[error]",
    "[alert]",
    "[crit]",
    "[emerg]",
    "traceback",
    "segfault",
    "segmentation",
    "assert",
    "panic",
];

/// A running program.
pub struct Service {
    server: Server,
    logs: Logs,
}

/// A program's logs, shown when a run fails.
struct Logs(Vec<PathBuf>);

impl Service {
    /// Starts a server and waits until it takes connections. What it prints
    /// goes to the file `output` of the directory.
    #[must_use]
    pub fn start(mode: Mode, port: u16, dir: &Dir, command: &mut Command) -> Service {
        let output = dir.write("output", "");
        let open = || {
            let file = OpenOptions::new().append(true).open(&output);
            Stdio::from(file.expect("the output's file"))
        };
        command.stdin(Stdio::null()).stdout(open()).stderr(open());
        // First, so that a start that fails is explained.
        let logs = Logs(vec![output.clone()]);
        let server = Server::start(mode, port, command);
        Service { server, logs }
    }

    /// Looks at another log of the program too.
    #[must_use]
    pub fn logs_to(mut self, path: impl AsRef<Path>) -> Service {
        self.logs.0.push(path.as_ref().to_owned());
        self
    }

    /// The running process.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Asks it to end. How it ends is one more piece, to be the same as
    /// without ESCA; a complaint in its logs fails the run.
    #[must_use]
    pub fn end(mut self, signal: Signal, seen: &mut Vec<Piece>) -> Option<Stats> {
        self.server.signal(signal);
        let status = self.server.wait().expect("it ends when asked to");
        let how = (status.code(), status.signal());
        seen.push(("exit status".into(), format!("{how:?}").into_bytes()));
        for log in &self.logs.0 {
            assert_calm(log);
        }
        self.server.stats.take()
    }
}

/// Asserts that a log has no complaint.
pub fn assert_calm(log: &Path) {
    let text = read(log);
    let bad = |line: &&str| {
        let line = line.to_lowercase();
        COMPLAINTS.iter().any(|word| line.contains(word))
    };
    if let Some(line) = text.lines().find(bad) {
        panic!("it complains: {line}");
    }
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

impl Drop for Logs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in &self.0 {
                let text = read(log);
                let from = text.len().saturating_sub(4000);
                let tail = text.get(from..).unwrap_or(&text);
                eprintln!("{}:\n{tail}", log.display());
            }
        }
    }
}
