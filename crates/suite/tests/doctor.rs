//! `esca doctor`: its forecast for a real server against what is known of it,
//! and its error lines.

use esca_suite::build;
use esca_suite::dir::Dir;
use esca_suite::mode::library;
use esca_suite::port;
use esca_suite::site::Site;
use std::process::{Command, Output};

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
