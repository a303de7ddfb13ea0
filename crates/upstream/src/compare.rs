//! Two runs of the same tests, compared by name, both ways.

use crate::outcome::{Outcome, Verdict};

/// A test that ended otherwise, or that only one of the runs has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The test.
    pub test: String,
    /// Without ESCA.
    pub plain: Option<Verdict>,
    /// Under it.
    pub esca: Option<Verdict>,
}

/// Every difference between a run without ESCA and one under it.
#[must_use]
pub fn differences(plain: &Outcome, esca: &Outcome) -> Vec<Difference> {
    let of = |test: &str| Difference {
        test: test.to_owned(),
        plain: plain.get(test),
        esca: esca.get(test),
    };
    let here = plain.iter().map(|(test, _)| of(test));
    let only_there = esca.iter().filter(|(test, _)| plain.get(test).is_none());
    here.chain(only_there.map(|(test, _)| of(test)))
        .filter(|d| d.plain != d.esca)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;

    fn outcome(tests: &[(&str, Verdict)]) -> Outcome {
        let mut all = Outcome::default();
        for (name, verdict) in tests {
            all.note(name, *verdict);
        }
        all
    }

    #[test]
    fn the_same_is_no_difference() {
        let run = outcome(&[("a", Passed), ("b", Failed), ("c", Skipped)]);
        assert_eq!(differences(&run, &run), []);
    }

    #[test]
    fn what_either_run_lacks_or_ends_otherwise_shows() {
        let plain = outcome(&[("a", Passed), ("b", Passed), ("c", Failed)]);
        let esca = outcome(&[("a", Failed), ("c", Passed), ("d", Passed)]);
        let found = differences(&plain, &esca);
        let names: Vec<&str> = found.iter().map(|d| d.test.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!((found[1].plain, found[1].esca), (Some(Passed), None));
        assert_eq!((found[3].plain, found[3].esca), (None, Some(Passed)));
    }

    #[test]
    fn tests_of_one_name_are_told_apart() {
        let run = outcome(&[("a", Passed), ("a", Failed)]);
        assert_eq!(run.get("a"), Some(Passed));
        assert_eq!(run.get("a #2"), Some(Failed));
    }
}
