//! `esca-vm bench`: what operations cost by plain calls and by table.

use anyhow::{Context, Result};
use esca_vm::Figure;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- bench: begin (made from the data file by esca-vm bench --page) -->\n";
const END: &str = "<!-- bench: end -->";
/// Batch sizes that the page shows; the data file has all.
const SHOWN: [u32; 7] = [1, 2, 4, 8, 64, 256, 1024];

/// Figures of what an entry consists of.
const PART: &str = "part";

/// The data file.
#[derive(Serialize, Deserialize)]
pub struct Data {
    /// What made it.
    pub command: String,
    /// A run of each machine.
    pub machines: Vec<Machine>,
}

/// One machine's figures.
#[derive(Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// Page-table isolation: on or off.
    pub pti: String,
    /// Whether its unit is an instruction (else a nanosecond).
    pub counted: bool,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Machine {
    fn title(&self) -> String {
        let unit = if self.counted {
            "instructions"
        } else {
            "nanoseconds under plain TCG"
        };
        format!("{}, `pti={}`, {unit}", self.kernel, self.pti)
    }

    fn figure(&self, what: &str, how: &str, batch: u32) -> Option<&Figure> {
        let mut all = self.figures.iter();
        all.find(|f| f.what == what && f.how == how && f.batch == batch)
    }

    fn value(&self, what: &str, how: &str, batch: u32) -> Option<f64> {
        self.figure(what, how, batch).map(|f| f.value)
    }

    /// The smallest batch that costs no more by table. Sizes between those
    /// measured are reckoned: a table costs a fixed part and one for each
    /// operation.
    fn break_even(&self, what: &str, variant: &str) -> Option<u32> {
        let at = |how: &str, n| self.value(what, &format!("{how}{variant}"), n);
        let (one, many) = (at("table", 1)?, at("table", 64)?);
        let fixed = (one - many) / (1.0 - 1.0 / 64.0);
        let each = one - fixed;
        let plain = at("plain", 64)?;
        (1..=1024).find(|&n| each + fixed / f64::from(n) <= plain)
    }

    /// Its table.
    pub fn table(&self) -> String {
        let mut out = format!("{}:\n\n| operation | plain |", self.title());
        let mut rule = String::from("| --- | --- |");
        for n in SHOWN {
            let _ = write!(out, " table of {n} |");
            rule += " --- |";
        }
        let _ = write!(out, " pays from |\n{rule} --- |\n");
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for f in self.figures.iter().filter(|f| f.how != PART) {
            let (_, variant) = f.how.split_at(f.how.find(',').unwrap_or(f.how.len()));
            if !rows.contains(&(&f.what, variant)) {
                rows.push((&f.what, variant));
            }
        }
        for (what, variant) in rows {
            let at = |how: &str, n| self.figure(what, &format!("{how}{variant}"), n);
            let _ = write!(out, "| {what}{variant} | {} |", shown(at("plain", 64)));
            for n in SHOWN {
                let (table, base) = (at("table", n), at("plain", n));
                // Beside the plain calls that were made in the same batches.
                let ratio = value(table) / value(base);
                let _ = write!(out, " {} ({ratio:.2}x) |", shown(table));
            }
            let from = self.break_even(what, variant);
            let from = from.map_or("never".into(), |n| n.to_string());
            let _ = writeln!(out, " {from} |");
        }
        let parts = self.figures.iter().filter(|f| f.how == PART);
        let parts: Vec<_> = parts
            .map(|f| format!("{} {}", f.what, shown(Some(f))))
            .collect();
        if !parts.is_empty() {
            let _ = writeln!(out, "\nA kernel entry: {}.", parts.join(", "));
        }
        out
    }
}

fn value(figure: Option<&Figure>) -> f64 {
    figure.map_or(f64::NAN, |f| f.value)
}

/// A figure, with its spread if it has one.
fn shown(figure: Option<&Figure>) -> String {
    let value = value(figure);
    match figure.and_then(|f| f.spread) {
        Some(spread) => format!("{value:.0} ±{spread:.0}"),
        None => format!("{value:.0}"),
    }
}

/// Reads a data file.
pub fn read(path: &Path) -> Result<Data> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    serde_json::from_str(&text).with_context(|| format!("{shown} is no data file"))
}

/// Writes one.
pub fn write(data: &Data, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(data)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Puts the tables between the page's markers.
pub fn page(data: &Data, path: &Path) -> Result<()> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let (head, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{shown} has no line '{}'", BEGIN.trim()))?;
    let (_, tail) = rest
        .split_once(END)
        .with_context(|| format!("{shown} has no line '{END}' behind it"))?;
    let tables: Vec<_> = data.machines.iter().map(Machine::table).collect();
    let body = tables.join("\n");
    let command = &data.command;
    let text = format!("{head}{BEGIN}Made by `{command}`.\n\n{body}{END}{tail}");
    fs::write(path, text).with_context(|| format!("cannot write {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_pays_from_where_its_fixed_part_is_saved() {
        let mut figures = Vec::new();
        for n in [1, 2, 64] {
            let mut add = |how: &str, value| {
                figures.push(Figure {
                    what: "nop".into(),
                    how: how.into(),
                    batch: n,
                    unit: "instructions".into(),
                    value,
                    spread: (n == 64).then_some(3.0),
                });
            };
            add("plain, threads", 300.0);
            add("table, threads", 50.0 + 700.0 / f64::from(n));
        }
        let machine = Machine {
            kernel: "6.12".into(),
            pti: "off".into(),
            counted: true,
            figures,
        };
        assert_eq!(machine.break_even("nop", ", threads"), Some(3));
        assert_eq!(machine.break_even("nop", ""), None);
        let table = machine.table();
        assert!(
            table.contains("| nop, threads | 300 ±3 | 750 (2.50x) | 400 (1.33x) |"),
            "{table}"
        );
        assert!(
            table.ends_with(" 61 ±3 (0.20x) | NaN (NaNx) | NaN (NaNx) | 3 |\n"),
            "{table}"
        );
    }

    #[test]
    fn the_page_keeps_what_is_around_the_tables() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("page.md");
        fs::write(&path, format!("before\n{BEGIN}old\n{END}\nafter\n")).expect("a page");
        let data = Data {
            command: "make".into(),
            machines: Vec::new(),
        };
        page(&data, &path).expect("written");
        let text = fs::read_to_string(&path).expect("the page");
        assert_eq!(
            text,
            format!("before\n{BEGIN}Made by `make`.\n\n{END}\nafter\n")
        );
        fs::write(&path, "no markers").expect("a page");
        assert!(page(&data, &path).is_err());
    }
}
