//! Settings from any text: never a panic, an error names what it refuses in
//! one line, and what was read can be said again.
#![no_main]

use esca_engine::rules::LIST;
use esca_engine::settings::{RuleSet, Settings};
use libfuzzer_sys::fuzz_target;

/// The list that means exactly these rules.
fn list(set: RuleSet) -> String {
    let on = LIST.iter().filter(|r| set.has(r.rule)).map(|r| r.name);
    on.collect::<Vec<_>>().join(",")
}

fuzz_target!(|texts: (Option<&str>, Option<&str>, Option<&str>)| {
    let (policy, rules, backend) = texts;
    match Settings::from_values(policy, rules, backend) {
        Ok(s) => {
            assert_eq!(RuleSet::from_bits(s.rules.bits()), s.rules);
            assert_eq!(RuleSet::parse(&list(s.rules)), Ok(s.rules));
            assert!(policy.is_none_or(|p| ["off", "coalesce", "batch", "watch"].contains(&p)));
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
    let set = rules.map(RuleSet::parse);
    if let (Some(Ok(set)), Some(text)) = (set, rules) {
        // Saying a list twice changes nothing; taking all away leaves none.
        assert_eq!(RuleSet::parse(&format!("{},{text}", list(set))), Ok(set));
        assert_eq!(RuleSet::parse(&format!("{text},-all")), Ok(RuleSet::none()));
    }
});
