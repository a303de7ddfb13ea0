//! Node.js: its http module, which writes head and body in pieces.

use crate::service::Service;
use crate::{Program, Run, web};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::site::Site;
use rustix::process::Signal;
use std::process::Command;

/// The program.
pub struct Node;

/// Small bodies in one piece, larger ones in several, the largest piped from
/// the file.
const APP: &str = r"
const http = require('http'), fs = require('fs');
const [root, port] = process.argv.slice(2);
const server = http.createServer((req, res) => {
  const path = root + req.url, size = fs.statSync(path).size;
  res.setHeader('Content-Type', 'application/octet-stream');
  if (size > 100000) {
    res.setHeader('Content-Length', size);
    fs.createReadStream(path).pipe(res);
    return;
  }
  const body = fs.readFileSync(path);
  res.flushHeaders();
  for (let at = 0; at < size; at += 1024) res.write(body.subarray(at, at + 1024));
  res.end();
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), '127.0.0.1');
process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeAllConnections(); });
";

impl Program for Node {
    fn name(&self) -> &'static str {
        "Node.js"
    }

    fn package(&self) -> &'static str {
        "nodejs"
    }

    fn checked(&self) -> &'static str {
        "an http server that answers in pieces of 1 KiB, bodies to 1 MiB, 24 keep-alive clients"
    }

    fn run(&self, mode: Mode) -> Run {
        let (site, dir, port) = (Site::new(), Dir::new(), port::free());
        let mut command = Command::new("node");
        command
            .arg(dir.write("app.js", APP))
            .arg(site.path())
            .arg(port.to_string());
        let server = Service::start(mode, port, &dir, &mut command);
        web::run(server, Signal::TERM)
    }
}
