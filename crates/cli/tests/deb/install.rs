//! Installed, used and purged: everything works from where the package puts
//! it, and nothing stays.

use crate::root::{Root, package};

/// nginx with one worker and a file, on port 8081.
const SITE: &str = "
mkdir -p site
head -c 1024 /dev/urandom > site/a
chmod 755 /root
cat > nginx.conf <<END
daemon off; worker_processes 1; user root; pid /tmp/pid; error_log stderr;
events { worker_connections 64; }
http { sendfile on; access_log off; server { listen 127.0.0.1:8081; root /root/site; } }
END
";

#[test]
#[ignore = "needs root, packages and minutes: make test-deb"]
fn installed_used_and_purged() {
    let root = Root::quiet("install", None);
    let deb = package("esca");
    root.take(&deb);
    let before = root.files();
    root.ok("dpkg -i esca_*.deb; rm esca_*.deb");

    assert_eq!(
        root.ok("esca --version").trim(),
        format!("esca {}", env!("CARGO_PKG_VERSION"))
    );
    let doctor = root.ok("esca doctor");
    assert!(
        doctor.contains("library       /usr/lib/esca/libesca_preload.so"),
        "{doctor}"
    );

    // A server: the right bytes, and the library did something.
    root.ok(SITE);
    let said = root.ok(
        "esca run --stats=/tmp/stats -- nginx -c /root/nginx.conf & pid=$!
         curl -sf --retry 50 --retry-connrefused --retry-delay 1 -o /tmp/b 'http://127.0.0.1:8081/a'
         curl -sf -o /tmp/b 'http://127.0.0.1:8081/a?[1-50]'
         cmp /tmp/b site/a
         esca stat $pid --once
         kill $pid; wait $pid
         cat /tmp/stats",
    );
    assert!(said.contains("segments 2.00 -> 1.0"), "{said}");
    let json = &said[said.find('{').expect("statistics")..];
    let json: serde_json::Value = serde_json::from_str(json).expect(&said);
    assert!(json["rules"]["small-file"].as_u64() >= Some(50), "{said}");

    // A program of the user's own: with ESCA and without.
    root.ok("gcc -o explicit /usr/share/doc/esca/examples/explicit.c $(pkg-config --cflags --libs esca)");
    let (plain, with) = (root.ok("./explicit"), root.ok("esca run -- ./explicit"));
    assert_ne!(plain, with, "with ESCA there are results");

    // Pages for every command, and completions that offer them.
    let help = root.ok("esca help");
    let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1);
    let commands = commands
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_whitespace().next());
    let offered = root.ok(". /usr/share/bash-completion/completions/esca
         COMP_WORDS=(esca ''); COMP_CWORD=1; _esca esca '' esca; echo ${COMPREPLY[@]}");
    for c in commands.filter(|c| *c != "help") {
        root.ok(&format!(
            "zcat /usr/share/man/man1/esca-{c}.1.gz | grep -q '^.SH SYNOPSIS'"
        ));
        assert!(offered.split_whitespace().any(|o| o == c), "{c}: {offered}");
    }

    root.ok("rm -r site nginx.conf explicit /var/lib/nginx/*; dpkg --purge esca");
    let after = root.files();
    let name = format!(
        "root/{}",
        deb.file_name().expect("a name").to_string_lossy()
    );
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "left: {left:?}");
    let gone: Vec<_> = before.difference(&after).filter(|f| **f != name).collect();
    assert!(gone.is_empty(), "gone: {gone:?}");
}
