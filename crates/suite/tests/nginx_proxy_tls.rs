//! nginx as a proxy, with uploads, and with TLS.

use esca_suite::assert_same;
use esca_suite::build::run;
use esca_suite::dir::Dir;
use esca_suite::http::{Http, Reply, assert_replies};
use esca_suite::mode::{Mode, policies};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::site::{SIZES, Site, content};
use std::process::Command;

/// A proxy before a server, both run the same way.
fn proxied(settings: &str) {
    let site = Site::new();
    let once = |mode| {
        let back = Conf {
            http: "sendfile on;",
            ..Conf::default()
        };
        let back = Nginx::start(mode, site.path(), back);
        let http = format!(
            "upstream back {{ server 127.0.0.1:{}; keepalive 8; }}",
            back.port
        );
        let server = format!(
            "location / {{ proxy_pass http://back; proxy_http_version 1.1; \
             proxy_set_header Connection ''; proxy_set_header Host localhost; {settings} }}"
        );
        let front = Conf {
            http: &http,
            server: &server,
            ..Conf::default()
        };
        let front = Nginx::start(mode, site.path(), front);
        let mut http = Http::new(front.port);
        let mut all: Vec<Reply> = Vec::new();
        for size in SIZES {
            let reply = http.get(&format!("/{size}"));
            assert_same("a file", &content(size), &reply.body);
            all.push(reply);
        }
        all.push(http.get("/missing"));
        let range = http.ask("GET", "/20480", &["Range: bytes=5-9"]);
        all.push(range.expect("a range"));
        all.push(http.ask("HEAD", "/1048576", &[]).expect("a head"));
        front.assert_aggregated();
        back.assert_aggregated();
        all
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        assert_replies(&format!("{mode:?}"), &want, &once(mode));
    }
}

#[test]
fn proxy() {
    proxied("");
}

#[test]
fn proxy_without_buffering() {
    proxied("proxy_buffering off;");
}

#[test]
fn proxy_with_small_buffers() {
    proxied("proxy_buffers 4 4k; proxy_buffer_size 4k; proxy_busy_buffers_size 8k;");
}

#[test]
fn uploads() {
    let once = |mode| {
        let dir = Dir::new();
        // The worker runs as another user when we are root.
        std::fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .expect("chmod");
        let conf = Conf {
            http: "client_max_body_size 20m; sendfile on;",
            server: "dav_methods PUT DELETE;",
            ..Conf::default()
        };
        let nginx = Nginx::start(mode, dir.path(), conf);
        let mut http = Http::new(nginx.port);
        let mut all = Vec::new();
        for size in [1, 4096, 20_480, 1 << 20, 8 << 20] {
            let (path, body) = (format!("/up{size}"), content(size));
            let length = format!("Content-Length: {size}");
            http.send(esca_suite::http::request(
                "PUT",
                &path,
                &[&length, "Expect: 100-continue"],
            ))
            .expect("sent");
            all.push(http.reply("HEAD").expect("100 Continue"));
            http.send(&body).expect("sent");
            let mut reply = http.reply("PUT").expect("201 Created");
            // It names the port.
            reply.head = reply.head.replace(&nginx.port.to_string(), "PORT");
            all.push(reply);
            let back = http.get(&path);
            assert_same("what was put", &body, &back.body);
        }
        nginx.assert_aggregated();
        all
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        assert_replies(&format!("{mode:?}"), &want, &once(mode));
    }
}

#[test]
fn tls() {
    let site = Site::new();
    let keys = Dir::new();
    let key = keys.path().join("key.pem");
    let cert = keys.path().join("cert.pem");
    run(Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert));
    let server = format!(
        "ssl_certificate {}; ssl_certificate_key {};",
        cert.display(),
        key.display()
    );
    for listen in ["ssl", "ssl http2"] {
        let conf = Conf {
            http: "sendfile on; ssl_session_cache shared:s:1m;",
            server: &server,
            listen,
            ..Conf::default()
        };
        let once = |mode| {
            let nginx = Nginx::start(mode, site.path(), conf);
            let out = Dir::new();
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-k", "--max-time", "30", "--parallel"]);
            // One connection for all, and several at a time.
            for size in SIZES {
                curl.arg(format!("https://127.0.0.1:{}/{size}", nginx.port));
                curl.arg("-o").arg(out.path().join(size.to_string()));
            }
            curl.arg("-w").arg("%{http_code} %{size_download}\n");
            run(&mut curl);
            for size in SIZES {
                let got = std::fs::read(out.path().join(size.to_string()));
                let what = format!("{mode:?} {listen} {size}");
                assert_same(&what, &content(size), &got.expect("a file"));
            }
            nginx.assert_aggregated();
        };
        once(Mode::Plain);
        policies().into_iter().for_each(once);
    }
}
