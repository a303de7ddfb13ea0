//! Medians, ratios and the tables that show them.

use crate::pairs::{Comparison, Sample};
use comfy_table::{CellAlignment, Table, presets};

/// The median; 0 of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut v: Vec<f64> = values.into_iter().collect();
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => 0.0,
        n if n % 2 == 1 => v[n / 2],
        n => f64::midpoint(v[n / 2 - 1], v[n / 2]),
    }
}

/// A figure without and with ESCA, and the ratio of the pairs.
pub struct Row {
    /// Median without.
    pub plain: f64,
    /// Median with.
    pub esca: f64,
    /// Median of the pairs' ratios.
    pub ratio: f64,
    /// Least and greatest of the pairs' ratios.
    pub spread: (f64, f64),
}

/// A figure of all pairs.
pub fn row(c: &Comparison, f: fn(&Sample) -> f64) -> Row {
    let ratios: Vec<f64> = c
        .plain
        .iter()
        .zip(&c.esca)
        .map(|(p, e)| f(e) / f(p))
        .collect();
    Row {
        plain: median(c.plain.iter().map(f)),
        esca: median(c.esca.iter().map(f)),
        ratio: median(ratios.iter().copied()),
        spread: (
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        ),
    }
}

fn right(mut t: Table, from: usize) -> Table {
    for i in from..t.column_count() {
        if let Some(c) = t.column_mut(i) {
            c.set_cell_alignment(CellAlignment::Right);
        }
    }
    t
}

/// A name, a figure, digits after the point.
type Figure = (&'static str, fn(&Sample) -> f64, usize);

/// One comparison in full.
pub fn detail(c: &Comparison) -> Table {
    let mut t = Table::new();
    t.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    t.set_header(["", "without", "with ESCA", "ratio", "spread of ratios"]);
    let figures: [Figure; 4] = [
        ("requests/s", |s| s.rate, 0),
        ("CPU per request (us)", |s| s.cpu, 2),
        ("latency p50 (us)", |s| s.p50, 0),
        ("latency p99 (us)", |s| s.p99, 0),
    ];
    for (name, f, digits) in figures {
        let r = row(c, f);
        t.add_row([
            name.to_string(),
            format!("{:.*}", digits, r.plain),
            format!("{:.*}", digits, r.esca),
            format!("{:.2}x", r.ratio),
            format!("{:.2} - {:.2}", r.spread.0, r.spread.1),
        ]);
    }
    let counts = [
        (
            "system calls per request",
            c.plain_counts.syscalls,
            c.esca_counts.syscalls,
        ),
        (
            "TCP segments per request",
            c.plain_counts.segments,
            c.esca_counts.segments,
        ),
    ];
    for (name, p, e) in counts {
        let show = |x: Option<f64>| x.map_or("n/a".into(), |x| format!("{x:.2}"));
        let ratio = p.zip(e).map(|(p, e)| e / p);
        t.add_row([
            name.to_string(),
            show(p),
            show(e),
            ratio.map_or("n/a".into(), |r| format!("{r:.2}x")),
            "one count".into(),
        ]);
    }
    right(t, 1)
}

/// Many comparisons, a line each.
pub fn summary(all: &[Comparison]) -> Table {
    let mut t = Table::new();
    t.load_preset(presets::ASCII_MARKDOWN);
    t.set_header([
        "load",
        "policy",
        "requests/s",
        "ratio",
        "spread",
        "to reach",
        "CPU us/request",
        "ratio",
        "spread",
        "to reach",
        "syscalls",
        "segments",
    ]);
    for c in all {
        let (rate, cpu) = (row(c, |s| s.rate), row(c, |s| s.cpu));
        let both = |p: Option<f64>, e: Option<f64>| match p.zip(e) {
            Some((p, e)) => format!("{p:.2} -> {e:.2}"),
            None => "n/a".into(),
        };
        t.add_row([
            format!("{} {}", c.server, c.load),
            c.policy.clone(),
            format!("{:.0} -> {:.0}", rate.plain, rate.esca),
            format!("{:.2}x", rate.ratio),
            format!("{:.2}-{:.2}", rate.spread.0, rate.spread.1),
            format!(">= {:.2}", c.target.0),
            format!("{:.2} -> {:.2}", cpu.plain, cpu.esca),
            format!("{:.2}x", cpu.ratio),
            format!("{:.2}-{:.2}", cpu.spread.0, cpu.spread.1),
            format!("<= {:.2}", c.target.1),
            both(c.plain_counts.syscalls, c.esca_counts.syscalls),
            both(c.plain_counts.segments, c.esca_counts.segments),
        ]);
    }
    right(t, 2)
}

#[cfg(test)]
mod tests {
    #[test]
    fn medians() {
        assert_eq!(super::median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median([4.0, 1.0]), 2.5);
        assert_eq!(super::median([]), 0.0);
    }
}
