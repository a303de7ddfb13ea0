//! `esca stat` on a terminal: a screen that renews itself, ends when it is
//! told to, and leaves the terminal as it was.

use esca_suite::http::Http;
use esca_suite::mode::{Mode, library};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::site::{Site, content};
use esca_suite::{DEADLINE, assert_same, build};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

/// Sequences that a terminal understands: to the other screen, and back.
const TO_SCREEN: &str = "\x1b[?1049h";
const BACK: &str = "\x1b[?1049l";

/// `esca stat` on a terminal of 100 x 40.
struct Terminal {
    us: File,
    /// Held, so that the terminal outlives the command.
    side: File,
    before: Termios,
    command: Child,
    said: String,
}

impl Terminal {
    fn start(pid: &str) -> Terminal {
        let us = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&us)
            .and_then(|()| unlockpt(&us))
            .expect("a terminal");
        let name = ptsname(&us, Vec::new()).expect("its name");
        let name = name.to_str().expect("a path");
        let side = File::options().read(true).write(true).open(name);
        let side = side.expect("its other side");
        let size = Winsize {
            ws_row: 40,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&side, size).expect("its size");
        // Before the program is there to change them.
        let before = tcgetattr(&side).expect("its modes");
        let end = || OwnedFd::from(side.try_clone().expect("a descriptor"));
        let command = Command::new(build::workspace().join("target/release/esca"))
            .args(["stat", pid, "--interval", "0.1"])
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("esca");
        Terminal {
            us: us.into(),
            before,
            side,
            command,
            said: String::new(),
        }
    }

    /// Takes what is shown until `part` was: one word, as blanks are not drawn.
    fn until(&mut self, part: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.said.contains(part) {
            assert!(Instant::now() < end, "no {part:?} in {:.4000?}", self.said);
            self.take(100);
        }
    }

    fn take(&mut self, milliseconds: i64) {
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: milliseconds * 1_000_000,
        };
        let mut ready = [PollFd::new(&self.us, PollFlags::IN)];
        if poll(&mut ready, Some(&time)).expect("poll") > 0 {
            let mut bytes = [0; 65536];
            let n = self.us.read(&mut bytes).expect("what is shown");
            self.said.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }

    /// Its end; the terminal must be as it was.
    fn end(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            // A full terminal would keep it from ending.
            self.take(20);
            if let Some(status) = self.command.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() > end {
                self.command.kill().expect("its end");
                panic!("it does not end: {:?}", self.said);
            }
        };
        self.take(20);
        let after = tcgetattr(&self.side).expect("its modes");
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        assert!(self.said.contains(TO_SCREEN), "{:?}", self.said);
        let last = self.said.rfind(BACK).expect("back from the screen");
        (status, self.said[last..].into())
    }
}

fn nginx(site: &Site) -> Nginx {
    let library = library();
    let env = [("LD_PRELOAD", library.to_str().expect("a path"))];
    let conf = Conf {
        http: "sendfile on;",
        env: &env,
        ..Conf::default()
    };
    Nginx::start(Mode::Plain, site.path(), conf)
}

#[test]
fn a_key_ends_the_screen() {
    let site = Site::new();
    let nginx = nginx(&site);
    let pid = nginx.pid().as_raw_nonzero().to_string();
    let mut http = Http::new(nginx.port);
    for key in ["q", "\x1b", "\x03"] {
        let mut terminal = Terminal::start(&pid);
        for part in ["coalesce", "requests/s", "small-file", "processes"] {
            terminal.until(part);
        }
        assert_same("a file", &content(1024), &http.get("/1024").body);
        // Renewed: the new figure is drawn.
        terminal.until("now");
        terminal.us.write_all(key.as_bytes()).expect("the key");
        let (status, _) = terminal.end();
        assert!(status.success(), "{key:?}: {status}");
    }
}

#[test]
fn the_servers_end_is_the_screens() {
    let site = Site::new();
    let mut nginx = nginx(&site);
    let pid = nginx.pid().as_raw_nonzero().to_string();
    let mut terminal = Terminal::start(&pid);
    terminal.until("requests/s");
    nginx.process().stop(Signal::TERM);
    let (status, after) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert!(
        after.contains(&format!("esca: process {pid} (nginx) has ended")),
        "{after:?}"
    );
}
