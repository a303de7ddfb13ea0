//! `esca-vm count`: instructions per request of real servers.

use crate::machine::Outcome;
use anyhow::Result;
use std::fmt::Write;

/// The units that make the table's columns.
const UNITS: [&str; 4] = [
    "server's instructions",
    "machine's instructions",
    "segments",
    "library's kernel entries",
];

/// The figures as a table, each beside what it is without ESCA.
pub fn table(seen: &Outcome) -> Result<String> {
    let mut rows: Vec<(&str, u32, &str)> = Vec::new();
    for f in &seen.figures {
        let row = (f.what.as_str(), f.batch, f.how.as_str());
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let value = |row: (&str, u32, &str), unit: &str| {
        let all = &mut seen.figures.iter();
        let found =
            all.find(|f| (f.what.as_str(), f.batch, f.how.as_str()) == row && f.unit == unit);
        found.map(|f| f.value)
    };
    let mut out = String::from("| load | connections | policy |");
    for unit in UNITS {
        write!(out, " {unit} |")?;
    }
    out += "\n| --- | --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        write!(out, "| {} | {} | {} |", row.0, row.1, row.2)?;
        let plain = (row.0, row.1, "plain");
        for unit in UNITS {
            match (value(row, unit), value(plain, unit)) {
                (Some(v), Some(p)) if row.2 != "plain" && unit.contains("instructions") => {
                    write!(out, " {v:.0} ({:.3}x) |", v / p)?;
                }
                (Some(v), _) if unit.contains("instructions") => write!(out, " {v:.0} |")?,
                (Some(v), _) => write!(out, " {v:.2} |")?,
                (None, _) => out += " |",
            }
        }
        out += "\n";
    }
    Ok(out)
}
