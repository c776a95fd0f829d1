//! The shape of the file: every section, its keys, their kinds, defaults and meaning, in tables.
//!
//! The tables are the single description. Readers take kinds, limits and defaults from them and cannot ask for a key
//! that is not there; unknown keys are what is not there; the JSON Schema and the reference are printed from them.

/// A section: a map with known keys.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What it describes, in a word.
    pub(crate) name: &'static str,
    /// What that is, in a sentence or two.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
    /// Keys of which exactly one must be given; empty if there are none such.
    pub(crate) choice: &'static [&'static str],
    /// Keys that are reserved, and what they will be for.
    pub(crate) later: &'static [Later],
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) need: Need,
    pub(crate) doc: &'static str,
}

/// A key or word that a later version will understand.
#[derive(Debug)]
pub(crate) struct Later {
    pub(crate) name: &'static str,
    /// What it will do.
    pub(crate) what: &'static str,
}

/// What happens if a key is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// That is an error.
    Required,
    /// Nothing.
    Optional,
    /// This text counts as given.
    Default(&'static str),
    /// The value follows from others; the text says how.
    Derived(&'static str),
}

/// The kind of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Any scalar, as it is written.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number within limits.
    Count { least: u64, most: u64 },
    /// So many runs in a row, or `N of M`: so many of the last ones.
    Threshold,
    /// A time with its unit, such as `90s`, `5m` or `1m 30s`.
    Duration,
    /// One of these words; `later` are words that a later version will understand.
    Word {
        words: &'static [&'static str],
        later: &'static [Later],
    },
    /// A section.
    Section(&'static Shape),
    /// A map from names that the operator chooses.
    MapOf(&'static Self),
    /// A list.
    ListOf(&'static Self),
    /// A list with at least one item.
    SomeOf(&'static Self),
    /// Any one of these.
    AnyOf(&'static [Self]),
}

impl Kind {
    /// One name or range, or a list of them.
    pub(crate) const NAMES: Self = Self::AnyOf(&[Self::Text, Self::ListOf(&Self::Text)]);
    /// One name or range, or a list of at least one.
    pub(crate) const SOME_NAMES: Self = Self::AnyOf(&[Self::Text, Self::SomeOf(&Self::Text)]);
    /// Texts by name.
    pub(crate) const TEXTS: Self = Self::MapOf(&Self::Text);
}

/// A key that must be given.
pub(crate) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        need: Need::Required,
        doc,
    }
}

/// A key that may be missing.
pub(crate) const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        need: Need::Optional,
        doc,
    }
}

/// A key with a default.
pub(crate) const fn default(
    name: &'static str,
    kind: Kind,
    value: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        need: Need::Default(value),
        doc,
    }
}

/// A key whose default follows from other keys.
pub(crate) const fn derived(
    name: &'static str,
    kind: Kind,
    how: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        need: Need::Derived(how),
        doc,
    }
}

/// A reserved key.
pub(crate) const fn later(name: &'static str, what: &'static str) -> Later {
    Later { name, what }
}

impl Shape {
    /// A key by name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// Must a list have an item here?
    pub(crate) fn needs_item(self) -> bool {
        match self {
            Self::SomeOf(_) => true,
            Self::AnyOf(kinds) => kinds.iter().any(|kind| kind.needs_item()),
            Self::ListOf(_) | Self::MapOf(_) | Self::Section(_) => false,
            Self::Text
            | Self::Flag
            | Self::Count { .. }
            | Self::Threshold
            | Self::Duration
            | Self::Word { .. } => false,
        }
    }

    /// The sections that a value of this kind is made of.
    pub(crate) fn shapes(self) -> Vec<&'static Shape> {
        match self {
            Self::Section(shape) => vec![shape],
            Self::MapOf(inner) | Self::ListOf(inner) | Self::SomeOf(inner) => inner.shapes(),
            Self::AnyOf(kinds) => kinds.iter().flat_map(|kind| kind.shapes()).collect(),
            Self::Text
            | Self::Flag
            | Self::Count { .. }
            | Self::Threshold
            | Self::Duration
            | Self::Word { .. } => Vec::new(),
        }
    }
}

/// All sections from one downwards, each once, behind the one that names it first.
pub(crate) fn sections(root: &'static Shape) -> Vec<&'static Shape> {
    fn visit(shape: &'static Shape, found: &mut Vec<&'static Shape>) {
        if !found.iter().any(|known| known.name == shape.name) {
            found.push(shape);
            shape
                .keys
                .iter()
                .flat_map(|key| key.kind.shapes())
                .for_each(|below| visit(below, found));
        }
    }
    let mut found = Vec::new();
    visit(root, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::spec::read::ROOT;

    #[test]
    fn a_name_is_one_section_and_a_key_is_in_it_once() {
        let mut all = vec![&ROOT];
        let mut names = BTreeSet::from([ROOT.name]);
        while let Some(shape) = all.pop() {
            let keys: BTreeSet<&str> = shape.keys.iter().map(|key| key.name).collect();
            assert_eq!(
                keys.len(),
                shape.keys.len(),
                "a key twice in {}",
                shape.name
            );
            for below in shape.keys.iter().flat_map(|key| key.kind.shapes()) {
                let known = sections(&ROOT)
                    .into_iter()
                    .any(|known| std::ptr::eq(known, below));
                assert!(known, "two sections are called {}", below.name);
                if names.insert(below.name) {
                    all.push(below);
                }
            }
        }
    }

    #[test]
    fn what_is_reserved_is_not_available_as_well() {
        for shape in sections(&ROOT) {
            for later in shape.later {
                assert!(
                    shape.key(later.name).is_none(),
                    "{} in {}",
                    later.name,
                    shape.name
                );
            }
            for choice in shape.choice {
                assert!(shape.key(choice).is_some(), "{choice} in {}", shape.name);
            }
        }
    }
}
