//! From the keys that lead to a value to its place.
//!
//! Verifiers work on the finished spec, where ranges are expanded and lists have become maps. They name what is wrong
//! by its keys, and the place is looked up in the tree only when there is a problem to report.

use super::{Entries, Entry, Place, Value, Yaml};
use crate::spec::range::Range;

/// The place of the value that the keys lead to, or of the nearest one above it that is in the file. A key finds an
/// entry or a list item that is equal to it or a range that holds it, or the section of this number in a list. The place
/// of an entry is that of its key.
pub(crate) fn locate(root: &Yaml, keys: &[&str]) -> Place {
    let mut at = Place::START;
    let mut here = root;
    for key in keys {
        match &here.value {
            Value::Map(entries) => {
                let Some(entry) = entry(entries, key) else {
                    return at;
                };
                at = entry.at;
                here = &entry.value;
            }
            Value::List(items) => {
                let named = |item: &&Yaml| item.text().is_some_and(|text| means(text, key));
                if let Some(item) = items.iter().find(named) {
                    return item.at;
                }
                // A section in a list has no name but its number.
                let numbered = key.parse().ok().and_then(|number: usize| items.get(number));
                let Some(section) = numbered.filter(|item| matches!(item.value, Value::Map(_)))
                else {
                    return at;
                };
                at = section.at;
                here = section;
            }
            Value::Scalar { text, .. } if means(text, key) => return here.at,
            Value::Scalar { .. } | Value::Null => return at,
        }
    }
    match here.value {
        // The value of a scalar entry tells more than its key.
        Value::Scalar { .. } => here.at,
        Value::Null | Value::List(_) | Value::Map(_) => at,
    }
}

/// The value that the keys of nested maps, as they are written, lead to.
pub(crate) fn find<'y>(root: &'y Yaml, keys: &[&str]) -> Option<&'y Yaml> {
    keys.iter().try_fold(root, |here, key| match &here.value {
        Value::Map(entries) => entries.get(key).map(|entry| &entry.value),
        Value::Null | Value::Scalar { .. } | Value::List(_) => None,
    })
}

fn entry<'y>(entries: &'y Entries, key: &str) -> Option<&'y Entry> {
    let exact = entries.get(key);
    exact.or_else(|| entries.iter().find(|entry| means(&entry.key, key)))
}

fn means(text: &str, name: &str) -> bool {
    text == name
        || Range::parse(text)
            .ok()
            .flatten()
            .is_some_and(|range| range.holds(name))
}
