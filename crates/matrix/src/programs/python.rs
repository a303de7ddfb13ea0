//! Python: an ASGI application under uvicorn (asyncio), and gunicorn with
//! threads and with uvicorn's worker.

use crate::service::Service;
use crate::{Program, Run, web};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::port;
use esca_suite::site::Site;
use rustix::process::Signal;
use std::process::Command;

/// The asyncio server.
pub struct Uvicorn;

/// The one with processes, with one of its kinds of workers.
pub struct Gunicorn {
    /// The kind.
    pub worker: &'static str,
}

/// The same as ASGI and as WSGI application: bodies in pieces of 64 KiB.
const APP: &str = r#"
import os
ROOT = os.environ["SITE"]

def pieces(path):
    with open(ROOT + path, "rb") as f:
        while piece := f.read(65536):
            yield piece

def length(path):
    return str(os.stat(ROOT + path).st_size)

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    body = list(pieces(path))
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", length(path).encode())]})
    for piece in body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})

def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "application/octet-stream"),
                              ("Content-Length", length(path))])
    return pieces(path)
"#;

fn run(mode: Mode, port: u16, dir: &Dir, command: &mut Command) -> Run {
    let site = Site::new();
    dir.write("app.py", APP);
    command
        .current_dir(dir.path())
        .env("SITE", site.path())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let server = Service::start(mode, port, dir, command);
    web::run(server, Signal::TERM)
}

impl Program for Uvicorn {
    fn name(&self) -> &'static str {
        "Python uvicorn"
    }

    fn package(&self) -> &'static str {
        "python3-uvicorn"
    }

    fn checked(&self) -> &'static str {
        "an ASGI application on asyncio, bodies to 1 MiB, 24 keep-alive clients"
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, port) = (Dir::new(), port::free());
        let mut command = Command::new("/usr/bin/python3");
        command
            .args(["-m", "uvicorn", "app:asgi", "--host", "127.0.0.1"])
            .args(["--port", &port.to_string(), "--timeout-keep-alive", "60"])
            .args(["--log-level", "warning", "--lifespan", "off"]);
        run(mode, port, &dir, &mut command)
    }
}

impl Program for Gunicorn {
    fn name(&self) -> &'static str {
        match self.worker {
            "gthread" => "Python gunicorn, threads",
            _ => "Python gunicorn, uvicorn's worker",
        }
    }

    fn package(&self) -> &'static str {
        "python3-gunicorn"
    }

    fn checked(&self) -> &'static str {
        "an application in 2 worker processes, bodies to 1 MiB, 24 keep-alive clients"
    }

    fn nothing(&self, _policy: &str) -> Option<&'static str> {
        let why = "its threads use blocking sockets, which are never deferred.";
        (self.worker == "gthread").then_some(why)
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, port) = (Dir::new(), port::free());
        let mut command = Command::new("/usr/bin/python3");
        command
            .args(["-m", "gunicorn", "-w", "2", "--keep-alive", "60"])
            .args(["--graceful-timeout", "5", "--log-level", "warning"])
            .args(["-b", &format!("127.0.0.1:{port}")]);
        match self.worker {
            // A thread serves a connection while it lives.
            "gthread" => command.args(["-k", "gthread", "--threads", "32", "app:wsgi"]),
            _ => command.args(["-k", "uvicorn.workers.UvicornWorker", "app:asgi"]),
        };
        run(mode, port, &dir, &mut command)
    }
}
