//! A YAML document as a tree in which every value knows its place.
//!
//! Deserialising into structs stops at the first wrong type. A person who edits a spec wants every mistake at once,
//! so the file is first made into this tree, which can hold anything, and then walked.
//!
//! Scalars stay text. Whether `4711` is a number or the name of a plug is decided by the key that it is the value of,
//! not by its looks; `no` is never a boolean and `0123` never loses its zero.

mod load;
mod locate;

use std::collections::BTreeMap;

pub(crate) use load::load;
pub(crate) use locate::{find, locate};

/// The largest spec, in bytes, for whoever takes one: the checker, the RPC and the store. It is kept as a JSON text in one
/// record, which may double it (each quote and each end of a line takes a second byte there), and must fit, with what is
/// kept beside it, into one transaction of etcd (1.5 MiB). 1,000 nodes that are each written out in every one of 60
/// services take 600 KB.
pub const MAX_BYTES: usize = 640 << 10;

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
    Map(Entries),
}

/// The entries of a mapping: in the order of the file, and found by key without looking at all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    list: Vec<Entry>,
    by_key: BTreeMap<String, usize>,
}

impl Entries {
    /// The entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.by_key.get(key).and_then(|i| self.list.get(*i))
    }

    /// All entries, in the order of the file.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.list.iter()
    }

    /// Adds an entry; gives it back if there is one with its key.
    fn insert(&mut self, entry: Entry) -> Result<(), Entry> {
        if self.by_key.contains_key(&entry.key) {
            return Err(entry);
        }
        self.by_key.insert(entry.key.clone(), self.list.len());
        self.list.push(entry);
        Ok(())
    }
}

impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
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

    /// About how many bytes a copy of this tree takes.
    pub(crate) fn weight(&self) -> usize {
        const EACH: usize = 48;
        EACH + match &self.value {
            Value::Null => 0,
            Value::Scalar { text, .. } => text.len(),
            Value::List(items) => items.iter().map(Self::weight).sum(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| entry.key.len() + entry.value.weight())
                .sum(),
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
