//! The contract for a C program: vfork and exec, which Rust does not have,
//! system, popen.

use esca_abi::stats::Counter;
use esca_suite::build;
use esca_suite::dir::Dir;
use esca_suite::http::dial;
use esca_suite::mode::{Mode, policies};
use esca_suite::scenario::{take, to_end};
use esca_suite::server::Server;
use esca_suite::{assert_same, eventually};
use std::io::Write;
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;

fn session(mode: Mode, program: &Path, dir: &Dir) {
    let path = dir.write("port", "");
    let out = std::fs::File::create(&path).expect("a file");
    let mut server = Server::spawn(mode, Command::new(program).stdout(out));
    let port = eventually("the program's port", || {
        let line = std::fs::read_to_string(&path).ok()?;
        line.strip_suffix('\n')?.parse().ok()
    });
    let mut stream = dial(port, None);
    for round in 0..9 {
        stream.write_all(b"g").expect("a turn");
        let want = b"before\nchild\nafter\n";
        let got = take(&mut stream, want.len());
        assert_same(&format!("{mode:?}, round {round}"), want, &got);
    }
    stream.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(to_end(&mut stream), (Vec::new(), "end"));
    let status = server.wait().expect("the program's end");
    assert!(status.success(), "{status}");
    server.assert_aggregated();
    if let Some(stats) = &server.stats {
        assert!(stats.get(Counter::Deferred) > 0);
    }
}

#[test]
fn vfork_system_and_popen_take_nothing_along() {
    let dir = Dir::new();
    let program = build::c_program(
        "crates/suite/tests/c/vfork.c",
        &dir,
        &["-D_FORTIFY_SOURCE=2"],
    );
    session(Mode::Plain, &program, &dir);
    for mode in policies() {
        session(mode, &program, &dir);
    }
}
