//! The table of the README, made from the data file between two markers.

use super::report::Report;
use super::series::{Comparison, Figure, Series};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- bench: begin (made from the data file by esca bench --readme) -->\n";
const END: &str = "<!-- bench: end -->";

/// Configurations that the README shows beside the plain server; the data file
/// and the report have all.
const SHOWN: &[&str] = &["coalesce", "tuned"];

/// The section: a table, and the machine it was made on.
pub fn section(report: &Report) -> String {
    let mut out = String::from(
        "| load | configuration | requests/s | ratio (95 % interval) | CPU us/request | \
         ratio (95 % interval) | system calls | kernel entries | segments |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for c in report.results.iter().filter(|c| c.sweep.is_none()) {
        for s in c.series.iter().skip(1) {
            if SHOWN.contains(&s.config.as_str()) {
                row(&mut out, c, s);
            }
        }
    }
    let h = &report.host;
    let meltdown = h.mitigations.get("meltdown").map_or("unknown", |m| m);
    let place = if h.own_network {
        "a network namespace of its own"
    } else {
        "the machine's network"
    };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "\nMade by `{}` on {} x {}, Linux {}, Meltdown: {meltdown}; loopback in {place}, {}. {}. {}\n",
        report.command,
        h.cpus,
        h.cpu,
        h.kernel,
        h.congestion_control,
        report.versions.join("; "),
        report.method.replace('\n', " "),
    );
    out
}

fn row(out: &mut String, c: &Comparison, s: &Series) {
    let base = &c.series[0];
    let both = |f: Figure, digits: usize| match base.median(f).zip(s.median(f)) {
        Some((b, s)) => format!("{b:.digits$} -> {s:.digits$}"),
        None => "n/a".into(),
    };
    let ratio = |f: Figure| {
        s.ratio(base, f).map_or("n/a".into(), |e| {
            format!("{:.2}x ({:.2}-{:.2})", e.median, e.low, e.high)
        })
    };
    let count = |b: Option<f64>, s: Option<f64>| match b.zip(s) {
        Some((b, s)) => format!("{b:.2} -> {s:.2}"),
        None => "n/a".into(),
    };
    let _ = writeln!(
        out,
        "| {} {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        c.server,
        c.load,
        s.config,
        both(|s| Some(s.rate), 0),
        ratio(|s| Some(s.rate)),
        both(|s| Some(s.cpu), 2),
        ratio(|s| Some(s.cpu)),
        count(base.calls, s.calls),
        count(base.entries, s.entries),
        both(|s| s.segments, 2),
    );
}

/// The text between the markers.
fn between(text: &str) -> Result<(usize, usize)> {
    let start = text.find(BEGIN).context("no line that begins it")? + BEGIN.len();
    let end = text[start..].find(END).context("no line that ends it")?;
    ensure!(!text[start..start + end].contains(BEGIN), "it begins twice");
    Ok((start, start + end))
}

/// Puts the section into the file.
pub fn update(path: &Path, report: &Report) -> Result<()> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let (a, b) = between(&text).with_context(|| format!("the table in {name}"))?;
    let text = format!("{}{}{}", &text[..a], section(report), &text[b..]);
    std::fs::write(path, text).with_context(|| format!("cannot write {name}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn the_section_is_put_between_the_markers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("README.md");
        std::fs::write(&path, format!("before\n{BEGIN}old\n{END}\nafter\n")).unwrap();
        for _ in 0..2 {
            update(&path, &report()).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("before\n<!-- bench") && text.ends_with("end -->\nafter\n"));
            assert!(text.contains("0.75x (0.75-0.75)") && !text.contains("old"));
        }
        std::fs::write(&path, "nothing").unwrap();
        assert!(update(&path, &report()).is_err());
    }

    /// The README says what was measured.
    #[test]
    fn the_readme_and_the_data_file_agree() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let report = Report::read(&top.join("docs/figures/bench.json")).unwrap();
        let text = std::fs::read_to_string(top.join("README.md")).unwrap();
        let (a, b) = between(&text).unwrap();
        assert_eq!(
            &text[a..b],
            section(&report),
            "'esca bench --from docs/figures/bench.json --readme README.md' makes it again"
        );
    }
}
