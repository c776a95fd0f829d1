//! Files of services that a plan writes: texts, and what an agent is asked to do with them.
//!
//! A service of the spec names files ([`ServiceFile`]); where each of them lies, who owns it and what checks it, is a
//! matter of the agents' own files. The plan carries the whole text for each node, so that what was shown is what is
//! written (invariant I9). A secret is no part of it: the text says where which secret goes ([`Piece::Secret`]), and the
//! agent puts in the value, which lies on its node (invariant I12).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{LocalName, NodeName};
use crate::plan::Digest;

/// The longest text of one file, in bytes: a configuration, and nothing that a message of a session (1 MiB) could not
/// carry.
pub const MAX_TEXT: usize = 64 * 1024;

/// The most bytes of all texts of a plan as the plan has them: a plan is stored in one transaction, and etcd takes 1.5 MiB
/// (`--max-request-bytes`).
pub const MAX_TEXTS: usize = 768 * 1024;

/// A file of a service, as the spec has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceFile {
    /// What templates may use as `values`, on every node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// The same for single nodes, where it goes before `values`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<NodeName, BTreeMap<String, String>>,
}

/// The text of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text {
    /// What it is made of, in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// As it is.
    Plain(String),
    /// The value of a secret that lies on the node; it never travels.
    Secret(LocalName),
}

impl Text {
    /// Bytes of it, without the values of its secrets.
    #[must_use]
    pub fn len(&self) -> usize {
        let lengths = self.pieces.iter().map(|piece| match piece {
            Piece::Plain(text) => text.len(),
            Piece::Secret(_) => 0,
        });
        lengths.sum()
    }

    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The secrets that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &LocalName> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Secret(name) => Some(name),
            Piece::Plain(_) => None,
        })
    }

    /// What a plan calls it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // A list of texts and names cannot fail to be written.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

impl fmt::Display for Text {
    /// For people: a secret is shown by its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Plain(text) => f.write_str(text),
            Piece::Secret(name) => write!(f, "<secret {name}>"),
        })
    }
}

/// What an agent is asked to do with a file of its own file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileWork {
    /// Have the service's own checker look at a text, and change nothing.
    Try(Text),
    /// Keep what the file says aside, and make it say this.
    Write(Text),
    /// Make it what it was before this operation has written it.
    Restore,
}

/// What a node says of a file before a plan writes it: how that compares with the text that it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Bytes, owner and mode are those that the plan would give it.
    pub same: bool,
    /// The instance that runs there was started after the file had become what it is. Not so if that cannot be told.
    pub in_use: bool,
    /// What becomes different.
    pub difference: Difference,
}

/// Why a node does not say how a file compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untold {
    /// Its agent would refuse to write that text: why, with the line that would permit it, or what its node lacks.
    Refused(String),
    /// It cannot be told.
    Unknown(String),
}

/// What becomes different about a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Lines as `diff -u` has them, those that go after those that stay, with secrets by their names; and before them, in
    /// parentheses, that it is not there yet, or that its owner or mode becomes another one. Empty: nothing.
    Lines(String),
    /// They are not shown, and why.
    Hidden(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_shows_the_names_of_its_secrets_and_is_known_by_all_that_it_says() {
        let text = |name: &str| Text {
            pieces: vec![
                Piece::Plain("password = ".to_owned()),
                Piece::Secret(name.parse().unwrap()),
                Piece::Plain("\n".to_owned()),
            ],
        };
        assert_eq!(text("db").to_string(), "password = <secret db>\n");
        assert_eq!(text("db").len(), 12);
        assert_eq!(text("db").digest(), text("db").digest());
        assert_ne!(text("db").digest(), text("mail").digest());
    }
}
