//! The report as one HTML page: no script, nothing to fetch.

use super::compare::Comparison;
use super::estimate::Estimate;
use super::plot;
use super::report::Report;
use super::table::{COUNTS, FIGURES};
use anyhow::Result;
use std::fmt::Write;

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff;max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.2rem 0 .4rem;border-bottom:1px solid #d8dee4}
p.note{color:#57606a}a{color:#0969da;text-decoration:none}td.name{text-align:left}tr.first td{border-top:1px solid #afb8c1}
dl{font-size:.9em;margin:1.5rem 0}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #eaeef2;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:#57606a;font-weight:600}
td.range{color:#57606a;font-size:.85em}.better{color:#1a7f37;font-weight:600}.worse{color:#cf222e;font-weight:600}
section{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}svg{max-width:100%;height:auto}
.wide{overflow-x:auto;flex:1 1 100%}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:#57606a}dd{margin:0}";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The whole page.
pub fn page(report: &Report) -> Result<String> {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>ESCA: measured</title><style>{STYLE}</style>\n<h1>ESCA, measured</h1>\n\
         <p class=\"note\">{}</p>\n",
        escape(&report.method)
    );
    summary(&mut out, &report.results);
    machine(&mut out, report);
    for (name, svg) in plot::all(report)? {
        let _ = writeln!(out, "<section id=\"{name}\">{svg}</section>");
    }
    for (i, c) in report.results.iter().enumerate() {
        let many = |n: u32, what| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let _ = writeln!(
            out,
            "<h2 id=\"load{i}\">{} {} <small>{}, {}</small></h2>\n<section>",
            escape(&c.server),
            escape(&c.load),
            many(c.connections, "connection"),
            many(c.workers, "worker"),
        );
        table(&mut out, c);
        if c.series.iter().any(|s| !s.latencies.is_empty()) {
            out.push_str(&plot::latencies(c)?);
        }
        out.push_str(&plot::ratios(
            &[c],
            |s| Some(s.cpu),
            &format!(
                "CPU per request of every round, relative to {}",
                c.series[0].config
            ),
        )?);
        out.push_str("</section>\n");
    }
    out.push_str("</html>\n");
    Ok(out)
}

/// The answer first: what each configuration makes of each load.
fn summary(out: &mut String, all: &[Comparison]) {
    out.push_str(
        "<div class=\"wide\"><table><tr><th>load<th>configuration<th>requests/s\
         <th>95 % interval<th>CPU per request<th>95 % interval<th>segments",
    );
    for (i, c) in all.iter().enumerate() {
        let base = &c.series[0];
        for (k, s) in c.series.iter().enumerate().skip(1) {
            let class = if k == 1 { " class=\"first\"" } else { "" };
            let load = format!("{} {}", escape(&c.server), escape(&c.load));
            let _ = write!(
                out,
                "<tr{class}><td><a href=\"#load{i}\">{load}</a><td class=\"name\">{}",
                escape(&s.config)
            );
            for (name, f, _) in &FIGURES[..2] {
                ratio(out, name, s.ratio(base, *f));
            }
            let segments = base.median(|s| s.segments).zip(s.median(|s| s.segments));
            let segments = segments.map(|(b, s)| format!("{b:.1} &rarr; {s:.1}"));
            let _ = write!(out, "<td>{}", segments.unwrap_or_default());
        }
    }
    out.push_str("</table></div>\n");
}

/// Two cells: a ratio, coloured where its interval sets it apart from 1, and
/// the interval.
fn ratio(out: &mut String, name: &str, e: Option<Estimate>) {
    let Some(e) = e else {
        out.push_str("<td>n/a<td>");
        return;
    };
    let more_is_better = name == "requests/s";
    let class = match (e.low > 1.0, e.high < 1.0) {
        // Neither good nor bad by themselves.
        _ if name.starts_with("context switches") => "same",
        (true, _) if more_is_better => "better",
        (_, true) if !more_is_better => "better",
        (false, false) => "same",
        _ => "worse",
    };
    let _ = write!(
        out,
        "<td class=\"{class}\">{:.2}x<td class=\"range\">{:.2} - {:.2}",
        e.median, e.low, e.high
    );
}

fn machine(out: &mut String, report: &Report) {
    let h = &report.host;
    let own = if h.own_network { ", own namespace" } else { "" };
    let mut rows = vec![
        ("kernel", h.kernel.clone()),
        ("processor", format!("{} x {}", h.cpus, h.cpu)),
        (
            "network",
            format!("loopback, {}{own}", h.congestion_control),
        ),
        ("versions", report.versions.join("; ")),
        ("command", report.command.clone()),
    ];
    let not_affected = |m: &&String| !m.starts_with("Not affected");
    let kept = h.mitigations.iter().filter(|(_, m)| not_affected(m));
    let kept: Vec<_> = kept.map(|(n, m)| format!("{n}: {m}")).collect();
    rows.push(("mitigations", kept.join("; ")));
    out.push_str("<dl>");
    for (name, value) in rows {
        let _ = write!(out, "<dt>{name}<dd>{}", escape(&value));
    }
    out.push_str("</dl>\n");
}

fn table(out: &mut String, c: &Comparison) {
    let (base, others) = (&c.series[0], &c.series[1..]);
    let _ = write!(
        out,
        "<div class=\"wide\"><table><tr><th><th>{}",
        escape(&base.config)
    );
    for s in others {
        let _ = write!(out, "<th>{}<th>ratio<th>95 % interval", escape(&s.config));
    }
    let show = |x: Option<f64>, digits: usize| {
        x.map_or_else(|| "n/a".to_string(), |x| format!("{x:.digits$}"))
    };
    for (name, f, digits) in FIGURES {
        let _ = write!(out, "<tr><td>{name}<td>{}", show(base.median(*f), *digits));
        for s in others {
            let _ = write!(out, "<td>{}", show(s.median(*f), *digits));
            ratio(out, name, s.ratio(base, *f));
        }
    }
    for (name, f) in COUNTS {
        let _ = write!(out, "<tr><td>{name}<td>{}", show(f(base), 2));
        for s in others {
            let ratio = f(s).zip(f(base)).map(|(s, b)| s / b);
            let ratio = ratio.map_or("n/a".into(), |r| format!("{r:.2}x"));
            let _ = write!(
                out,
                "<td>{}<td>{ratio}<td class=\"range\">one count",
                show(f(s), 2)
            );
        }
    }
    out.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;

    #[test]
    fn one_page_with_nothing_to_fetch() {
        let page = super::page(&report()).unwrap();
        assert!(page.contains("A &lt;CPU&gt;"), "names are escaped");
        // Two of all loads; for each load latencies and ratios.
        assert_eq!(page.matches("<svg").count(), 2 + 2 * 2);
        assert!(page.contains("class=\"better\">0.75x"));
        assert!(page.contains("class=\"better\">1.20x"));
        // A line of the summary leads to each load.
        for i in 0..2 {
            let (from, to) = (format!("href=\"#load{i}\""), format!("id=\"load{i}\""));
            assert!(page.contains(&from) && page.contains(&to), "{i}");
        }
        for outside in ["<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
