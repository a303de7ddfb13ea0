//! The Test Anything Protocol, which Perl's tests print.

use crate::outcome::{Outcome, Verdict};

/// Reads what a test program printed. A test goes by its number: names may
/// hold what differs from run to run.
#[must_use]
pub fn parse(file: &str, text: &str) -> Outcome {
    let mut all = Outcome::default();
    let mut planned = None;
    let mut done = 0;
    for line in text.lines() {
        if let Some(plan) = line.strip_prefix("1..") {
            if plan.trim_start().starts_with("0 ") || plan.contains("# skip") {
                all.note(file, Verdict::Skipped);
            }
            planned = plan.split(' ').next().and_then(|n| n.parse().ok());
            continue;
        }
        let (good, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        let Ok(number) = rest.split(' ').next().unwrap_or("").parse::<usize>() else {
            continue;
        };
        done = done.max(number);
        let verdict = match () {
            () if rest.contains("# skip") => Verdict::Skipped,
            () if good || rest.contains("# TODO") => Verdict::Passed,
            () => Verdict::Failed,
        };
        all.note(&format!("{file} {number}"), verdict);
    }
    // A program that ended early has not passed the rest.
    match planned {
        Some(n) => (done + 1..=n).for_each(|i| {
            all.note(&format!("{file} {i}"), Verdict::Failed);
        }),
        None => all.note(&format!("{file} (no plan)"), Verdict::Failed),
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;

    #[test]
    fn verdicts_and_what_never_ran() {
        let text = "1..5\nok 1 - a\nnot ok 2 - b\n# why\nok 3 # skip no c\n";
        let all = parse("f.t", text);
        let of = |n: u32| all.get(&format!("f.t {n}"));
        assert_eq!(
            [of(1), of(2), of(3), of(4), of(5)],
            [Passed, Failed, Skipped, Failed, Failed].map(Some)
        );
    }

    #[test]
    fn a_file_that_skips_itself_or_prints_nothing() {
        assert_eq!(parse("f.t", "1..0 # SKIP no d\n").get("f.t"), Some(Skipped));
        assert_eq!(parse("f.t", "oops\n").count(Failed), 1);
    }
}
