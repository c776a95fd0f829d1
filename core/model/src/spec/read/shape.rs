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
    /// A time with its unit, such as `90s`, `5m` or `1m 30s`.
    Duration,
    /// One of these words; `later` are words that a later version will understand.
    Word { words: &'static [&'static str], later: &'static [Later] },
    /// A section.
    Section(&'static Shape),
    /// A map from names that the operator chooses.
    MapOf(&'static Kind),
    /// A list.
    ListOf(&'static Kind),
    /// Any one of these.
    AnyOf(&'static [Kind]),
}

impl Kind {
    /// One name or range, or a list of them.
    pub(crate) const NAMES: Self = Self::AnyOf(&[Self::Text, Self::ListOf(&Self::Text)]);
    /// Texts by name.
    pub(crate) const TEXTS: Self = Self::MapOf(&Self::Text);
}

/// A key that must be given.
pub(crate) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Required, doc }
}

/// A key that may be missing.
pub(crate) const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Optional, doc }
}

/// A key with a default.
pub(crate) const fn default(name: &'static str, kind: Kind, value: &'static str, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Default(value), doc }
}

/// A key whose default follows from other keys.
pub(crate) const fn derived(name: &'static str, kind: Kind, how: &'static str, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Derived(how), doc }
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

/// The section that a kind is made of.
pub(crate) fn shape_of(kind: Kind) -> Option<&'static Shape> {
    match kind {
        Kind::Section(shape) => Some(shape),
        Kind::MapOf(inner) | Kind::ListOf(inner) => shape_of(*inner),
        Kind::AnyOf(kinds) => kinds.iter().find_map(|kind| shape_of(*kind)),
        Kind::Text | Kind::Flag | Kind::Count { .. } | Kind::Duration | Kind::Word { .. } => None,
    }
}
