//! A process that a test starts and that doesn't outlive it.

use crate::mode::{Mode, Stats};
use crate::{DEADLINE, eventually};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

/// A running server, with the children it has: a process group of its own.
pub struct Server {
    child: Child,
    /// The statistics, when it runs under ESCA.
    pub stats: Option<Stats>,
    /// The port it listens on, when it does.
    pub port: u16,
}

impl Server {
    /// Starts a command.
    #[must_use]
    pub fn spawn(mode: Mode, command: &mut Command) -> Server {
        let stats = mode.apply(command);
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Server {
            child,
            stats,
            port: 0,
        }
    }

    /// Starts a server and waits until it takes connections.
    #[must_use]
    pub fn start(mode: Mode, port: u16, command: &mut Command) -> Server {
        let mut server = Server::spawn(mode, command);
        server.port = port;
        eventually("the server's port", || {
            if let Some(status) = server.child.try_wait().expect("wait") {
                panic!("{command:?} ended: {status}");
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let ended = server.child.try_wait().expect("wait");
        assert!(ended.is_none(), "{command:?}: the port is another's");
        if server.stats.is_some() {
            // ld.so only warns when it cannot load a library.
            let maps = format!("/proc/{}/maps", server.child.id());
            let maps = std::fs::read_to_string(maps).expect("the process's maps");
            let loaded = maps.contains(&crate::mode::library_name());
            assert!(loaded, "the library was not loaded: {command:?}");
        }
        server
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to the process (not to its children).
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a running process");
    }

    /// Waits for the end; `None` when it doesn't come.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return Some(status);
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        None
    }

    /// Asks for a graceful end and waits for it.
    pub fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        let status = self.wait().expect("the server ends when asked to");
        assert!(status.success(), "the server ended: {status}");
    }

    /// Asserts, when it runs under ESCA, that the library was at work:
    /// enough where a server answers each event by one write, in which there
    /// is rightly nothing to aggregate.
    pub fn assert_active(&self) {
        if let Some(stats) = &self.stats {
            stats.assert_active();
        }
    }

    /// Asserts that something was aggregated, when it runs under ESCA.
    pub fn assert_aggregated(&self) {
        if let Some(stats) = &self.stats {
            stats.assert_aggregated();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(stats) = &self.stats
        {
            eprintln!("statistics: {}", stats.describe());
        }
        // Its whole group: a master's workers too. Nobody else is in it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
