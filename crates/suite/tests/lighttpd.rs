//! lighttpd: static files and CGI, every reply as without ESCA.

use esca_suite::assert_same;
use esca_suite::http::{Http, Reply, assert_replies, dial, request};
use esca_suite::lighttpd;
use esca_suite::mode::{Mode, policies};
use esca_suite::server::Server;
use esca_suite::site::{SIZES, Site, content};

/// A CGI program: it answers in many pieces, and echoes what is posted.
const CGI: &str = "\
printf 'Content-Type: text/plain\\r\\nX-Query: %s\\r\\n\\r\\n' \"$QUERY_STRING\"
if [ \"$REQUEST_METHOD\" = POST ]; then exec cat; fi
i=0
while [ $i -lt 300 ]; do echo \"line $i of the answer\"; i=$((i+1)); done
cat 102400
";

const MODULES: &str = "server.modules = (\"mod_cgi\")\ncgi.assign = (\".sh\" => \"/bin/sh\")\n";

fn compare(settings: &str, session: impl Fn(u16) -> Vec<Reply>, seen: impl Fn(&Server)) {
    let site = Site::new();
    site.dir().write("answer.sh", CGI);
    let once = |mode| {
        let (server, _dir) = lighttpd::start(mode, &site, &format!("{MODULES}{settings}"));
        let replies = session(server.port);
        seen(&server);
        replies
    };
    let want = once(Mode::Plain);
    for mode in policies() {
        assert_replies(&format!("{mode:?}"), &want, &once(mode));
    }
}

fn files(port: u16) -> Vec<Reply> {
    let mut slow = Http::over(dial(port, Some(4096)));
    slow.send(request("GET", "/8388608", &[])).expect("sent");
    let mut http = Http::new(port);
    let mut all = Vec::new();
    for size in SIZES {
        let reply = http.get(&format!("/{size}"));
        assert_same("a file", &content(size), &reply.body);
        all.push(reply);
    }
    let mut ask = |method: &str, path: &str, lines: &[&str]| {
        let reply = http.ask(method, path, lines);
        all.push(reply.unwrap_or_else(|e| panic!("{method} {path} {lines:?}: {e}")));
    };
    ask("HEAD", "/20480", &[]);
    ask("GET", "/missing", &[]);
    for range in ["0-0", "100-199", "-500", "1000-", "5000-9000", "0-1,7-9,-3"] {
        for size in ["1024", "20480", "1048576"] {
            ask(
                "GET",
                &format!("/{size}"),
                &[&format!("Range: bytes={range}")],
            );
        }
    }
    ask("GET", "/20480", &["Connection: close"]);
    assert!(http.at_end(), "the end after Connection: close");
    all.extend(pipelined(port));
    // Who took nothing until now gets everything.
    let reply = slow.reply("GET").expect("the large file");
    assert_same("the large file", &content(8 << 20), &reply.body);
    all.push(reply);
    all
}

fn pipelined(port: u16) -> Vec<Reply> {
    let paths: Vec<String> = (0..40).map(|i| format!("/{}", SIZES[i * 5 % 13])).collect();
    let all: String = paths.iter().map(|p| request("GET", p, &[])).collect();
    let mut http = Http::new(port);
    http.send(all).expect("sent");
    let reply = |_| http.reply("GET").expect("a reply");
    paths.iter().map(reply).collect()
}

#[test]
fn static_files_with_sendfile() {
    compare(
        "server.network-backend = \"sendfile\"",
        files,
        Server::assert_aggregated,
    );
}

#[test]
fn static_files_with_writev() {
    compare(
        "server.network-backend = \"writev\"",
        files,
        Server::assert_aggregated,
    );
}

#[test]
fn static_files_with_write() {
    compare(
        "server.network-backend = \"write\"",
        files,
        Server::assert_aggregated,
    );
}

fn cgi(port: u16) -> Vec<Reply> {
    let mut http = Http::new(port);
    let mut all: Vec<Reply> = (0..5)
        .map(|i| http.get(&format!("/answer.sh?{i}")))
        .collect();
    assert!(all[0].body.ends_with(&content(102_400)));
    let body = content(200_000);
    let length = format!("Content-Length: {}", body.len());
    http.send(request("POST", "/answer.sh?post", &[&length]))
        .expect("sent");
    http.send(&body).expect("sent");
    let reply = http.reply("POST").expect("the echo");
    assert_same("the echo", &body, &reply.body);
    all.push(reply);
    // A file large enough for sendfile, behind its header: what CGI sends as
    // it comes has nothing to be merged with.
    all.push(http.get("/1048576"));
    // How the answer is cut into chunks depends on when the program's pieces
    // come, so only the joined body is compared, which Http::reply gives.
    all
}

#[test]
fn cgi_buffered() {
    compare(
        "server.stream-response-body = 0",
        cgi,
        Server::assert_aggregated,
    );
}

#[test]
fn cgi_streamed() {
    compare(
        "server.stream-response-body = 1",
        cgi,
        Server::assert_aggregated,
    );
}
