//! nginx under load while it is ended, killed, reloaded and replaced, and
//! while its workers crash: no byte is wrong, what the log says was delivered,
//! and the service goes on as without ESCA.

use esca_abi::stats::Counter;
use esca_suite::mode::{Mode, modes};
use esca_suite::nginx::{Conf, Nginx};
use esca_suite::process::{children, is_alive, workers};
use esca_suite::site::Site;
use esca_suite::swarm::{Load, Tally, Watch};
use esca_suite::{eventually, scale};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::thread::scope;

const SIZES: &[usize] = &[1024, 20_480, 100, 102_400];

fn load(nginx: &Nginx) -> Load {
    Load {
        port: nginx.port,
        connections: scale(24, 200),
        sizes: SIZES,
        closing: false,
        again: true,
    }
}

/// Ends a server under load by `act`. Every reply that nginx has logged as
/// complete must have come: by then its bytes are the kernel's.
fn ends(http: &str, act: impl Fn(&mut Nginx)) -> Vec<Tally> {
    let site = Site::new();
    let once = |mode| {
        let conf = Conf {
            http,
            workers: 2,
            ..Conf::default()
        };
        let mut nginx = Nginx::start(mode, site.path(), conf);
        let load = Load {
            again: false,
            ..load(&nginx)
        };
        let watch = Watch::default();
        let tally = watch.during(load, || {
            watch.more(scale(300, 20_000) as u64);
            act(&mut nginx);
        });
        nginx.assert_aggregated();
        if http.contains("access_log") {
            let log = std::fs::read_to_string(nginx.dir().join("access.log"));
            let log = log.expect("the log");
            let logged = log.lines().filter(|l| *l == "200 OK").count() as u64;
            assert!(logged > 200, "{logged} replies logged");
            assert!(
                tally.whole >= logged,
                "{mode:?}: {logged} replies were complete, but: {tally:?}"
            );
        }
        tally
    };
    modes().map(once).collect()
}

const LOG: &str =
    "sendfile on; log_format t '$status $request_completion'; access_log access.log t;";

#[test]
fn graceful_quit() {
    for http in [LOG, "sendfile off;", "sendfile on; tcp_nopush on;"] {
        for tally in ends(http, |nginx| nginx.process().stop(Signal::QUIT)) {
            // A connection that waits in the listening socket is the kernel's
            // to reset; one that was served is not cut.
            assert_eq!(tally.cut, 0, "{tally:?}");
        }
    }
}

#[test]
fn fast_end() {
    for http in [LOG, "sendfile off;"] {
        ends(http, |nginx| nginx.process().stop(Signal::TERM));
    }
}

#[test]
fn killed() {
    for http in [LOG, "sendfile off;"] {
        ends(http, |nginx| {
            let server = nginx.process();
            kill_process_group(server.pid(), Signal::KILL).expect("a running group");
            let status = server.wait().expect("the end");
            assert!(!status.success());
        });
    }
}

/// A crashed worker takes its own connections with it and nothing else.
#[test]
fn a_worker_crashes() {
    let site = Site::new();
    for mode in modes() {
        let conf = Conf {
            http: "sendfile on;",
            workers: 2,
            ..Conf::default()
        };
        let mut nginx = Nginx::start(mode, site.path(), conf);
        let watch = Watch::default();
        let load = load(&nginx);
        let mut crashes = 0;
        let tally = watch.during(load, || {
            for _ in 0..scale(1, 20) {
                for signal in [Signal::SEGV, Signal::KILL] {
                    watch.more(200);
                    let old = workers(nginx.pid(), 2, &[]);
                    kill_process(old[0], signal).expect("a worker");
                    workers(nginx.pid(), 2, &old[..1]);
                    crashes += 1;
                }
            }
            watch.more(200);
        });
        // The master kept the listening socket.
        assert_eq!(tally.refused, 0, "{tally:?}");
        let lost = tally.cut + tally.fresh + tally.unserved;
        let most = crashes * load.connections as u64;
        assert!(lost <= most, "{mode:?}: {tally:?}");
        nginx.assert_aggregated();
        nginx.process().stop(Signal::QUIT);
        let log = std::fs::read_to_string(nginx.dir().join("error.log")).expect("the log");
        for n in [9, 11] {
            assert!(log.contains(&format!("exited on signal {n}")), "{log}");
        }
    }
}

/// Two loads at once, one with a connection for each request: of that, no
/// request may fail. A kept connection may end between two requests.
fn unnoticed(mode: Mode, port: u16, watch: &Watch, act: impl FnOnce()) {
    let kept = Load {
        port,
        connections: scale(12, 100),
        sizes: SIZES,
        closing: false,
        again: true,
    };
    let single = Load {
        closing: true,
        ..kept
    };
    scope(|s| {
        let other = s.spawn(|| single.run(&watch.done, &watch.whole));
        let tally = watch.during(kept, act);
        let want = Tally {
            whole: tally.whole,
            fresh: tally.fresh,
            ..Tally::default()
        };
        assert_eq!(tally, want, "{mode:?}: kept connections");
        let tally = other.join().expect("the load");
        let want = Tally {
            whole: tally.whole,
            ..Tally::default()
        };
        assert_eq!(tally, want, "{mode:?}: single requests");
    });
}

#[test]
fn reload() {
    let site = Site::new();
    for mode in modes() {
        let conf = Conf {
            http: "sendfile on; keepalive_requests 100000000;",
            workers: 2,
            ..Conf::default()
        };
        let mut nginx = Nginx::start(mode, site.path(), conf);
        let watch = Watch::default();
        unnoticed(mode, nginx.port, &watch, || {
            for _ in 0..scale(2, 50) {
                watch.more(200);
                let old = workers(nginx.pid(), 2, &[]);
                nginx.signal(Signal::HUP);
                // The old ones end once their connections have.
                workers(nginx.pid(), 2, &old);
            }
            watch.more(200);
        });
        nginx.assert_aggregated();
        nginx.process().stop(Signal::QUIT);
    }
}

/// A master without a parent, as a service has it. All its processes are of
/// one group, and do not outlive the test.
struct Daemon(Pid);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// The program is replaced while it serves (nginx(8), "upgrading executable
/// on the fly"): the new one inherits the sockets, and ESCA by `env`.
#[test]
fn binary_upgrade() {
    let site = Site::new();
    for mode in modes() {
        let conf = Conf {
            main: "daemon on; env LD_PRELOAD; env ESCA_POLICY; env ESCA_STATS_SHM;",
            http: "sendfile on; keepalive_requests 100000000;",
            workers: 2,
            ..Conf::default()
        };
        let nginx = Nginx::launch(mode, site.path(), conf);
        let number = |name: &str| {
            let text = std::fs::read_to_string(nginx.dir().join(name)).ok()?;
            Pid::from_raw(text.trim().parse().ok()?)
        };
        let mut old = eventually("the first master", || number("pid"));
        let _group = Daemon(old);
        eventually("the port", || {
            std::net::TcpStream::connect(("127.0.0.1", nginx.port)).ok()
        });
        let watch = Watch::default();
        unnoticed(mode, nginx.port, &watch, || {
            for _ in 0..scale(1, 10) {
                watch.more(200);
                workers(old, 2, &[]);
                kill_process(old, Signal::USR2).expect("a master");
                let new = eventually("the new master", || number("pid").filter(|p| *p != old));
                workers(new, 2, &[]);
                kill_process(old, Signal::WINCH).expect("a master");
                // The new master is the old one's child.
                eventually("the end of the old workers", || {
                    (children(old) == [new]).then_some(())
                });
                kill_process(old, Signal::QUIT).expect("a master");
                eventually("the old master's end", || (!is_alive(old)).then_some(()));
                old = new;
                let deferred = || nginx.stats.as_ref().map(|s| s.get(Counter::Deferred));
                let before = deferred();
                watch.more(200);
                assert!(mode == Mode::Plain || deferred() > before, "the new one");
            }
        });
        nginx.assert_aggregated();
        kill_process(old, Signal::QUIT).expect("a master");
        eventually("the end", || (!is_alive(old)).then_some(()));
    }
}
