//! The forecast for one process, in the user's terms.

use crate::observe::Counts;
use esca_abi::stats::Counter;
use serde::Serialize;
use std::fmt::Write;

/// How the calls were seen.
#[derive(Clone, Copy, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// By the library with policy watch: the calls that it interposes.
    Library,
    /// By trace points: every call.
    TracePoints,
}

/// Per request, as it is and as policy coalesce would make it.
#[derive(Clone, Serialize)]
pub struct Forecast {
    pub pid: i32,
    pub name: String,
    pub seen: Seen,
    pub requests: u64,
    pub calls: f64,
    pub calls_then: f64,
    pub segments: f64,
    pub segments_then: f64,
    /// With a backend that takes a round's sends in one kernel entry.
    pub calls_batched: f64,
    /// How often each rule would rewrite something, per request.
    pub rules: Vec<(&'static str, f64)>,
}

impl Forecast {
    /// From what policy watch counted; `calls` where more were seen than
    /// those. None without a request.
    pub fn new(pid: i32, name: &str, counts: &Counts, calls: Option<u64>) -> Option<Self> {
        let f = counts.figures();
        let (segments, segments_then) = f.segments()?;
        let requests = f.requests as f64;
        let seen = calls.map_or(Seen::Library, |_| Seen::TracePoints);
        let calls = calls.map_or(f.calls?, |n| n as f64 / requests);
        let calls_then = (calls - f.saved?).max(0.0);
        let rounds = counts.get(Counter::FlushWait) as f64 / requests;
        let rules = esca_engine::rules::LIST.iter();
        Some(Forecast {
            pid,
            name: name.into(),
            seen,
            requests: f.requests,
            calls,
            calls_then,
            segments,
            segments_then,
            calls_batched: (calls_then - (segments_then - rounds).max(0.0)).max(0.0),
            rules: rules
                .map(|r| (r.name, counts.get(r.counter) as f64 / requests))
                .collect(),
        })
    }

    /// A line with the answer and a few that explain it.
    pub fn render(&self) -> String {
        let mut t = format!(
            "{} {}: {:.1} calls and {:.1} segments per request; coalescing would make it {:.1} \
             and {:.1}\n",
            self.name, self.pid, self.calls, self.segments, self.calls_then, self.segments_then
        );
        let what = match self.seen {
            Seen::Library => "calls that the library sees",
            Seen::TracePoints => "every system call",
        };
        let _ = writeln!(t, "    seen      {} requests, {what}", self.requests);
        let rules: Vec<_> = self.rules.iter().filter(|(_, n)| *n >= 0.005).collect();
        if rules.is_empty() {
            t.push_str("    rules     none has anything to do: ESCA would gain nothing here\n");
        }
        for (name, n) in rules {
            let _ = writeln!(t, "    rule      {name} {n:.2} per request");
        }
        let _ = writeln!(
            t,
            "    batched   {:.1} calls, with a backend that takes a round's sends at once",
            self.calls_batched
        );
        t
    }
}
