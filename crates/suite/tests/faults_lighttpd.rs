//! lighttpd under load while it is ended, killed and restarted gracefully.

use esca_suite::dir::Dir;
use esca_suite::lighttpd;
use esca_suite::mode::{Mode, modes};
use esca_suite::scale;
use esca_suite::server::Server;
use esca_suite::site::Site;
use esca_suite::swarm::{Load, Tally, Watch};
use rustix::process::Signal;

fn start(mode: Mode, site: &Site, backend: &str) -> (Server, Dir) {
    let settings = format!(
        "server.network-backend = \"{backend}\"\nserver.max-keep-alive-requests = 100000000"
    );
    lighttpd::start(mode, site, &settings)
}

fn load(server: &Server) -> Load {
    Load {
        port: server.port,
        connections: scale(24, 200),
        sizes: &[1024, 20_480, 100, 102_400],
        closing: false,
        again: false,
    }
}

/// Ends a server under load; how its requests ended in each mode.
fn ends(act: impl Fn(&mut Server)) -> Vec<Tally> {
    let site = Site::new();
    let once = |(mode, backend)| {
        let (mut server, _dir) = start(mode, &site, backend);
        let watch = Watch::default();
        let tally = watch.during(load(&server), || {
            watch.more(scale(300, 20_000) as u64);
            act(&mut server);
        });
        server.assert_aggregated();
        tally
    };
    let all = modes().flat_map(|mode| ["sendfile", "writev"].map(|b| (mode, b)));
    all.map(once).collect()
}

#[test]
fn graceful_end() {
    for tally in ends(|server| server.stop(Signal::INT)) {
        assert_eq!(tally.cut, 0, "{tally:?}");
    }
}

#[test]
fn fast_end() {
    ends(|server| {
        server.signal(Signal::TERM);
        // Its status is 1 when it had connections; a crash has none.
        assert!(server.wait().expect("the end").code().is_some());
    });
}

#[test]
fn killed() {
    ends(|server| {
        server.signal(Signal::KILL);
        let status = server.wait().expect("the end");
        assert!(!status.success());
    });
}

/// SIGUSR1 has lighttpd read its configuration again, in the same process,
/// once the connections that it has are done.
#[test]
fn restarts() {
    let site = Site::new();
    for mode in modes() {
        let (server, dir) = start(mode, &site, "sendfile");
        let log = || std::fs::read_to_string(dir.path().join("error.log")).unwrap_or_default();
        let starts = || log().matches("server started").count();
        let load = Load {
            closing: true,
            again: true,
            ..load(&server)
        };
        let watch = Watch::default();
        let tally = watch.during(load, || {
            for n in 2..2 + scale(2, 30) {
                watch.more(200);
                server.signal(Signal::USR1);
                esca_suite::eventually("a restart", || (starts() == n).then_some(()));
            }
            watch.more(200);
        });
        let want = Tally {
            whole: tally.whole,
            ..Tally::default()
        };
        assert_eq!(tally, want, "{mode:?}");
        server.assert_aggregated();
    }
}
