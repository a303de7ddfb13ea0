//! The tables on the terminal.

use super::estimate::Estimate;
use super::series::{Comparison, Figure, Series};
use comfy_table::{CellAlignment, Table, presets};

/// A figure's name, where it comes from, digits after the point.
pub const FIGURES: &[(&str, Figure, usize)] = &[
    ("requests/s", |s| Some(s.rate), 0),
    ("CPU per request (us)", |s| Some(s.cpu), 2),
    ("latency p50 (us)", |s| s.p50, 0),
    ("latency p99 (us)", |s| s.p99, 0),
    ("latency p99.9 (us)", |s| s.p999, 0),
    ("TCP segments per request", |s| s.segments, 2),
    ("context switches per request", |s| Some(s.switches), 3),
];

/// A count of a series.
type Count = fn(&Series) -> Option<f64>;

/// A count's name and where it comes from.
pub const COUNTS: &[(&str, Count)] = &[
    ("system calls per request", |s| s.calls),
    ("kernel entries per request", |s| s.entries),
];

fn right(mut t: Table, from: usize) -> Table {
    for i in from..t.column_count() {
        if let Some(c) = t.column_mut(i) {
            c.set_cell_alignment(CellAlignment::Right);
        }
    }
    t
}

fn number(x: Option<f64>, digits: usize) -> String {
    x.map_or_else(|| "n/a".into(), |x| format!("{x:.digits$}"))
}

fn ratio(e: Option<Estimate>) -> [String; 2] {
    match e {
        Some(e) => [
            format!("{:.2}x", e.median),
            format!("{:.2} - {:.2}", e.low, e.high),
        ],
        None => ["n/a".into(), String::new()],
    }
}

/// One comparison in full: a column for each configuration, and its ratio to
/// the first.
pub fn detail(c: &Comparison) -> Table {
    let (base, others) = (&c.series[0], &c.series[1..]);
    let mut t = Table::new();
    t.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let mut head = vec![String::new(), base.config.clone()];
    for s in others {
        head.extend([s.config.clone(), "ratio".into(), "95 % interval".into()]);
    }
    t.set_header(head);
    for (name, f, digits) in FIGURES {
        let mut row = vec![(*name).to_string(), number(base.median(*f), *digits)];
        for s in others {
            row.push(number(s.median(*f), *digits));
            row.extend(ratio(s.ratio(base, *f)));
        }
        t.add_row(row);
    }
    for (name, f) in COUNTS {
        let mut row = vec![(*name).to_string(), number(f(base), 2)];
        for s in others {
            row.push(number(f(s), 2));
            let r = f(s).zip(f(base)).map(|(s, b)| s / b);
            row.push(r.map_or("n/a".into(), |r| format!("{r:.2}x")));
            row.push("one count".into());
        }
        t.add_row(row);
    }
    right(t, 1)
}

/// Many comparisons, a line for each configuration.
pub fn summary(all: &[Comparison]) -> Table {
    let mut t = Table::new();
    t.load_preset(presets::ASCII_MARKDOWN);
    t.set_header([
        "load",
        "configuration",
        "requests/s",
        "ratio",
        "95 % interval",
        "CPU us/request",
        "ratio",
        "95 % interval",
        "rounds",
    ]);
    for c in all {
        let base = &c.series[0];
        for (i, s) in c.series.iter().enumerate() {
            let compared = |f: Figure| {
                if i == 0 {
                    return [String::new(), String::new()];
                }
                ratio(s.ratio(base, f))
            };
            let [rate, rate_interval] = compared(|s| Some(s.rate));
            let [cpu, cpu_interval] = compared(|s| Some(s.cpu));
            t.add_row([
                format!("{} {}", c.server, c.load),
                s.config.clone(),
                number(s.median(|s| Some(s.rate)), 0),
                rate,
                rate_interval,
                number(s.median(|s| Some(s.cpu)), 2),
                cpu,
                cpu_interval,
                s.slices.len().to_string(),
            ]);
        }
    }
    right(t, 2)
}

/// The same comparisons' other figures: latencies, and counts per request.
pub fn rest(all: &[Comparison]) -> Table {
    let mut t = Table::new();
    t.load_preset(presets::ASCII_MARKDOWN);
    t.set_header([
        "load",
        "configuration",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "system calls",
        "kernel entries",
        "segments",
        "context switches",
    ]);
    for c in all {
        for s in &c.series {
            t.add_row([
                format!("{} {}", c.server, c.load),
                s.config.clone(),
                number(s.median(|s| s.p50), 0),
                number(s.median(|s| s.p99), 0),
                number(s.median(|s| s.p999), 0),
                number(s.calls, 2),
                number(s.entries, 2),
                number(s.median(|s| s.segments), 2),
                number(s.median(|s| Some(s.switches)), 3),
            ]);
        }
    }
    right(t, 2)
}

#[cfg(test)]
mod tests {
    use super::super::compare::tests::comparison;
    use super::*;

    #[test]
    fn tables_show_ratios_with_intervals() {
        let c = comparison();
        let text = detail(&c).to_string();
        assert!(text.contains("0.75x") && text.contains("1.20x"), "{text}");
        assert!(text.contains("n/a"), "p99.9 was not measured: {text}");
        let all = [c];
        let text = summary(&all).to_string();
        assert!(text.contains("0.75 - 0.75"), "{text}");
        assert_eq!(text.lines().count(), 4);
        let text = rest(&all).to_string();
        // Latencies, a percentile that was not measured, counts.
        for part in [
            "115 ", " 900 ", " n/a ", " 6.00 ", " 5.00 ", " 2.00 ", " 0.100 ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
