//! The troubleshooting page lists every message that the library and the tools
//! can print, and no other: what they print is read from their source, what
//! the page has from its tables.

mod page;
mod pattern;
mod source;

use pattern::same;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    top.canonicalize().expect("the workspace")
}

/// Crates whose messages users see.
const CRATES: [&str; 6] = ["abi", "cli", "engine", "preload", "esca", "shim"];

#[test]
fn the_page_lists_every_message_and_no_other() {
    let top = workspace();
    let mut messages = Vec::new();
    for name in CRATES {
        source::read(&top.join("crates").join(name).join("src"), &mut messages);
    }
    assert!(
        messages.len() > 100,
        "the source was read: {}",
        messages.len()
    );
    let text = std::fs::read_to_string(top.join("docs/troubleshooting.md")).expect("the page");
    let entries = page::entries(&text);
    assert!(entries.len() > 50, "the page was read: {}", entries.len());

    let missing: Vec<_> = messages
        .iter()
        .filter(|m| !entries.iter().any(|e| same(e, &m.text)))
        .map(|m| format!("  {}: {}", m.place, m.text))
        .collect();
    let stale: Vec<_> = entries
        .iter()
        .filter(|e| !messages.iter().any(|m| same(e, &m.text)))
        .map(|e| format!("  {e}"))
        .collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/troubleshooting.md lacks\n{}\nand has what nothing prints (any more):\n{}",
        missing.join("\n"),
        stale.join("\n")
    );
}
