//! A small part of each suite: the same tests pass with and without ESCA.
//! `make suites` runs all of them.

use esca_upstream::outcome::Verdict;
use esca_upstream::suites::{ALL, Suite};
use esca_upstream::{source, trial};
use std::io::Write;

fn small(name: &str) {
    let suite: &dyn Suite = *ALL
        .iter()
        .find(|s| s.source() == name)
        .expect("a suite of that name");
    let version = source::version(suite.package());
    version.unwrap_or_else(|e| panic!("{name}: {e:#}"));
    // An archive that cannot be reached says nothing about ESCA. It is said
    // past the test harness, which would swallow it; `make suites` fails.
    if let Err(e) = source::unpacked(suite.source(), suite.package()) {
        let _ = writeln!(std::io::stderr(), "NOT RUN: the suite of {name}: {e:#}");
        return;
    }
    let report = trial::run(suite, true, &[]).unwrap_or_else(|e| panic!("{name}: {e:#}"));
    assert!(report.passed > 0, "{name}: no test passed");
    for policy in &report.policies {
        let lost = |d: &esca_upstream::compare::Difference| {
            assert_ne!(d.plain, d.esca);
            let word = |v: Option<Verdict>| format!("{v:?}");
            format!("{}: {} -> {}\n", d.test, word(d.plain), word(d.esca))
        };
        let all: String = policy.differences.iter().map(lost).collect();
        assert!(all.is_empty(), "{name}, {}:\n{all}", policy.policy);
    }
}

#[test]
fn redis() {
    small("redis");
}

#[test]
fn lighttpd() {
    small("lighttpd");
}

#[test]
fn memcached() {
    small("memcached");
}
