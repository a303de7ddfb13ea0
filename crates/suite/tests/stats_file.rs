//! The file that `ESCA_STATS` names: whose counts stand in it in the end, and
//! what becomes of links and devices of that name.

use esca_suite::build::c_program;
use esca_suite::dir::Dir;
use esca_suite::eventually;
use esca_suite::http::dial;
use esca_suite::mode::Mode;
use esca_suite::scenario::take;
use esca_suite::server::Server;
use serde_json::Value as Json;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A master with workers that serve one client each, and its statistics' file.
struct Trial {
    dir: Dir,
    program: PathBuf,
    file: PathBuf,
}

impl Trial {
    fn new() -> Trial {
        let dir = Dir::new();
        Trial {
            program: c_program("crates/suite/tests/c/master.c", &dir, &[]),
            file: dir.path().join("stats.json"),
            dir,
        }
    }

    /// Runs the program behind `wrapper`, serves all workers, waits for the
    /// end. An argument of the wrapper may name the program.
    fn run(&self, wrapper: &[&str], workers: usize) {
        let program = self.program.to_str().expect("a path");
        let line = format!("{program} {workers}");
        let mut words: Vec<String> = wrapper.iter().map(|w| w.replace("CMD", &line)).collect();
        if !wrapper.iter().any(|w| w.contains("CMD")) {
            words.extend([program.into(), workers.to_string()]);
        }
        let path = self.dir.write("port", "");
        let out = std::fs::File::create(&path).expect("a file");
        let mut command = Command::new(&words[0]);
        Mode::Esca("coalesce").apply(&mut command);
        command
            .args(&words[1..])
            .env_remove("ESCA_STATS_SHM")
            .env("ESCA_STATS", &self.file)
            .stdout(out);
        let mut server = Server::spawn(Mode::Plain, &mut command);
        let port = eventually("the program's port", || {
            let line = std::fs::read_to_string(&path).ok()?;
            line.strip_suffix('\n')?.parse().ok()
        });
        for _ in 0..workers {
            let mut stream = dial(port, None);
            for _ in 0..9 {
                stream.write_all(b"t").expect("a turn");
                assert_eq!(take(&mut stream, 8), b"one two ");
            }
        }
        let status = server.wait().expect("the program's end");
        assert!(status.success(), "{status}");
    }

    fn json(&self) -> Json {
        read(&self.file)
    }
}

fn read(file: &Path) -> Json {
    let text = std::fs::read_to_string(file).expect("the file");
    serde_json::from_str(&text).expect("whole JSON")
}

fn number(of: &Json) -> u64 {
    of.as_u64().expect("a number")
}

#[test]
fn what_starts_a_server_does_not_overwrite_what_it_counted() {
    let trial = Trial::new();
    let wrappers: [&[&str]; 6] = [
        &["timeout", "60"],
        &["sh", "-c", "CMD"],
        &["sh", "-c", "CMD; true"],
        &["env", "A=b"],
        &["timeout", "60", "sh", "-c", "CMD; true"],
        &["sh", "-c", "timeout 60 env A=b CMD; timeout 60 true"],
    ];
    for wrapper in wrappers {
        let _ = std::fs::remove_file(&trial.file);
        trial.run(wrapper, 1);
        let json = trial.json();
        assert_eq!(number(&json["processes"]), 1, "{wrapper:?}");
        assert!(number(&json["operations"]["deferred"]) > 0, "{wrapper:?}");
    }
}

#[test]
fn a_process_that_never_waited_writes_nothing() {
    let trial = Trial::new();
    let mut command = Command::new("true");
    Mode::Esca("coalesce").apply(&mut command);
    command.env("ESCA_STATS", &trial.file);
    assert!(command.status().expect("true").success());
    assert!(!trial.file.exists());
}

#[test]
fn a_master_writes_what_its_workers_counted() {
    // The workers are killed: nobody else is left to write.
    let trial = Trial::new();
    std::fs::write(&trial.file, "of an earlier run").expect("a file");
    trial.run(&[], 3);
    let json = trial.json();
    assert_eq!(number(&json["processes"]), 3);
    // All but the first of each worker: the engine was not there before.
    assert_eq!(number(&json["requests"]["answered"]), 24);
    let entries = std::fs::read_dir(trial.dir.path()).expect("the folder");
    let left = entries
        .map(|e| e.expect("an entry").file_name())
        .filter(|n| n.to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0, "nothing but the file is left");
}

#[test]
fn links_and_devices_of_that_name_stay_as_they_are() {
    let trial = Trial::new();
    let victim = trial.dir.write("victim", "precious");
    symlink(&victim, &trial.file).expect("a link");
    // The name that others could foresee, too.
    let tmp = trial.dir.path().join("stats.json.tmp");
    symlink(&victim, &tmp).expect("a link");
    trial.run(&[], 1);
    assert!(trial.file.is_symlink() && tmp.is_symlink());
    assert_eq!(std::fs::read(&victim).expect("the file"), b"precious");

    std::fs::remove_file(&trial.file).expect("removed");
    let mut fifo = Command::new("mkfifo");
    let made = fifo.arg(&trial.file).status().expect("mkfifo");
    assert!(made.success());
    trial.run(&[], 1);
    let meta = trial.file.symlink_metadata().expect("the pipe");
    assert!(meta.file_type().is_fifo());
}
