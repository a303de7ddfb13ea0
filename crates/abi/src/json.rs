//! The statistics as JSON, written without allocation so that a server can
//! write them on its way out.

use crate::stats::{ALL, NAMES, Table};
use core::fmt::{Result, Write};
use core::sync::atomic::Ordering::Relaxed;

/// Names of the policies, in the order of their numbers.
pub const POLICIES: &[&str] = &["off", "coalesce", "batch", "watch"];
/// Names of the backends, in the order of their numbers.
pub const BACKENDS: &[&str] = &["direct", "uring", "kmod"];

fn name<'a>(names: &[&'a str], n: u32) -> &'a str {
    names.get(n as usize).copied().unwrap_or("?")
}

/// Writes the table's totals as one JSON object: settings first, then an
/// object for each group of counters.
///
/// # Errors
/// Those of `out`.
pub fn write(table: &Table, out: &mut impl Write) -> Result {
    write!(
        out,
        "{{\n  \"version\": {},\n  \"policy\": \"{}\",\n  \"backend\": \"{}\",\n  \"processes\": {},\n  \"rules_on\": [",
        table.version.load(Relaxed),
        name(POLICIES, table.policy.load(Relaxed)),
        name(BACKENDS, table.backend.load(Relaxed)),
        table.processes.load(Relaxed),
    )?;
    let on = table.rules.load(Relaxed);
    let rules = NAMES.iter().filter(|(g, _)| *g == "rules");
    let mut sep = "";
    for (i, (_, rule)) in rules.enumerate() {
        if on & (1 << i) != 0 {
            write!(out, "{sep}\"{rule}\"")?;
            sep = ", ";
        }
    }
    out.write_str("],\n  \"status\": [")?;
    let mut sep = "";
    for (status, number) in table.noted.all() {
        let name = status.name();
        write!(
            out,
            "{sep}{{ \"reason\": \"{name}\", \"number\": {number}, \"text\": \"{status}\" }}"
        )?;
        sep = ", ";
    }
    out.write_str("]")?;
    let mut group = "";
    for (c, (g, n)) in ALL.iter().zip(NAMES) {
        if *g == group {
            out.write_str(",")?;
        } else {
            let end = if group.is_empty() { "" } else { "\n  }" };
            write!(out, "{end},\n  \"{g}\": {{")?;
            group = g;
        }
        write!(out, "\n    \"{n}\": {}", table.total(*c))?;
    }
    out.write_str("\n  }\n}\n")
}
