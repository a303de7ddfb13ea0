//! PHP opens each extension with RTLD_DEEPBIND: what `sockets.so` sends keeps
//! its place among what the executable sends.

use esca_suite::dir::Dir;
use esca_suite::http::dial;
use esca_suite::mode::modes;
use esca_suite::scenario::take;
use esca_suite::server::Server;
use esca_suite::{assert_same, build, eventually};
use std::io::Write;
use std::net::Shutdown;
use std::process::Command;

#[test]
fn an_extension_keeps_its_place_on_the_stream() {
    if Command::new("php").arg("-v").output().is_err() {
        eprintln!("left out: no php");
        return;
    }
    let script = build::workspace().join("crates/suite/tests/c/deep.php");
    for mode in modes() {
        let dir = Dir::new();
        let path = dir.write("port", "");
        let out = std::fs::File::create(&path).expect("a file");
        let mut server = Server::spawn(mode, Command::new("php").arg(&script).stdout(out));
        let port = eventually("the server's port", || {
            let text = std::fs::read_to_string(&path).ok()?;
            text.strip_suffix('\n')?.parse().ok()
        });
        let mut stream = dial(port, None);
        for round in 0..50 {
            stream.write_all(b"turn").expect("a turn");
            let want = b"header body end\n";
            let got = take(&mut stream, want.len());
            assert_same(&format!("{mode:?}, round {round}"), want, &got);
        }
        stream.shutdown(Shutdown::Write).expect("shutdown");
        let status = server.wait().expect("the server's end");
        assert!(status.success(), "{status}");
        server.assert_aggregated();
    }
}
