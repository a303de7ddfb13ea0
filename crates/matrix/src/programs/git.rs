//! git: its own daemon, and its CGI program under lighttpd. Cloned by several
//! clients at the same time, pushed to, and compared object by object.

use crate::client::{together, tool};
use crate::service::Service;
use crate::{Piece, Program, Run};
use esca_suite::build::output_of;
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::site::noise;
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;

/// git daemon.
pub struct Daemon;

/// git http-backend.
pub struct OverHttp;

const GIT: &str = "/usr/bin/git";
const BACKEND: &str = "/usr/lib/git-core/git-http-backend";
const DAEMON: &str = "/usr/lib/git-core/git-daemon";

/// Commits in the repository; clones at the same time, of which each pushes.
const COMMITS: usize = 12;
const CLONES: usize = 4;

/// A command that knows nothing of the user's configuration, with the same
/// identity and dates every time.
fn plain(mut command: Command) -> Command {
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@localhost"),
        ("GIT_COMMITTER_NAME", "A"),
        ("GIT_COMMITTER_EMAIL", "a@localhost"),
        ("GIT_AUTHOR_DATE", "2024-01-01T00:00:00Z"),
        ("GIT_COMMITTER_DATE", "2024-01-01T00:00:00Z"),
        ("GIT_TERMINAL_PROMPT", "0"),
    ] {
        command.env(name, value);
    }
    command
}

fn git(at: &Path, words: &[&str]) -> Vec<u8> {
    let mut command = plain(tool(GIT));
    output_of(command.arg("-C").arg(at).args(words))
}

/// A bare repository that may be pushed to.
fn repository(dir: &Dir) {
    let work = dir.path().join("work");
    std::fs::create_dir(&work).expect("a directory");
    git(&work, &["init", "-q", "-b", "main"]);
    for i in 0..COMMITS {
        for file in 0..4 {
            let bytes = noise((i * 4 + file) as u64, 1000 << (2 * file));
            std::fs::write(work.join(format!("{file}-{}", i % 3)), bytes).expect("a file");
        }
        git(&work, &["add", "."]);
        git(&work, &["commit", "-q", "-m", &format!("commit {i}")]);
    }
    git(dir.path(), &["clone", "-q", "--bare", "work", "repo.git"]);
    let bare = dir.path().join("repo.git");
    git(&bare, &["config", "http.receivepack", "true"]);
    git(&bare, &["config", "daemon.receivepack", "true"]);
}

/// Clones, commits, pushes and fetches; what each clone then holds.
fn session(dir: &Dir, url: &str) -> (Vec<Piece>, u64) {
    let one = |i: usize| {
        let name = format!("clone-{i}");
        git(dir.path(), &["clone", "-q", url, &name]);
        let at = dir.path().join(&name);
        git(&at, &["checkout", "-q", "-b", &name]);
        std::fs::write(at.join("own"), noise(1000 + i as u64, 300_000)).expect("a file");
        git(&at, &["add", "."]);
        git(&at, &["commit", "-q", "-m", &name]);
        git(&at, &["push", "-q", "origin", &name]);
    };
    together(CLONES, one);
    let mut seen = Vec::new();
    for i in 0..CLONES {
        let at = dir.path().join(format!("clone-{i}"));
        git(&at, &["fetch", "-q", "origin"]);
        git(&at, &["fsck", "--strict"]);
        for (what, words) in [
            (
                "references",
                &["for-each-ref", "--format=%(objectname) %(refname)"][..],
            ),
            ("objects", &["rev-list", "--all", "--objects"]),
        ] {
            let said = git(&at, words);
            seen.push((format!("clone {i}: {what}"), said));
        }
        let head = std::fs::read(at.join("3-2")).expect("a file of the clone");
        seen.push((format!("clone {i}: a file"), head));
    }
    (seen, 3 * CLONES as u64)
}

impl Program for Daemon {
    fn name(&self) -> &'static str {
        "git daemon"
    }

    fn package(&self) -> &'static str {
        "git"
    }

    fn checked(&self) -> &'static str {
        "4 clones, pushes and fetches at a time, every object"
    }

    fn nothing(&self, _policy: &str) -> Option<&'static str> {
        Some("it hands each connection, a blocking socket, to a process of its own.")
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, port) = (Dir::new(), port::free());
        repository(&dir);
        let mut command = plain(Command::new(DAEMON));
        command
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", dir.path().display()))
            .arg(dir.path());
        let server = Service::start(mode, port, &dir, &mut command);
        let url = format!("git://127.0.0.1:{port}/repo.git");
        let (mut seen, requests) = session(&dir, &url);
        let stats = server.end(Signal::TERM, &mut seen);
        Run {
            seen,
            requests,
            stats,
        }
    }
}

impl Program for OverHttp {
    fn name(&self) -> &'static str {
        "git over HTTP"
    }

    fn package(&self) -> &'static str {
        "git"
    }

    fn checked(&self) -> &'static str {
        "git-http-backend as lighttpd's CGI program; 4 clones, pushes and fetches at a time, \
         every object"
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, port) = (Dir::new(), port::free());
        repository(&dir);
        let at = dir.path().display();
        let conf = dir.write(
            "lighttpd.conf",
            format!(
                "server.modules = (\"mod_alias\", \"mod_setenv\", \"mod_cgi\")\n\
                 server.document-root = \"{at}\"\nserver.port = {port}\n\
                 server.bind = \"127.0.0.1\"\nalias.url = (\"/git\" => \"{BACKEND}\")\n\
                 setenv.add-environment = (\"GIT_PROJECT_ROOT\" => \"{at}\",\n\
                 \"GIT_HTTP_EXPORT_ALL\" => \"\", \"GIT_CONFIG_GLOBAL\" => \"/dev/null\",\n\
                 \"GIT_CONFIG_SYSTEM\" => \"/dev/null\")\ncgi.assign = (\"\" => \"\")\n"
            ),
        );
        let mut command = Command::new("lighttpd");
        command.arg("-D").arg("-f").arg(conf);
        let server = Service::start(mode, port, &dir, &mut command);
        let url = format!("http://127.0.0.1:{port}/git/repo.git");
        let (mut seen, requests) = session(&dir, &url);
        let stats = server.end(Signal::INT, &mut seen);
        Run {
            seen,
            requests,
            stats,
        }
    }
}
