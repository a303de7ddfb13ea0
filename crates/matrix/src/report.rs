//! The table: docs/compatibility.md.

use crate::Program;
use crate::trial::{Gain, Outcome};
use std::fmt::Write;
use std::process::Command;

const HEAD: &str = "\
# Compatibility

Unmodified Debian programs in real use, without ESCA and under each policy.
Made by `make matrix`; `cargo run -p esca-matrix -- --only NAME` runs one.

A row says *same* if every byte that the program's clients saw is that of the
run without ESCA (dates and identifiers drawn by lot left out), it ended in the
same way when asked to, its logs have no complaint, and the library was at
work: it saw the program's waits, and aggregated something, unless the
program's file says why there is nothing to aggregate.

- *aggregated*: calls for each request that were answered from custody or not
  made at all.
- *joined*: sends for each request that left in one piece with the send before
  them, each a segment less on the wire.
- *kernel entries*: for each request, what the program would have made without
  ESCA and what it made with it, by the library's own counters: waits, accepts,
  reads, writes, closes and socket options since its first wait.

These are counts of one run under a load made to compare bytes, not a
benchmark: [measuring.md](measuring.md) has those.

| program | Debian's package | in use | requests | policy | aggregated | joined | kernel entries | result |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

const FOOT: &str = "
## To add a program

One file in `crates/matrix/src/programs/`, which says how it is started
(`service.rs`), used (`web.rs` for what speaks HTTP) and what of the answers is
compared; a line in `programs/mod.rs`; its packages in
`scripts/packages/matrix`. The runner does the rest: it runs it without ESCA
first, then under each policy, and compares. `small` has `make test` run it.
`ESCA_SUITE=plain` runs it without ESCA in every place, which shows whether it
answers the same every time by itself.
";

/// The table's text.
#[derive(Default)]
pub struct Table {
    rows: String,
    notes: String,
}

impl Table {
    /// Adds a program's rows.
    pub fn add(&mut self, program: &dyn Program, outcomes: &[(&'static str, Outcome)]) {
        let mut first = about(program);
        for (policy, outcome) in outcomes {
            let row = match outcome {
                Ok(g) => figures(policy, g),
                Err(e) => format!("| {policy} | | | | **{}**", in_a_cell(e)),
            };
            let _ = writeln!(self.rows, "| {first} | {row} |");
            first = " | |".into();
        }
        let none = |(policy, outcome): &(&'static str, Outcome)| {
            matches!(outcome, Ok(Gain { deferred: 0, .. })).then_some(*policy)
        };
        let none: Vec<_> = outcomes.iter().filter_map(none).collect();
        if let Some(why) = none.first().and_then(|policy| program.nothing(policy)) {
            let _ = writeln!(
                self.notes,
                "- {}, {}: {why}",
                program.name(),
                none.join(" and ")
            );
        }
        if let Some(note) = program.note() {
            let _ = writeln!(self.notes, "- {}: {note}", program.name());
        }
    }

    /// Adds a program that fails without ESCA.
    pub fn add_failed(&mut self, program: &dyn Program, error: &str) {
        let error = in_a_cell(error);
        let row = format!("| without ESCA | | | | **{error}**");
        let _ = writeln!(self.rows, "| {} | {row} |", about(program));
    }

    /// The whole page.
    #[must_use]
    pub fn text(&self) -> String {
        let notes = match self.notes.as_str() {
            "" => String::new(),
            all => format!("\n## Where nothing is taken into custody, and other notes\n\n{all}"),
        };
        format!("{HEAD}{}{notes}{FOOT}", self.rows)
    }
}

/// The columns that don't depend on the policy.
fn about(program: &dyn Program) -> String {
    let package = program.package();
    format!(
        "{} | {package} {} | {}",
        program.name(),
        version(package),
        program.checked()
    )
}

/// The first line of an error.
fn in_a_cell(error: &str) -> String {
    error.lines().next().unwrap_or("").replace('|', "\\|")
}

fn figures(policy: &str, g: &Gain) -> String {
    let each = |n: i64| n as f64 / g.requests.max(1) as f64;
    let [aggregated, joined, made] = [g.aggregated, g.joined, g.made].map(u64::cast_signed);
    format!(
        "{} | {policy} | {:.2} | {:.2} | {:.2} → {:.2} | same",
        g.requests,
        each(aggregated),
        each(joined),
        each(made + g.saved),
        each(made),
    )
}

/// The installed version of a Debian package.
#[must_use]
pub fn version(package: &str) -> String {
    let out = Command::new("dpkg-query")
        .args(["-W", "-f=${Version}", package])
        .output();
    out.map_or_else(
        |_| "?".into(),
        |o| String::from_utf8_lossy(&o.stdout).into_owned(),
    )
}
