//! The kind of a failure: the items that a shrunk scene still needs, and what
//! came out otherwise.

use super::hunt::special;
use super::{End, How, Item, Scene};

/// The name of the kind.
#[must_use]
pub fn name(scene: &Scene, differs: &[(String, String, String)]) -> String {
    let mut words: Vec<String> = special(scene).filter_map(word).collect();
    words.sort();
    words.dedup();
    if words.is_empty() {
        words.push("Write".to_owned());
    }
    words.join("+") + ": " + &symptom(differs)
}

/// What is worst of what differs.
#[must_use]
pub fn symptom(differs: &[(String, String, String)]) -> String {
    let worst = |(name, _, esca): &(String, String, String)| match esca.as_str() {
        _ if name == "end" => 0,
        _ if name.ends_with("bytes") => 1,
        "stalls" => 2,
        "late" => 3,
        _ if name.contains("Kept") => 4,
        _ if name.ends_with("end") => 5,
        _ => 6,
    };
    match differs.iter().min_by_key(|d| worst(d)) {
        Some(d) if worst(d) == 4 => "kept".to_owned(),
        Some(d) if worst(d) < 6 => d.2.clone(),
        _ => "result".to_owned(),
    }
}

/// An item's word: none for plain writes and ends.
fn word(item: &Item) -> Option<String> {
    match item {
        Item::Write {
            how: How::Write, ..
        }
        | Item::End(End::Return) => None,
        Item::Write { how, .. } => Some(format!("{how:?}")),
        Item::Holder { writes } => Some(if *writes { "HolderWrites" } else { "Holder" }.to_owned()),
        Item::Signal { act, .. } => Some(format!("Signal({act:?})")),
        other => Some(format!("{other:?}")),
    }
}

/// Whether a scene has all the items of a smaller one, in their order.
#[must_use]
pub fn covers(scene: &Scene, small: &Scene) -> bool {
    let words = |s: &Scene| -> Vec<String> {
        let plain = || Some("Write".to_owned());
        special(s).filter_map(|i| word(i).or_else(plain)).collect()
    };
    let mut has = words(scene).into_iter();
    let needs = words(small);
    !needs.is_empty() && needs.iter().all(|w| has.any(|h| h == *w))
}
