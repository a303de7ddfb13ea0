//! The contract for C programs: vfork and exec, which Rust does not have,
//! system, popen; the checked forms of calls that a C compiler makes.

use esca_abi::stats::Counter;
use esca_suite::build;
use esca_suite::dir::Dir;
use esca_suite::http::dial;
use esca_suite::mode::{Mode, policies};
use esca_suite::scenario::{take, to_end};
use esca_suite::server::Server;
use esca_suite::{assert_same, eventually};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;

/// Starts the program, which says its port.
fn start(mode: Mode, command: &mut Command, dir: &Dir) -> (Server, TcpStream) {
    let path = dir.write("port", "");
    let out = std::fs::File::create(&path).expect("a file");
    let server = Server::spawn(mode, command.stdout(out));
    let port = eventually("the program's port", || {
        let line = std::fs::read_to_string(&path).ok()?;
        line.strip_suffix('\n')?.parse().ok()
    });
    (server, dial(port, None))
}

/// The peer is done; so is the program.
fn finish(mut server: Server, mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(to_end(&mut stream), (Vec::new(), "end"));
    let status = server.wait().expect("the program's end");
    assert!(status.success(), "{status}");
    server.assert_aggregated();
    if let Some(stats) = &server.stats {
        assert!(stats.get(Counter::Deferred) > 0);
    }
}

fn session(mode: Mode, program: &Path, dir: &Dir) {
    let (server, mut stream) = start(mode, &mut Command::new(program), dir);
    for round in 0..9 {
        stream.write_all(b"g").expect("a turn");
        let want = b"before\nchild\nafter\n";
        let got = take(&mut stream, want.len());
        assert_same(&format!("{mode:?}, round {round}"), want, &got);
    }
    finish(server, stream);
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

#[test]
fn the_checked_forms_are_the_calls() {
    let dir = Dir::new();
    let fortify = &["-D_FORTIFY_SOURCE=2"];
    let program = build::c_program("crates/suite/tests/c/fortified.c", &dir, fortify);
    let symbols = build::run(Command::new("nm").arg("-D").arg(&program));
    for name in ["__poll_chk", "__read_chk", "__recv_chk"] {
        assert!(symbols.contains(name), "the compiler did not use {name}");
    }
    for mode in [Mode::Plain].into_iter().chain(policies()) {
        let (server, mut stream) = start(mode, Command::new(&program).arg("64"), &dir);
        for round in 0..20 {
            let ask = format!("round {round}");
            stream.write_all(ask.as_bytes()).expect("a turn");
            let want = format!("echo {ask}").into_bytes();
            let got = take(&mut stream, want.len());
            assert_same(&format!("{mode:?}, round {round}"), &want, &got);
        }
        let stats = server.stats.as_ref().map(|s| {
            [Counter::CallWait, Counter::CallRead, Counter::RuleDrained].map(|c| s.get(c))
        });
        finish(server, stream);
        if let Some([waits, reads, drained]) = stats {
            // Of the first round nothing is known yet.
            assert!(waits >= 20 && reads >= 40 && drained >= 19, "{mode:?}");
        }
    }
}
