//! A YAML document as a tree in which every value knows its place.
//!
//! Deserialising into structs stops at the first wrong type. A person who edits a spec wants every mistake at once,
//! so the file is first made into this tree, which can hold anything, and then walked.
//!
//! Scalars stay text. Whether `4711` is a number or the name of a plug is decided by the key that it is the value of,
//! not by its looks; `no` is never a boolean and `0123` never loses its zero.

mod load;
mod locate;

pub(crate) use load::load;
pub(crate) use locate::locate;

/// The largest spec, in bytes: 1,000 nodes that are each written out in every one of 200 services take 1.5 MB.
pub const MAX_BYTES: usize = 4 << 20;

/// The deepest nesting. The deepest key of the spec is at 6.
pub const MAX_DEPTH: usize = 24;

/// The most values of a document, with aliases counted as often as they are used: what a small file can unfold to.
pub const MAX_VALUES: usize = 500_000;

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    /// The line, from 1.
    pub(crate) line: u32,
    /// The column in characters, from 1.
    pub(crate) column: u32,
    /// The number of characters, at least 1.
    pub(crate) width: u32,
}

impl Place {
    /// The first character of the file.
    pub(crate) const START: Self = Self {
        line: 1,
        column: 1,
        width: 1,
    };
}

/// A value and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Yaml {
    pub(crate) at: Place,
    pub(crate) value: Value,
}

/// A YAML value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar. `plain` is one without quotes.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping, in the order of the file; no key twice.
    Map(Vec<Entry>),
}

/// An entry of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Place,
    pub(crate) value: Yaml,
}

impl Yaml {
    /// The value's kind, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The number of values in this tree.
    fn size(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar { .. } => 1,
            Value::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|e| 1 + e.value.size()).sum::<usize>(),
        }
    }
}
