//! memcached's own tests, over TCP.

use super::{Suite, compile, perl_tests, printed};
use crate::outcome::Outcome;
use crate::tap;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// The suite.
pub struct Memcached;

const SMALL: &[&str] = &[
    "binary-get.t",
    "cas.t",
    "incrdecr.t",
    "issue_22.t",
    "lru.t",
    "noreply.t",
    "stats.t",
    "udp.t",
];

/// How many tests these have differs from run to run: they go on until
/// something happens, or draw lots.
const DRAWN: &[&str] = &["binary-extstore.t", "maxconns.t"];

impl Suite for Memcached {
    fn source(&self) -> &'static str {
        "memcached"
    }

    fn package(&self) -> &'static str {
        "memcached"
    }

    fn program(&self) -> &'static str {
        "/usr/bin/memcached"
    }

    fn prepare(&self, tree: &Path) -> Result<()> {
        compile(tree, "timedrun.c")?;
        // By default the tests speak over UNIX sockets, which are never
        // deferred; the same tests use TCP with a server that has none. And
        // they expect an option that only memcached's debug build has.
        let module = tree.join("t/lib/MemcachedTest.pm");
        let mut text = std::fs::read_to_string(&module).context("MemcachedTest.pm")?;
        for (old, new) in [
            ("$output =~ /unix-socket/i", "0"),
            (" -o relaxed_privileges", ""),
        ] {
            ensure!(text.contains(old), "MemcachedTest.pm has no {old}");
            text = text.replace(old, new);
        }
        std::fs::write(module, text)?;
        Ok(())
    }

    fn launcher(&self) -> &'static str {
        "memcached-debug"
    }

    fn units(&self, tree: &Path, small: bool) -> Result<Vec<String>> {
        if small {
            return Ok(SMALL.iter().map(|&s| s.into()).collect());
        }
        perl_tests(&tree.join("t"))
    }

    fn run(&self, tree: &Path, unit: &str, _place: u16) -> Result<Outcome> {
        let mut perl = Command::new("perl");
        perl.arg(format!("t/{unit}")).current_dir(tree);
        let all = tap::parse(unit, &printed(&perl)?);
        Ok(if DRAWN.contains(&unit) {
            all.in_one(unit)
        } else {
            all
        })
    }

    fn aggregates(&self, _policy: &str) -> bool {
        true
    }
}
