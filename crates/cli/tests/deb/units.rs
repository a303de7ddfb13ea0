//! `esca enable` and `disable` for the units that Debian ships, under a
//! running systemd with everything that they forbid in force.

use crate::root::{Root, package};

/// Functions for the scripts.
const HELP: &str = r#"
pid() { systemctl show -P MainPID "$1"; }
# Until the unit's program (not what starts it) came to its event loop.
waits() { until esca stat "$(pid $1)" --once 2>&1 | grep -q "^  calls .*wait"; do sleep 0.1; done; }
restart() { systemctl daemon-reload; systemctl restart "$1"; }
get() { curl -sf --retry 50 --retry-connrefused --retry-delay 1 -o /tmp/got "$1"; cmp /tmp/got "$2"; }
"#;

struct System(Root);

impl System {
    fn new(name: &str) -> System {
        let root = Root::booted(name);
        root.take(&package("esca"));
        root.ok(
            "dpkg -i esca_*.deb
             head -c 1024 /dev/urandom > /var/www/html/a
             # Not the port of nginx.
             sed -i 's/^server.port .*/server.port = 8091/' /etc/lighttpd/lighttpd.conf
             printf 'listen web\n mode http\n bind 127.0.0.1:8090\n server s 127.0.0.1:80\n' >> /etc/haproxy/haproxy.cfg",
        );
        System(root)
    }

    fn ok(&self, script: &str) -> String {
        self.0.ok(&format!("{HELP}\n{script}"))
    }

    fn enable(&self, unit: &str, args: &str) -> String {
        self.ok(&format!(
            "esca enable {unit} {args}; restart {unit}; waits {unit}"
        ))
    }

    /// A counter of a unit's processes.
    fn counter(&self, unit: &str, group: &str, name: &str) -> u64 {
        let text = self.ok(&format!("esca stat $(pid {unit}) --once --json"));
        let json: serde_json::Value = serde_json::from_str(&text).expect(&text);
        let n = json["total"]["counters"][group][name].as_u64();
        n.unwrap_or_else(|| panic!("{group}.{name} in {text}"))
    }
}

#[test]
#[ignore = "needs root, packages and minutes: make test-deb"]
fn services_run_with_the_library_and_without_it_again() {
    let s = System::new("units");
    let all = ["nginx", "redis-server", "memcached", "haproxy", "lighttpd"];
    for unit in all {
        s.enable(unit, "");
        let said = s.ok(&format!("systemd-analyze --man=no verify {unit}.service"));
        assert_eq!(said, "", "{unit}");
    }
    for port in [80, 8090, 8091] {
        s.ok(&format!(
            "for i in 1 2 3 4 5 6 7 8; do get http://127.0.0.1:{port}/a /var/www/html/a; done"
        ));
    }
    assert!(s.counter("nginx", "rules", "small-file") >= 8);
    assert!(s.counter("nginx", "operations", "merged") >= 8);
    for unit in ["haproxy", "lighttpd"] {
        assert!(s.counter(unit, "requests", "answered") >= 8, "{unit}");
    }
    s.ok("exec 3<>/dev/tcp/127.0.0.1/11211
          printf 'set k 0 0 5\\r\\nhello\\r\\nget k\\r\\nquit\\r\\n' >&3
          cat <&3 | grep -q hello");
    s.ok("test $(redis-cli set k v) = OK; test $(redis-cli get k) = v");
    for unit in all {
        s.ok(&format!(
            "esca disable {unit}; restart {unit}; systemctl is-active {unit}
             test ! -e /etc/systemd/system/{unit}.service.d
             ! grep -q esca /proc/$(pid {unit})/maps"
        ));
    }
}

/// With policy batch the library starts its thread and opens descriptors: the
/// unit's filter of system calls kills for what it forbids.
#[test]
#[ignore = "needs root, packages and minutes: make test-deb"]
fn what_a_unit_forbids_does_not_hit_the_library() {
    let s = System::new("forbidden");
    let load = "redis-benchmark -q -n 3000 -c 20 -t set,get > /tmp/load; ! grep -i error /tmp/load";
    s.enable("redis-server", "--policy batch");
    s.ok(load);
    assert!(s.counter("redis-server", "operations", "deferred") >= 1000);
    // From a place that the unit does not execute from.
    s.ok("mkdir /opt/esca; cp /usr/lib/esca/libesca_preload.so /opt/esca/");
    s.enable(
        "redis-server",
        "--policy batch --library /opt/esca/libesca_preload.so",
    );
    s.ok("grep -q /opt/esca /proc/$(pid redis-server)/maps");
    s.ok(load);
    assert!(s.counter("redis-server", "operations", "deferred") >= 1000);
    // It would not be loaded without the drop-in's ExecPaths=.
    s.ok(
        "sed -i /^ExecPaths/d /etc/systemd/system/redis-server.service.d/50-esca.conf
          restart redis-server; redis-cli ping; ! grep -q /opt/esca /proc/$(pid redis-server)/maps
          journalctl -u redis-server | grep -q 'cannot be preloaded'",
    );
    // A list of calls that has exactly what the server makes by itself.
    s.ok("cat > own.conf <<END
          daemon off; worker_processes 1; user root; pid /run/own.pid; error_log /run/own.log;
          events { worker_connections 64; }
          http { sendfile on; access_log off; server { listen 127.0.0.1:8092; root /var/www/html; } }
END
          strace -qq -f -o calls nginx -c /root/own.conf &
          get http://127.0.0.1:8092/a /var/www/html/a
          curl -sf -o /tmp/got 'http://127.0.0.1:8092/a?[1-50]'
          kill $(cat /run/own.pid); wait
          sed -n 's/^[0-9]* *\\([a-z0-9_]*\\)(.*/\\1/p' calls | sort -u | tr '\\n' ' ' > list
          printf '[Service]\\nExecStart=/usr/sbin/nginx -c /root/own.conf\\nSystemCallFilter=%s\\n' \"$(cat list)\" \\
              > /etc/systemd/system/own.service
          restart own; get http://127.0.0.1:8092/a /var/www/html/a");
    let list = s.ok("cat list");
    let missing = ["clone3", "dup3", "getpeername"].map(|c| !list.split(' ').any(|l| l == c));
    assert!(
        missing.contains(&true),
        "the list has all that the library needs: {list}"
    );
    s.enable("own", "--policy batch");
    s.ok(
        "for i in 1 2 3 4; do curl -sf -o /tmp/got 'http://127.0.0.1:8092/a?[1-50]' & done; wait
          cmp /tmp/got /var/www/html/a; systemctl is-active own",
    );
    assert!(s.counter("own", "operations", "deferred") >= 200);
    assert_eq!(s.ok("systemctl show -P NRestarts own").trim(), "0");
}

#[test]
#[ignore = "needs root, packages and minutes: make test-deb"]
fn what_may_not_be_is_one_line() {
    let s = System::new("refused");
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --";
    let pid = s.ok("pid redis-server");
    let pid = pid.trim();
    for (command, part) in [
        (
            format!("{nobody} esca enable nginx"),
            "cannot make /etc/systemd/system/nginx.service.d",
        ),
        (
            "esca enable nosuch".into(),
            "there is no unit nosuch.service",
        ),
        ("esca disable nginx".into(), "is not enabled"),
        (
            format!("{nobody} esca stat {pid}"),
            "belongs to another user",
        ),
        (
            format!("{nobody} esca doctor --pid {pid}"),
            "belongs to another user",
        ),
        (
            format!("{nobody} bash -c 'sleep 60 & esca doctor --pid $!'"),
            "trace points",
        ),
        (format!("esca stat {pid}"), "runs without ESCA's library"),
    ] {
        let (good, said) = s.0.run(&command);
        let lines: Vec<_> = said.lines().filter(|l| l.starts_with("esca: ")).collect();
        assert!(
            !good && lines.len() == 1 && lines[0].contains(part),
            "{command}: {said}"
        );
    }
    let shown = s.ok("esca enable redis-server --dry-run");
    assert!(
        shown.contains("\n[Service]\nEnvironment=LD_PRELOAD=/usr/lib/esca/libesca_preload.so\n"),
        "{shown}"
    );
    s.ok("test ! -e /etc/systemd/system/redis-server.service.d");
}
