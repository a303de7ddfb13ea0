//! The report as plain lines, for terminals without a screen and for logs.

use super::report::{Line, Part, Reason, Report};
use crate::observe::Figures;
use esca_abi::stats::{ALL, Counter, NAMES};
use std::fmt::Write;

/// The whole report.
pub fn render(r: &Report) -> String {
    let mut t = String::new();
    let _ = writeln!(
        t,
        "{} {}: policy {}, backend {}, rules {}",
        r.name,
        r.pid,
        r.policy,
        r.backend,
        if r.rules_on.is_empty() {
            "none".into()
        } else {
            r.rules_on.join(" ")
        }
    );
    for reason in &r.status {
        let _ = writeln!(t, "  {:<14} {}", "status", sentence(reason));
    }
    let _ = writeln!(t, "  since start    {}", summary(&r.total, r.watching()));
    if let Some(i) = &r.interval {
        let what = format!("last {:.1} s", i.seconds.unwrap_or(0.0));
        let _ = writeln!(t, "  {what:<14} {}", summary(i, r.watching()));
    }
    for (group, text) in groups(&r.latest().counters) {
        let _ = writeln!(t, "  {group:<14} {text}");
    }
    for p in &r.processes {
        let _ = writeln!(
            t,
            "  process        {} {}: {}",
            p.name,
            p.pid,
            process(p, r.watching())
        );
    }
    t
}

/// A reason in words, its number at the end.
pub fn sentence(r: &Reason) -> String {
    match r.number {
        0 => r.text.clone(),
        n => format!("{} ({n})", r.text),
    }
}

/// What a process did, or why it has nothing to show.
pub fn process(p: &Line, watching: bool) -> String {
    match p.state {
        "counting" => per_request(&p.figures, watching),
        "waiting" => "has not waited for events yet (a master never does)".into(),
        "shared" => "counts together with the process above".into(),
        _ => "runs without the library".into(),
    }
}

/// Requests, with their rate where the time is known, and what each took.
fn summary(p: &Part, watching: bool) -> String {
    let mut t = per_request(&p.figures, watching);
    if let Some(rate) = p.rate(Counter::Answered) {
        t = format!("{rate:.0} requests/s; {t}");
    }
    t
}

/// "1000 requests; calls per request 6.0 -> 5.0, segments 2.0 -> 1.0".
fn per_request(f: &Figures, watching: bool) -> String {
    let (Some(calls), Some(segments)) = (f.calls(watching), f.segments()) else {
        return "no request yet".into();
    };
    let arrow = if watching { "would be" } else { "->" };
    format!(
        "{} requests; calls per request {:.2} {arrow} {:.2}, segments {:.2} {arrow} {:.2}",
        f.requests, calls.0, calls.1, segments.0, segments.1
    )
}

/// A line for each group with something in it.
fn groups(c: &crate::observe::Counts) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for (counter, (group, name)) in ALL.iter().zip(NAMES) {
        let n = c.get(*counter) as i64;
        if n == 0 {
            continue;
        }
        let text = format!("{name} {n}");
        match all.last_mut() {
            Some((g, t)) if g == group => {
                t.push_str(", ");
                t.push_str(&text);
            }
            _ => all.push((group, text)),
        }
    }
    all
}
