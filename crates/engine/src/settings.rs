//! What the user may choose: policy, rules, backend. Parsed here once, for
//! the environment variables of the library and the flags of the tool alike.

use crate::rules::{self, Rule};
use esca_abi::json::{BACKENDS, POLICIES};
use std::fmt;

/// How far custody goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Policy {
    /// Every call goes straight to the kernel.
    Off = 0,
    /// Custody for one stream at a time: the order of sends between streams
    /// stays as the program made it.
    #[default]
    Coalesce = 1,
    /// Custody for all streams until the segment ends or a limit is reached.
    Batch = 2,
    /// Counts what coalesce would do; every call goes straight through.
    Watch = 3,
}

impl Policy {
    /// The policy of this number; what is not known is the default.
    #[must_use]
    pub const fn from_number(n: u32) -> Self {
        match n {
            0 => Policy::Off,
            2 => Policy::Batch,
            3 => Policy::Watch,
            _ => Policy::Coalesce,
        }
    }
}

/// Who carries the operations out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum BackendKind {
    /// Plain system calls.
    Direct = 0,
    /// The kernel module.
    Kmod = 2,
    /// The kernel module where it is, else plain calls.
    #[default]
    Auto = u32::MAX,
}

impl BackendKind {
    /// From its number.
    #[must_use]
    pub fn from_number(n: u32) -> Self {
        match n {
            0 => BackendKind::Direct,
            2 => BackendKind::Kmod,
            _ => BackendKind::Auto,
        }
    }
}

/// The set of rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSet(u32);

impl RuleSet {
    /// Every rule there is.
    #[must_use]
    pub const fn all() -> Self {
        RuleSet((1 << rules::LIST.len()) - 1)
    }

    /// No rule.
    #[must_use]
    pub const fn none() -> Self {
        RuleSet(0)
    }

    /// Whether `rule` is on.
    #[inline]
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }

    /// From [`RuleSet::bits`]; bits of no rule are dropped.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        RuleSet(bits & Self::all().0)
    }

    /// One bit a rule, in the order of [`rules::LIST`].
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Reads a list such as `merge,drained`, `-cork` or `all,-small-file`.
    /// A list that begins with a removal starts from all rules, any other
    /// from none.
    ///
    /// # Errors
    /// A name that is not a rule.
    pub fn parse(list: &str) -> Result<Self, SettingError> {
        let mut set = if list.trim_start().starts_with('-') {
            Self::all()
        } else {
            Self::none()
        };
        for item in list.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (on, name) = match item.strip_prefix('-') {
                Some(name) => (false, name),
                None => (true, item.strip_prefix('+').unwrap_or(item)),
            };
            let bits = match name {
                "all" => Self::all().0,
                "none" => {
                    set = Self::none();
                    continue;
                }
                _ => match rules::LIST.iter().find(|r| r.name == name) {
                    Some(r) => 1 << r.rule as u32,
                    None => return Err(SettingError::rule(name)),
                },
            };
            set.0 = if on { set.0 | bits } else { set.0 & !bits };
        }
        Ok(set)
    }
}

/// Everything the user may choose.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far custody goes.
    pub policy: Policy,
    /// Which rewritings may happen.
    pub rules: RuleSet,
    /// Who carries operations out.
    pub backend: BackendKind,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            policy: Policy::default(),
            rules: RuleSet::all(),
            backend: BackendKind::default(),
        }
    }
}

impl Settings {
    /// From the values of `ESCA_POLICY`, `ESCA_RULES` and `ESCA_BACKEND` (or
    /// the flags of the same names); `None` is the default.
    ///
    /// # Errors
    /// The first value that is not known, as a sentence for the user.
    pub fn from_values(
        policy: Option<&str>,
        rules: Option<&str>,
        backend: Option<&str>,
    ) -> Result<Self, SettingError> {
        let mut s = Settings::default();
        if let Some(p) = policy {
            s.policy = match p {
                "off" => Policy::Off,
                "coalesce" => Policy::Coalesce,
                "batch" => Policy::Batch,
                "watch" => Policy::Watch,
                _ => return Err(SettingError::unknown("policy", p, POLICIES.join(", "))),
            };
        }
        if let Some(r) = rules {
            s.rules = RuleSet::parse(r)?;
        }
        if let Some(b) = backend {
            s.backend = match b {
                "auto" => BackendKind::Auto,
                "direct" => BackendKind::Direct,
                "kmod" => BackendKind::Kmod,
                _ if BACKENDS.contains(&b) => {
                    return Err(SettingError(format!(
                        "backend '{b}' is not part of this build; use 'auto', 'direct' or 'kmod'"
                    )));
                }
                _ => {
                    let known = "auto, direct, kmod".into();
                    return Err(SettingError::unknown("backend", b, known));
                }
            };
        }
        Ok(s)
    }
}

/// A setting that is not known: one line that says which and what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError(String);

impl SettingError {
    fn unknown(what: &str, value: &str, known: String) -> Self {
        SettingError(format!("unknown {what} '{value}'; known: {known}"))
    }

    fn rule(name: &str) -> Self {
        let known: Vec<_> = rules::LIST.iter().map(|r| r.name).collect();
        Self::unknown("rule", name, known.join(", "))
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_start_from_all_or_none() {
        assert_eq!(RuleSet::parse("all").unwrap(), RuleSet::all());
        assert_eq!(RuleSet::parse("none").unwrap(), RuleSet::none());
        assert_eq!(RuleSet::parse("").unwrap(), RuleSet::none());
        let s = RuleSet::parse("-cork").unwrap();
        assert!(!s.has(Rule::Cork) && s.has(Rule::Merge) && s.has(Rule::Drained));
        let s = RuleSet::parse("merge, drained").unwrap();
        assert!(s.has(Rule::Merge) && s.has(Rule::Drained) && !s.has(Rule::Cork));
        assert_eq!(RuleSet::parse("all,-merge,+merge").unwrap(), RuleSet::all());
    }

    #[test]
    fn unknown_values_name_the_known_ones() {
        let e = RuleSet::parse("merge,frob").unwrap_err().to_string();
        assert!(e.contains("unknown rule 'frob'") && e.contains("small-file"));
        let e = Settings::from_values(Some("fast"), None, None).unwrap_err();
        assert!(e.to_string().contains("unknown policy 'fast'"));
        let e = Settings::from_values(None, None, Some("uring")).unwrap_err();
        assert!(e.to_string().contains("not part of this build"));
    }

    #[test]
    fn rules_match_the_statistics() {
        let names: Vec<_> = esca_abi::stats::NAMES
            .iter()
            .filter(|(g, _)| *g == "rules")
            .map(|(_, n)| *n)
            .collect();
        let ours: Vec<_> = rules::LIST.iter().map(|r| r.name).collect();
        assert_eq!(names, ours);
    }
}
