//! The report as one HTML page: no script, nothing to fetch.

use super::estimate::Estimate;
use super::plot;
use super::report::Report;
use super::series::{Comparison, Figure};
use super::table::{COUNTS, FIGURES};
use anyhow::Result;
use std::fmt::Write;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1f2328;--dim:#57606a;--paper:#fff;--line:#d8dee4;--link:#0969da;--good:#1a7f37;--bad:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--paper:#0d1117;--line:#30363d;--link:#4493f8;--good:#3fb950;--bad:#f85149}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line)}
h2 small{font-weight:400;color:var(--dim);margin-left:.5rem}
p{max-width:75ch}p.note,dt,th,td.range{color:var(--dim)}a{color:var(--link);text-decoration:none}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .7rem;text-align:right;white-space:nowrap}tr{border-bottom:1px solid var(--line)}
table.all tr{border:0}table.all tr.first{border-top:1px solid var(--line)}
th:first-child,td:first-child,th.name,td.name{text-align:left}th{font-weight:600}td.range{font-size:.85em}
.better{color:var(--good);font-weight:600}.worse{color:var(--bad);font-weight:600}
section{margin:1rem 0;display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}svg{max-width:100%;height:auto}
.wide{overflow-x:auto;flex:1 1 100%}.stack{display:flex;flex-direction:column;gap:1rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;font-size:.9em}dd{margin:0;overflow-wrap:anywhere}";

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
         <p class=\"note\">{} x {}, Linux {} \u{b7} <a href=\"#how\">how, where, what exactly</a></p>\n\
         <p>Each line is a configuration, compared with the first one of its load, {}: the median \
         of the rounds' ratios and its 95 % interval. A ratio is <span class=\"better\">green</span> \
         or <span class=\"worse\">red</span> where the whole interval is on one side of 1.</p>\n",
        report.host.cpus,
        escape(&report.host.cpu),
        escape(&report.host.kernel),
        escape(
            report
                .results
                .first()
                .map_or("plain", |c| &c.series[0].config)
        ),
    );
    summary(&mut out, &report.results);
    out.push_str("<section>\n");
    for (_, svg) in plot::all(report)? {
        let _ = writeln!(out, "{svg}");
    }
    out.push_str("</section>\n");
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
        out.push_str("<div class=\"stack\">");
        let figures: [(&str, Figure); 2] = [
            ("CPU per request", |s| Some(s.cpu)),
            ("Requests/s", |s| Some(s.rate)),
        ];
        for (what, figure) in figures {
            let base = &c.series[0].config;
            let title = format!("{what} of every round, relative to {base}");
            out.push_str(&plot::ratios(&[c], figure, &title)?);
        }
        out.push_str("</div></section>\n");
    }
    machine(&mut out, report);
    out.push_str("</html>\n");
    Ok(out)
}

/// The answer first: what each configuration makes of each load.
fn summary(out: &mut String, all: &[Comparison]) {
    out.push_str(
        "<div class=\"wide\"><table class=\"all\"><tr><th>load<th class=\"name\">configuration<th>requests/s\
         <th>95 % interval<th>CPU per request<th>95 % interval<th>segments",
    );
    for (i, c) in all.iter().enumerate() {
        let base = &c.series[0];
        for (k, s) in c.series.iter().enumerate().skip(1) {
            let class = if k == 1 { " class=\"first\"" } else { "" };
            let load = format!("{} {}", escape(&c.server), escape(&c.load));
            let load = match k {
                1 => format!("<a href=\"#load{i}\">{load}</a>"),
                _ => String::new(),
            };
            let config = escape(&s.config);
            let _ = write!(out, "<tr{class}><td>{load}<td class=\"name\">{config}");
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
    let _ = write!(
        out,
        "<h2 id=\"how\">How and where</h2><p>{}</p><dl>",
        escape(&report.method)
    );
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
        // Two of all loads; for each load latencies, and ratios of two figures.
        assert_eq!(page.matches("<svg").count(), 2 + 2 * 3);
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
