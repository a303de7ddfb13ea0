//! The messages that the troubleshooting page lists.

/// What is printed by others: the dynamic linker, the reader of flags.
const OTHERS: [&str; 2] = ["ld.so: ", "error: "];

/// Fewer letters would be in too many messages.
const LETTERS: usize = 8;

/// The first column's entries of every table behind the first heading that
/// begins with "Messages".
pub fn entries(text: &str) -> Vec<String> {
    let from = text.find("\n## Messages").expect("the tables");
    let rows = text[from..].lines().filter(|l| l.starts_with("| `"));
    let cells = rows.map(|l| l.split(" | ").next().expect("a cell"));
    // What stands between backticks.
    let spans = cells.flat_map(|c| c.split('`').skip(1).step_by(2));
    spans
        .filter(|s| s.contains(' ') && !OTHERS.iter().any(|o| s.starts_with(o)))
        .filter(|s| s.chars().filter(char::is_ascii_lowercase).count() >= LETTERS)
        .map(|s| s.strip_prefix("esca: ").unwrap_or(s).to_string())
        .collect()
}

#[test]
fn entries_are_those_of_the_tables() {
    let text = "| `not this` | x |\n\n## Messages of\n\n| message | do |\n| --- | --- |\n\
        | `esca: there is no A` / `B is gone for good` (`b` too) | see `no entry here` |\n\
        | `ld.so: something else` | |\n| `note: ...` | |\n";
    assert_eq!(entries(text), ["there is no A", "B is gone for good"]);
}
