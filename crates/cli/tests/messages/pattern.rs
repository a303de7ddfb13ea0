//! Whether an entry of the page is a message of the source.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, PartialEq)]
enum Piece {
    Letter(char),
    /// A name, a number, an error: `{...}` in the source, one of [`NAMES`] on
    /// the page.
    Hole,
    /// `...` on the page: anything.
    Rest,
}
use Piece::{Hole, Letter, Rest};

/// What the page writes for what differs.
const NAMES: [&str; 11] = ["X", "N", "M", "F", "D", "E", "S", "P", "URL", "WHY", "KEY"];

/// Whether `entry`, as on the page, and `message`, a format string, are the
/// same. The page may leave out the reason that follows after a colon.
pub fn same(entry: &str, message: &str) -> bool {
    let (entry, message) = (of_page(entry), of_source(message));
    let reason = [Letter(':'), Letter(' '), Hole];
    meets(&entry, &message)
        || entry
            .strip_suffix(&reason)
            .is_some_and(|e| meets(e, &message))
}

fn of_page(text: &str) -> Vec<Piece> {
    let mut all = Vec::new();
    let mut rest = text;
    let mut inside = false;
    while let Some(c) = rest.chars().next() {
        if let Some(more) = rest.strip_prefix("...") {
            all.push(Rest);
            rest = more;
            inside = false;
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_uppercase())
            .unwrap_or(rest.len());
        let after = rest[end..].chars().next();
        let word = !after.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '=');
        if !inside && word && NAMES.contains(&&rest[..end]) {
            all.push(Hole);
            rest = &rest[end..];
            continue;
        }
        all.push(Letter(c));
        inside = c.is_alphanumeric() || c == '_';
        rest = &rest[c.len_utf8()..];
    }
    all
}

fn of_source(text: &str) -> Vec<Piece> {
    let mut all = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if !doubled(&mut chars, '{') => {
                while chars.next().is_some_and(|c| c != '}') {}
                all.push(Hole);
            }
            '}' => {
                doubled(&mut chars, '}');
                all.push(Letter('}'));
            }
            '\n' => all.push(Letter(' ')),
            c => all.push(Letter(c)),
        }
    }
    all
}

/// Takes the second of a doubled brace.
fn doubled(chars: &mut Peekable<Chars>, brace: char) -> bool {
    chars.next_if_eq(&brace).is_some()
}

/// A hole on one side is a hole or one word of the other.
fn meets(page: &[Piece], source: &[Piece]) -> bool {
    match (page, source) {
        ([], []) => true,
        ([Rest, p @ ..], s) => (0..=s.len()).any(|i| meets(p, &s[i..])),
        ([Hole, p @ ..], [Hole, s @ ..]) => meets(p, s),
        ([Hole, p @ ..], s) => words(s).any(|i| meets(p, &s[i..])),
        (p, [Hole, s @ ..]) => words(p).any(|i| meets(&p[i..], s)),
        ([Letter(a), p @ ..], [Letter(b), s @ ..]) => a == b && meets(p, s),
        _ => false,
    }
}

/// The lengths that the beginning of a word may have here.
fn words(of: &[Piece]) -> std::ops::RangeInclusive<usize> {
    let letters = of.iter();
    let end = letters.take_while(|p| matches!(p, Letter(c) if *c != ' '));
    1..=end.count()
}

#[test]
fn what_is_the_same() {
    for (page, source) in [
        ("cannot run X", "cannot run {}"),
        ("cannot run X: E", "cannot run {shown}: {e}"),
        ("cannot run X: E", "cannot run {shown}"),
        (
            "unknown policy 'X'; known: ...",
            "unknown {what} '{value}'; known: {k}",
        ),
        (
            "several: write {port} there",
            "several: write {{port}} there",
        ),
        ("X (N) ended", "{} ({}) ended"),
        ("NoExecPaths= of X", "NoExecPaths= of {name}"),
        ("it has: ...", "it has: {}, {}; more"),
    ] {
        assert!(same(page, source), "{page} | {source}");
    }
    for (page, source) in [
        ("cannot run X: E", "{shown} cannot be read: {e}"),
        ("cannot run X", "cannot write {}"),
        ("cannot run", "cannot run {}"),
        ("X is gone", "{} is gone; look for it"),
        ("...; running", "{e}; runnin"),
    ] {
        assert!(!same(page, source), "{page} | {source}");
    }
}
