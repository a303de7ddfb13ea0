//! curl, the one client of the matrix: under ESCA itself, against an nginx and
//! a sink that run without.

use super::nginx;
use crate::client::tool;
use crate::{Piece, Program, Run};
use esca_suite::assert_same;
use esca_suite::build::output_of;
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::site::{SIZES, Site, content};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// The program.
pub struct Curl;

/// Uploads, one after the other on one connection.
const UPLOADS: [usize; 5] = [1, 1000, 60_000, 400_000, 4 << 20];

/// Takes the uploads of one connection; what came.
fn sink(listener: &TcpListener) -> Vec<Piece> {
    let (mut stream, _) = listener.accept().expect("a connection");
    stream
        .set_read_timeout(Some(esca_suite::DEADLINE))
        .expect("a timeout");
    let mut seen = Vec::new();
    for n in UPLOADS {
        seen.push((format!("upload {n}: head"), head(&mut stream)));
        let mut body = vec![0; n];
        stream.read_exact(&mut body).expect("the body");
        seen.push((format!("upload {n}: body"), body));
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        stream.write_all(reply).expect("a reply");
    }
    seen
}

/// A request's head, without the port, which is drawn by lot.
fn head(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the head");
        all.extend(byte);
    }
    let text = String::from_utf8_lossy(&all);
    let kept = text.lines().filter(|l| !l.starts_with("Host:"));
    kept.collect::<Vec<_>>().join("\n").into_bytes()
}

/// Waits for a sink's pieces.
fn drained(pieces: &Receiver<Vec<Piece>>) -> Vec<Piece> {
    let came = pieces.recv_timeout(esca_suite::DEADLINE);
    came.expect("every upload came")
}

impl Program for Curl {
    fn name(&self) -> &'static str {
        "curl"
    }

    fn package(&self) -> &'static str {
        "curl"
    }

    fn checked(&self) -> &'static str {
        "as a client: 28 downloads in parallel to 8 MiB, 5 uploads to 4 MiB"
    }

    fn nothing(&self, _policy: &str) -> Option<&'static str> {
        Some("a client of one connection for each transfer: it sends once and waits.")
    }

    fn small(&self) -> bool {
        true
    }

    fn run(&self, mode: Mode) -> Run {
        let (site, dir) = (Site::new(), Dir::new());
        let nginx = nginx::plain(&site);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let sink_port = listener.local_addr().expect("an address").port();

        let mut curl = tool("curl");
        let stats = mode.apply(&mut curl);
        curl.args(["-sS", "--fail", "--parallel", "--parallel-max", "7"]);
        let file = |round: usize, size: usize| dir.path().join(format!("{round}-{size}"));
        for round in 0..2 {
            for size in SIZES {
                curl.arg("-o").arg(file(round, size));
                curl.arg(format!("http://127.0.0.1:{}/{size}", nginx.port));
            }
        }
        output_of(&mut curl);
        let mut seen = Vec::new();
        for (round, size) in (0..2).flat_map(|round| SIZES.map(|size| (round, size))) {
            let body = std::fs::read(file(round, size)).expect("a download");
            assert_same("a download", &content(size), &body);
            seen.push((format!("download {size}"), body));
        }

        let (tell, pieces) = channel();
        std::thread::spawn(move || tell.send(sink(&listener)));
        let mut curl = tool("curl");
        let under = mode.apply(&mut curl);
        curl.args(["-sS", "--fail", "-H", "Expect:"]);
        for n in UPLOADS {
            let file = dir.write(&format!("upload-{n}"), content(n));
            curl.arg("-T").arg(file);
            curl.arg(format!("http://127.0.0.1:{sink_port}/{n}"));
        }
        seen.push(("replies".into(), output_of(&mut curl)));
        seen.extend(drained(&pieces));
        drop(under);
        Run {
            requests: (2 * SIZES.len() + UPLOADS.len()) as u64,
            seen,
            stats,
        }
    }
}
