//! Redis's own suite, in Tcl: single servers, replication, AOF, Sentinel-less
//! cluster mode, scripts, streams.

use super::{Suite, printed};
use crate::outcome::{Outcome, Verdict};
use anyhow::{Result, ensure};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The suite.
pub struct Redis;

const SMALL: &[&str] = &["unit/protocol", "unit/auth", "unit/info", "unit/pubsub"];

/// Units that draw lots: which tests they have, how many and with which
/// numbers in their names differs from run to run. Of each the worst counts.
const DRAWN: &str = "integration/psync2";

/// Tests that came with Debian's security fixes from a newer Redis and set
/// what 7.0 does not know (repl-diskless-load yes): the suite ends there.
const NEWER: &str = "/^Fullsync should not free scripting engine on a replica";

/// Ports for one copy: the servers' from a base on, the cluster's 10,000
/// above, all below those from which the kernel takes the clients' own.
const FIRST: u16 = 12_000;
const PORTS: u16 = 2_000;

impl Suite for Redis {
    fn source(&self) -> &'static str {
        "redis"
    }

    fn package(&self) -> &'static str {
        "redis-server"
    }

    fn program(&self) -> &'static str {
        "/usr/bin/redis-server"
    }

    fn prepare(&self, tree: &Path) -> Result<()> {
        for tool in ["cli", "benchmark", "check-aof", "check-rdb", "sentinel"] {
            let name = format!("redis-{tool}");
            let link = tree.join("src").join(&name);
            let _ = std::fs::remove_file(&link);
            symlink(format!("/usr/bin/{name}"), link)?;
        }
        Ok(())
    }

    fn launcher(&self) -> &'static str {
        "src/redis-server"
    }

    fn units(&self, tree: &Path, small: bool) -> Result<Vec<String>> {
        if small {
            return Ok(SMALL.iter().map(|&s| s.into()).collect());
        }
        let text = printed(
            Command::new("./runtest")
                .arg("--list-tests")
                .current_dir(tree),
        )?;
        let units: Vec<String> = text
            .lines()
            .filter(|l| l.contains('/') && !l.contains(' '))
            .map(str::to_owned)
            .collect();
        ensure!(!units.is_empty(), "Redis's suite lists no tests: {text}");
        Ok(units)
    }

    fn run(&self, tree: &Path, unit: &str, place: u16) -> Result<Outcome> {
        let base = FIRST + place * PORTS;
        let text = printed(
            Command::new("./runtest")
                .args(["--clients", "1", "--single", unit])
                .args(["--skiptest", NEWER])
                .args(["--baseport", &base.to_string()])
                .args(["--portcount", &(PORTS - 100).to_string()])
                .current_dir(tree),
        )?;
        Ok(parse(unit, &text))
    }

    fn aggregates(&self, policy: &str) -> bool {
        // It answers a client by one write a round, which only batch defers.
        policy == "batch"
    }
}

/// Reads what the suite printed: `[ok]: name (3 ms)`, in colours.
fn parse(unit: &str, text: &str) -> Outcome {
    let mut all = Outcome::default();
    let mut over = false;
    for line in text.lines() {
        let line = without_colours(line);
        over |= line.contains("The End");
        let Some((word, name)) = line.strip_prefix('[').and_then(|l| l.split_once("]: ")) else {
            continue;
        };
        let verdict = match word {
            "ok" => Verdict::Passed,
            "err" | "exception" => Verdict::Failed,
            "ignore" => Verdict::Skipped,
            _ => continue,
        };
        // The time it took, and for a failure the file, differ.
        let name = name.rsplit_once(" in tests/").map_or(name, |(n, _)| n);
        let name = match name.rsplit_once(" (") {
            Some((n, time)) if time.ends_with(" ms)") => n,
            _ => name,
        };
        if unit.starts_with(DRAWN) {
            let name = name.replace(|c: char| c.is_ascii_digit(), "#");
            all.note_worst(&format!("{unit}: {name}"), verdict);
        } else {
            all.note(&format!("{unit}: {name}"), verdict);
        }
    }
    if !over {
        all.note(&format!("{unit} (to its end)"), Verdict::Failed);
    }
    all
}

fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut parts = line.split('\u{1b}');
    plain += parts.next().unwrap_or("");
    for part in parts {
        plain += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_suite_prints() {
        let text = "Testing unit/x\n[\u{1b}[0;32;49mok\u{1b}[0m]: A (b) test (12 ms)\n\
                    [\u{1b}[0;31;49merr\u{1b}[0m]: B in tests/unit/x.tcl\n\
                    [ignore]: C\n[1/1 done]: unit/x (1 seconds)\n   The End\n";
        let all = parse("unit/x", text);
        assert_eq!(all.get("unit/x: A (b) test"), Some(Verdict::Passed));
        assert_eq!(all.get("unit/x: B"), Some(Verdict::Failed));
        assert_eq!(all.get("unit/x: C"), Some(Verdict::Skipped));
        assert_eq!(all.iter().count(), 3);
        let text = "[ok]: Set #1 (1 ms)\n[err]: Set #2\n[ok]: Set #4 (1 ms)\nThe End\n";
        let drawn = parse("integration/psync2", text);
        assert_eq!(drawn.count(Verdict::Failed), 1);
        assert_eq!(drawn.iter().count(), 1);
        let cut = parse("unit/x", "[ok]: A (1 ms)\n");
        assert_eq!(cut.count(Verdict::Failed), 1);
    }
}
