//! The report as one HTML page: no script, nothing to fetch.

use super::compare::Comparison;
use super::plot;
use super::report::Report;
use super::table::{COUNTS, FIGURES};
use anyhow::Result;
use std::fmt::Write;

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff;max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.2rem 0 .4rem;border-bottom:1px solid #d8dee4}
p.note{color:#57606a}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
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
    machine(&mut out, report);
    for (name, svg) in plot::all(report)? {
        let _ = writeln!(out, "<section id=\"{name}\">{svg}</section>");
    }
    for c in &report.results {
        let _ = writeln!(
            out,
            "<h2>{} {} <small>{} connections, {} worker</small></h2>\n<section>",
            escape(&c.server),
            escape(&c.load),
            c.connections,
            c.workers
        );
        table(&mut out, c);
        if c.series.iter().any(|s| !s.latencies.is_empty()) {
            out.push_str(&plot::latencies(c)?);
        }
        out.push_str(&plot::ratios(
            &[c],
            |s| Some(s.cpu),
            "CPU per request, every round, relative to the first",
        )?);
        out.push_str("</section>\n");
    }
    out.push_str("</html>\n");
    Ok(out)
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
            let Some(e) = s.ratio(base, *f) else {
                out.push_str("<td>n/a<td>");
                continue;
            };
            // Only what the interval sets apart from 1 is said to differ.
            let more_is_better = *name == "requests/s";
            let class = match (e.low > 1.0, e.high < 1.0) {
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
        for outside in ["<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
