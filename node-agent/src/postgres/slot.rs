//! Names of the replication slots that are kept for other nodes.

use std::fmt;
use std::fmt::Write as _;

use interlock_model::names::NodeName;
use sha2::{Digest as _, Sha256};

/// What the name of each slot of this program begins with. Others are never touched.
pub(super) const PREFIX: &str = "interlock_";

/// The longest name of a slot (`NAMEDATALEN` - 1).
const LONGEST: usize = 63;

/// The name of the replication slot of a node.
///
/// Names of slots are made of `a-z 0-9 _` alone, names of nodes are not: every other character is written as `_` and its code
/// in two hexadecimal digits, and of what is too long only the beginning and a digest are left. Two nodes never have one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName(String);

impl SlotName {
    /// Of this node.
    #[must_use]
    pub fn of(node: &NodeName) -> Self {
        let mut name = PREFIX.to_owned();
        for byte in node.as_str().bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' => name.push(char::from(byte)),
                // Writing to a text does not fail.
                other => drop(write!(name, "_{other:02x}")),
            }
        }
        if name.len() > LONGEST {
            let digest = Sha256::digest(node.as_str());
            let digest = digest
                .iter()
                .take(8)
                .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            name.truncate(LONGEST - 1 - digest.len());
            name = name + "_" + &digest;
        }
        Self(name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_nodes_share_a_slot_and_each_name_is_one_that_the_server_takes() {
        let long = [
            "x".repeat(63),
            format!("{}y", "x".repeat(62)),
            "A.".repeat(31),
        ];
        let nodes = ["db1", "db-1", "db_1", "db.1", "DB1", "db_2d1"];
        let nodes = nodes.into_iter().chain(long.iter().map(String::as_str));
        let nodes: Vec<NodeName> = nodes.map(|name| name.parse().unwrap()).collect();
        let slots: BTreeSet<SlotName> = nodes.iter().map(SlotName::of).collect();
        assert_eq!(slots.len(), nodes.len(), "{slots:?}");
        for slot in &slots {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(
                slot.as_str().len() <= LONGEST && slot.as_str().chars().all(fits),
                "{slot}"
            );
        }
        assert_eq!(SlotName::of(&nodes[1]).as_str(), "interlock_db_2d1");
    }
}
