//! One look at a server, ready to be printed in any form.

use crate::observe::{Counts, Family, Figures, Standing};
use esca_abi::json::{BACKENDS, POLICIES};
use esca_abi::stats::{ALL, Counter, NAMES};
use esca_abi::status::Status;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Everything that is shown. Its names are those of the JSON output.
#[derive(Serialize)]
pub struct Report {
    pub pid: i32,
    pub name: String,
    pub policy: &'static str,
    pub backend: &'static str,
    pub rules_on: Vec<&'static str>,
    /// Why the library does less than it was asked for.
    pub status: Vec<Reason>,
    pub processes: Vec<Line>,
    /// Since the server started.
    pub total: Part,
    /// Since the look before; none at the first.
    pub interval: Option<Part>,
}

/// A reason: its name, a number that says more (0 for none), a sentence.
#[derive(Serialize)]
pub struct Reason {
    pub reason: &'static str,
    pub number: u8,
    pub text: String,
}

/// A process.
#[derive(Serialize)]
pub struct Line {
    pub pid: i32,
    pub name: String,
    /// `counting`, `waiting` (for its first event), `without` or `shared`
    /// (its counts stand with another process).
    pub state: &'static str,
    pub figures: Figures,
}

/// Counters over some time.
#[derive(Serialize)]
pub struct Part {
    pub seconds: Option<f64>,
    pub figures: Figures,
    #[serde(serialize_with = "grouped")]
    pub counters: Counts,
}

fn name(names: &[&'static str], n: u32) -> &'static str {
    names.get(n as usize).copied().unwrap_or("?")
}

/// An object for each group of counters.
fn grouped<S: Serializer>(c: &Counts, s: S) -> Result<S::Ok, S::Error> {
    let mut groups: Vec<(&str, serde_json::Map<String, serde_json::Value>)> = Vec::new();
    for (counter, (group, name)) in ALL.iter().zip(NAMES) {
        if groups.last().is_none_or(|(g, _)| g != group) {
            groups.push((group, serde_json::Map::new()));
        }
        if let Some((_, map)) = groups.last_mut() {
            // A save may be taken back a moment later: signed.
            let n = c.get(*counter) as i64;
            map.insert((*name).into(), n.into());
        }
    }
    s.collect_map(groups)
}

impl Report {
    /// From the family's last look, and from what changed since `before`.
    pub fn new(family: &Family, before: Option<(&Counts, Duration)>) -> Self {
        let header = family.header();
        let header = header.as_ref();
        let rules = header.map_or(0, |h| h.rules);
        let reason = |(status, number): (Status, u8)| Reason {
            reason: status.name(),
            number,
            text: status.to_string(),
        };
        let names = NAMES.iter().filter(|(g, _)| *g == "rules");
        let total = family.total();
        let line = |m: &crate::observe::Member| Line {
            pid: m.pid,
            name: m.name.clone(),
            state: match m.standing {
                _ if family.shares(m) => "shared",
                Standing::Counting => "counting",
                Standing::Dormant => "waiting",
                Standing::Without => "without",
            },
            figures: m.counts.figures(),
        };
        Report {
            pid: family.pid(),
            name: family.name().into(),
            policy: header.map_or("?", |h| name(POLICIES, h.policy)),
            backend: header.map_or("?", |h| name(BACKENDS, h.backend)),
            rules_on: names
                .enumerate()
                .filter(|(i, _)| rules & (1 << i) != 0)
                .map(|(_, (_, n))| *n)
                .collect(),
            status: family.noted().into_iter().map(reason).collect(),
            processes: family.members.iter().map(line).collect(),
            interval: before.map(|(b, t)| Part::new(total.since(b), Some(t))),
            total: Part::new(total, None),
        }
    }

    /// Whether the counters say what would be.
    pub fn watching(&self) -> bool {
        self.policy == "watch"
    }

    /// The newest figures: of the interval, else of all time.
    pub fn latest(&self) -> &Part {
        self.interval.as_ref().unwrap_or(&self.total)
    }
}

impl Part {
    fn new(counters: Counts, over: Option<Duration>) -> Self {
        Part {
            seconds: over.map(|t| t.as_secs_f64()),
            figures: counters.figures(),
            counters,
        }
    }

    /// `n` per second, where the time is known.
    pub fn rate(&self, c: Counter) -> Option<f64> {
        Some(self.counters.get(c) as i64 as f64 / self.seconds?)
    }
}
