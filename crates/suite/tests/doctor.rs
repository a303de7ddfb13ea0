//! `esca doctor`: its forecast for a real server against what is known of it,
//! and its error lines.

use esca_suite::dir::Dir;
use esca_suite::http::Http;
use esca_suite::mode::{Mode, library};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::site::{Site, content};
use esca_suite::{assert_same, build, eventually, port};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

fn doctor(args: &[&str]) -> Output {
    Command::new(build::workspace().join("target/release/esca"))
        .arg("doctor")
        .args(args)
        .env("ESCA_LIB", library())
        .output()
        .expect("esca")
}

#[test]
fn the_forecast_for_nginx_is_what_coalescing_does() {
    let (site, dir) = (Site::new(), Dir::new());
    let port = port::free();
    let at = dir.path().display();
    let conf = format!(
        "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/log; user root;
         events {{ worker_connections 64; }}
         http {{ sendfile on; access_log off; client_body_temp_path {at}/body;
           proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
           uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
           server {{ listen 127.0.0.1:{port}; root {}; }} }}",
        site.path().display()
    );
    let file = dir.path().join("conf");
    std::fs::write(&file, conf).expect("written");
    let file = file.to_str().expect("a path");
    // One connection: curl keeps it.
    let client = format!("curl -sf -o /dev/null 'http://127.0.0.1:{port}/1024?[1-300]'");
    let out = doctor(&[
        "--client",
        &client,
        "--",
        "nginx",
        "-c",
        file,
        "-e",
        "/dev/null",
    ]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let line = text
        .lines()
        .find(|l| l.starts_with("nginx "))
        .unwrap_or_else(|| panic!("no forecast in:\n{text}"));
    // A header and a file: two segments that become one (tests of the library
    // count them; here it only watched).
    assert!(line.contains(" and 2.0 segments per request;"), "{line}");
    assert!(line.ends_with(" and 1.0"), "{line}");
    assert!(text.contains("seen      300 requests"), "{text}");
}

/// A running server without the library, seen through trace points where they
/// are allowed; elsewhere one line says why not.
#[test]
fn a_running_server_is_observed_from_outside() {
    let site = Site::new();
    let conf = Conf {
        http: "sendfile on;",
        ..Conf::default()
    };
    let nginx = Nginx::start(Mode::Plain, site.path(), conf);
    let pid = nginx.pid().as_raw_nonzero().to_string();
    let machine = doctor(&["--json"]).stdout;
    let machine: serde_json::Value = serde_json::from_slice(&machine).expect("JSON");
    let allowed = machine["machine"]["trace_points"].as_str().expect("a text");
    let args = ["--pid", &pid, "--seconds", "1", "--json"];
    if !allowed.starts_with("allowed") {
        let out = doctor(&args);
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && text.lines().count() == 1, "{text}");
        assert!(text.contains("trace points"), "{text}");
        return;
    }
    let done = AtomicBool::new(false);
    let out = std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Relaxed) {
                // nginx closes a connection after a thousand.
                let mut http = Http::new(nginx.port);
                for _ in 0..500 {
                    assert_same("a file", &content(1024), &http.get("/1024").body);
                }
            }
        });
        // A machine with much to do may not serve one in a second.
        let out = eventually("an observed request", || {
            let out = doctor(&args);
            let said = String::from_utf8_lossy(&out.stderr);
            (!said.contains("no request was answered")).then_some(out)
        });
        done.store(true, Relaxed);
        out
    });
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let all: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let forecasts = all["forecasts"].as_array().expect("a list");
    assert_eq!(forecasts.len(), 1, "one worker answered: {all}");
    let f = &forecasts[0];
    let figure = |name: &str| f[name].as_f64().unwrap_or_else(|| panic!("{name} in {f}"));
    assert_eq!(f["seen"], "trace-points");
    let requests = figure("requests");
    assert!(requests >= 1.0, "{f}");
    // A header and a file, which would be one segment; the first and the last
    // request may be seen by half.
    let near = |name: &str, want: f64| {
        let off = (figure(name) - want).abs() * requests;
        assert!(off <= 2.0 + requests / 20.0, "{name}: {f}");
    };
    near("segments", 2.0);
    near("segments_then", 1.0);
    // epoll_wait, recvfrom, open, fstat, writev, sendfile, close; and what a
    // connection's start takes.
    let calls = figure("calls") * requests;
    let range = 6.0 * requests - 10.0..9.0 * requests + 40.0;
    assert!(range.contains(&calls), "{f}");
    // And one that has the library has the truth.
    let with = Nginx::start(Mode::Esca("coalesce"), site.path(), Conf::default());
    let mut http = Http::new(with.port);
    assert_same("a file", &content(1024), &http.get("/1024").body);
    let pid = with.pid().as_raw_nonzero().to_string();
    let out = doctor(&["--pid", &pid]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("runs with ESCA already"), "{said}");
    // Nobody asked anything of it meanwhile.
    let pid = nginx.pid().as_raw_nonzero().to_string();
    let out = doctor(&["--pid", &pid, "--seconds", "1"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("no request was answered"), "{said}");
}

#[test]
fn what_cannot_be_observed_gets_one_line() {
    for (args, what) in [
        (
            &["--", "/nowhere/program"][..],
            "/nowhere/program does not exist",
        ),
        (&["--pid", "4194304"][..], "4194304"),
    ] {
        let out = doctor(args);
        assert!(!out.status.success());
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("esca: ") && text.contains(what), "{text}");
    }
}
