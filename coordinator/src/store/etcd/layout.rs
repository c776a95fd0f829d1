//! Where things are in etcd, and how its words become the store's.
//!
//! ```text
//!  /interlock/acd-prod/v1/format          which store this is; written once
//!  /interlock/acd-prod/v1/holder          who has it; bound to a lease
//!  /interlock/acd-prod/v1/data/operation/…  the store's entries, under their keys
//! ```
//!
//! Below one prefix, `/interlock/acd-prod` here, is one cluster; several clusters may share an
//! etcd. `v1` is the version of the layout: another one is another subtree, so that an older
//! program never reads what it does not understand.
//!
//! # Revisions
//! The store's revision is etcd's, counted from the one that wrote `format`. So an empty store is
//! at 0. Where others write to the same etcd the store's revisions have gaps; they still only grow.

use etcd_client::KeyValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::{Entry, Error, Incarnation, Key, Prefix, Revision};

/// Longest prefix of a cluster in bytes. It stands before each key of a transaction, and
/// [`limits`](crate::store::limits) leave room for that.
const MAX_PREFIX_BYTES: usize = 64;

/// The keys of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data: String,
    pub(crate) format: String,
    pub(crate) holder: String,
}

/// What is in `format`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) incarnation: Incarnation,
}

/// What is in `holder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The coordinator's name.
    pub(crate) coordinator: String,
    /// The hold: made anew at each opening.
    pub(crate) process: Uuid,
    /// The last commit, or what made sure that it was none.
    pub(crate) commit: Uuid,
}

impl Layout {
    /// The keys below `prefix`; none if it is not an absolute path, or too long.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let prefix = Key::new(prefix).ok()?;
        let fits = prefix.as_str().len() <= MAX_PREFIX_BYTES;
        fits.then(|| Self {
            data: format!("{prefix}/v1/data"),
            format: format!("{prefix}/v1/format"),
            holder: format!("{prefix}/v1/holder"),
        })
    }

    pub(crate) fn key(&self, key: &Key) -> String {
        format!("{}{key}", self.data)
    }

    /// The first key that may be below `prefix`, and the first that is behind it.
    pub(crate) fn range(&self, prefix: &Prefix) -> (String, String) {
        let start = format!("{}{prefix}", self.data);
        // A prefix ends in '/', and '0' is the character after that.
        let mut end = start.clone();
        end.pop();
        end.push('0');
        (start, end)
    }

    /// The store's key of one of etcd's; none for what no coordinator wrote.
    pub(crate) fn parse(&self, key: &[u8]) -> Option<Key> {
        let path = std::str::from_utf8(key).ok()?.strip_prefix(&self.data)?;
        Key::new(path).ok()
    }
}

/// etcd's revisions and the store's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revisions {
    /// The revision that wrote `format`.
    pub(crate) base: i64,
}

impl Revisions {
    pub(crate) fn ours(self, theirs: i64) -> Revision {
        Revision(u64::try_from(theirs.saturating_sub(self.base)).unwrap_or(0))
    }

    pub(crate) fn theirs(self, ours: Revision) -> i64 {
        let ours = i64::try_from(ours.0).unwrap_or(i64::MAX);
        self.base.saturating_add(ours)
    }
}

/// Everything that turns an answer into entries.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) place: String,
    pub(crate) layout: Layout,
    pub(crate) revisions: Revisions,
}

impl Reading {
    /// The entry that etcd has as `found`.
    pub(crate) fn entry(&self, found: &KeyValue) -> Result<Entry, Error> {
        let key = self
            .layout
            .parse(found.key())
            .ok_or_else(|| self.foreign(found.key()))?;
        Ok(Entry {
            key,
            value: found.value().into(),
            created: self.revisions.ours(found.create_revision()),
            modified: self.revisions.ours(found.mod_revision()),
        })
    }

    pub(crate) fn foreign(&self, key: &[u8]) -> Error {
        let key = String::from_utf8_lossy(key);
        let found = std::io::Error::other(format!("{key} was not written by a coordinator"));
        Error::Damaged {
            place: self.place.clone(),
            source: std::sync::Arc::new(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_is_below_its_prefix_and_nothing_else() {
        let layout = Layout::new("/interlock/a").unwrap();
        let (start, end) = layout.range(&Prefix::new("/op/1").unwrap());
        let inside = |path: &str| {
            let key = layout.key(&Key::new(path).unwrap());
            start <= key && key < end
        };
        assert!(inside("/op/1/a") && inside("/op/1/é"));
        assert!(!inside("/op/1") && !inside("/op/10") && !inside("/op/1-x") && !inside("/op/2"));
        let (start, end) = layout.range(&Prefix::root());
        assert!(start < layout.key(&Key::new("/a").unwrap()));
        assert!(layout.holder < start || layout.holder >= end);
        assert!(layout.format < start || layout.format >= end);
    }

    #[test]
    fn keys_come_back_as_they_went() {
        let layout = Layout::new("/interlock/a").unwrap();
        let key = Key::new("/op/17/j").unwrap();
        assert_eq!(layout.parse(layout.key(&key).as_bytes()), Some(key));
        assert_eq!(layout.parse(b"/interlock/b/v1/data/op"), None);
        assert_eq!(layout.parse(b"/interlock/a/v1/data/op//x"), None);
    }

    #[test]
    fn a_prefix_is_a_path_of_bounded_length() {
        assert!(Layout::new("interlock").is_none());
        assert!(Layout::new(&format!("/{}", "x".repeat(MAX_PREFIX_BYTES))).is_none());
    }

    #[test]
    fn revisions_count_from_the_first_and_never_below_it() {
        let revisions = Revisions { base: 40 };
        assert_eq!(revisions.ours(40), Revision(0));
        assert_eq!(revisions.ours(43), Revision(3));
        assert_eq!(revisions.ours(3), Revision(0));
        assert_eq!(revisions.theirs(Revision(3)), 43);
        assert_eq!(revisions.theirs(Revision(u64::MAX)), i64::MAX);
    }
}
