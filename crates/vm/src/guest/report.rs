//! Lines to the tool, over the second serial port.

use esca_vm::{Figure, Line, PORT};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// The way to the tool.
pub struct Report {
    port: File,
    passed: u32,
    failed: u32,
}

/// What the last panic said: its hook runs in whatever thread it was.
static SAID: Mutex<String> = Mutex::new(String::new());

impl Report {
    /// Opens the port.
    pub fn open() -> Report {
        let port = File::options().write(true).read(true).open(PORT);
        let port = port.expect("the second serial port");
        let mut mode = tcgetattr(&port).expect("a terminal");
        mode.make_raw();
        tcsetattr(&port, OptionalActions::Now, &mode).expect("raw mode");
        std::panic::set_hook(Box::new(|info| {
            let text = info.to_string();
            // Into the kernel's log; a child may have closed its own output.
            let _ = std::fs::write("/dev/console", format!("{text}\n"));
            let mut said = SAID.lock().unwrap_or_else(|e| e.into_inner());
            if said.is_empty() {
                *said = text;
            }
        }));
        Report {
            port,
            passed: 0,
            failed: 0,
        }
    }

    fn line(&mut self, line: &Line) {
        let mut text = serde_json::to_string(line).expect("JSON");
        text.push('\n');
        self.port
            .write_all(text.as_bytes())
            .expect("the serial port");
        rustix::termios::tcdrain(&self.port).expect("the serial port");
    }

    /// Runs a test, which panics if it fails.
    pub fn run(&mut self, name: &str, test: impl FnOnce()) {
        self.test(name, |_| test());
    }

    /// The same for a test that has something to report itself.
    pub fn test(&mut self, name: &str, test: impl FnOnce(&mut Report)) {
        self.line(&Line::Start(name.into()));
        SAID.lock().unwrap_or_else(|e| e.into_inner()).clear();
        let done = catch_unwind(AssertUnwindSafe(|| test(self)));
        let said = SAID.lock().unwrap_or_else(|e| e.into_inner()).clone();
        // A panic of another thread counts although this one did not see it.
        if done.is_ok() && said.is_empty() {
            self.passed += 1;
            self.line(&Line::Passed(name.into()));
        } else {
            self.failed += 1;
            self.line(&Line::Failed(name.into(), said));
        }
    }

    /// Says something.
    pub fn note(&mut self, text: impl Into<String>) {
        self.line(&Line::Note(text.into()));
    }

    /// Tells a figure.
    pub fn figure(&mut self, what: &str, how: &str, batch: u32, unit: &str, value: f64) {
        self.measured(what, how, batch, unit, (value, None));
    }

    /// Tells a figure and its spread.
    pub fn measured(
        &mut self,
        what: &str,
        how: &str,
        batch: u32,
        unit: &str,
        (value, spread): (f64, Option<f64>),
    ) {
        self.line(&Line::Figure(Figure {
            what: what.into(),
            how: how.into(),
            batch,
            unit: unit.into(),
            value,
            spread,
        }));
    }

    /// Says what time it is and that all was run.
    pub fn end(&mut self) {
        let uptime = std::fs::read_to_string("/proc/uptime").expect("the uptime");
        let seconds = uptime.split(' ').next().and_then(|s| s.parse().ok());
        self.line(&Line::Clock(seconds.expect("seconds")));
        self.line(&Line::End(self.passed, self.failed));
    }
}
