//! The report in Prometheus' text exposition format.

use super::report::Report;
use esca_abi::stats::{ALL, Counter, NAMES};
use std::fmt::Write;

/// A metric: its name, its type, what it says, and the label that tells the
/// counters of a group apart (none where the counter stands alone).
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    label: Option<&'static str>,
}

const fn counter(name: &'static str, label: Option<&'static str>, help: &'static str) -> Metric {
    Metric {
        name,
        kind: "counter",
        help,
        label,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: "gauge",
        help,
        label: None,
    }
}

/// Where a counter belongs.
fn metric(c: Counter, group: &str) -> Metric {
    match (c, group) {
        (Counter::DeferredBytes, _) => counter(
            "esca_deferred_bytes_total",
            None,
            "Bytes answered from custody.",
        ),
        (Counter::PeakBytes, _) => gauge(
            "esca_custody_peak_bytes",
            "Most bytes in custody at one time in one thread.",
        ),
        (Counter::Short, _) => counter(
            "esca_short_flushes_total",
            None,
            "Flushes of which the kernel took less than all.",
        ),
        (Counter::ResidueBytes, _) => counter(
            "esca_residue_bytes_total",
            None,
            "Bytes that waited for a socket to become writable.",
        ),
        (Counter::AsyncErrors, _) => counter(
            "esca_async_errors_total",
            None,
            "Errors that a deferred operation ran into.",
        ),
        (Counter::Made, _) => counter(
            "esca_kernel_entries_total",
            None,
            "Kernel entries made for the calls that the library sees.",
        ),
        // Counted at the deferral, taken back at the flush: not monotone.
        (Counter::Saved, _) => gauge(
            "esca_kernel_entries_saved",
            "Kernel entries saved since the start.",
        ),
        (Counter::Answered, _) => {
            counter("esca_requests_answered_total", None, "Requests answered.")
        }
        (_, "calls") => counter("esca_calls_total", Some("call"), "Calls seen, by kind."),
        (_, "operations") => counter(
            "esca_operations_total",
            Some("operation"),
            "Operations on streams, by what became of them.",
        ),
        (_, "rules") => counter("esca_rule_total", Some("rule"), "Rewritings, by rule."),
        (_, "flushes") => counter("esca_flushes_total", Some("cause"), "Flushes, by cause."),
        _ => counter("esca_other_total", Some("name"), "Other counters."),
    }
}

/// The whole text.
pub fn render(r: &Report) -> String {
    let mut t = String::new();
    let who = format!("server=\"{}\",pid=\"{}\"", escape(&r.name), r.pid);
    head(
        &mut t,
        &gauge("esca_info", "The library's settings in this server."),
    );
    let _ = writeln!(
        t,
        "esca_info{{{who},version=\"{}\",policy=\"{}\",backend=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION"),
        r.policy,
        r.backend
    );
    head(
        &mut t,
        &gauge("esca_processes", "Processes of this server that count."),
    );
    let counting = r
        .processes
        .iter()
        .filter(|p| matches!(p.state, "counting" | "shared"));
    let _ = writeln!(t, "esca_processes{{{who}}} {}", counting.count());
    if !r.status.is_empty() {
        let help = "Why the library does less than it was asked for.";
        head(&mut t, &gauge("esca_status", help));
    }
    for s in &r.status {
        let (reason, number) = (s.reason, s.number);
        let labels = format!("{who},reason=\"{reason}\",number=\"{number}\"");
        let _ = writeln!(t, "esca_status{{{labels}}} 1");
    }
    let mut all: Vec<_> = ALL
        .iter()
        .zip(NAMES)
        .map(|(c, (g, n))| (metric(*c, g), *c, *n))
        .collect();
    // A metric's lines stand together.
    all.sort_by_key(|(m, ..)| m.name);
    let mut last = "";
    for (m, c, name) in &all {
        if m.name != last {
            head(&mut t, m);
            last = m.name;
        }
        let label = m
            .label
            .map_or(String::new(), |l| format!(",{l}=\"{name}\""));
        let n = r.total.counters.get(*c) as i64;
        let _ = writeln!(t, "{}{{{who}{label}}} {n}", m.name);
    }
    t
}

fn head(t: &mut String, m: &Metric) {
    let _ = writeln!(
        t,
        "# HELP {} {}\n# TYPE {} {}",
        m.name, m.help, m.name, m.kind
    );
}

/// A label's value.
fn escape(s: &str) -> String {
    s.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place() {
        for (c, (group, name)) in ALL.iter().zip(NAMES) {
            assert_ne!(metric(*c, group).name, "esca_other_total", "{group}.{name}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }
}
