//! What a suite's run came to, test by test.

use std::collections::BTreeMap;

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed, or its program ended before it.
    Failed,
    /// The suite itself left it out.
    Skipped,
}

/// Every test of a unit, by a name that is the same in every run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome(BTreeMap<String, Verdict>);

impl Outcome {
    /// Notes a test. One of a name that is there already gets a number.
    pub fn note(&mut self, name: &str, verdict: Verdict) {
        let mut key = name.to_owned();
        for n in 2.. {
            if !self.0.contains_key(&key) {
                break;
            }
            key = format!("{name} #{n}");
        }
        self.0.insert(key, verdict);
    }

    /// Notes a test of which there may be several: failed if one of them did.
    pub fn note_worst(&mut self, name: &str, verdict: Verdict) {
        let known = self.0.entry(name.to_owned()).or_insert(verdict);
        if verdict == Verdict::Failed {
            *known = verdict;
        }
    }

    /// All of them as one test of this name: passed if one did and none failed.
    #[must_use]
    pub fn in_one(&self, name: &str) -> Outcome {
        let mut one = Outcome::default();
        for (_, verdict) in self.iter() {
            one.note_worst(name, verdict);
        }
        one
    }

    /// How a test ended, if it ran.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Verdict> {
        self.0.get(name).copied()
    }

    /// Names and verdicts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Verdict)> {
        self.0.iter().map(|(name, v)| (name.as_str(), *v))
    }

    /// How many ended so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.0.values().filter(|v| **v == verdict).count()
    }
}
