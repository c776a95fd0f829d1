//! Keys and prefixes: validated paths that mean the same to every store.
//!
//! A key is an absolute path of segments, `/op/17/j/3`. It is checked once, when it is made, so no
//! store meets a key that another would refuse. Keys order by bytes; a number that must order as a
//! number goes in through [`Key::indexed`], which pads it.

use std::fmt;
use std::sync::Arc;

/// Longest key in bytes. etcd knows no limit of its own; this one keeps conditions and watch
/// events small beside their values, and 128 keys far below [`super::limits::MAX_BYTES`].
pub const MAX_KEY_BYTES: usize = 1024;

/// Digits of a padded number: the decimal digits of `u64::MAX`.
const INDEX_DIGITS: usize = 20;

/// The path of one stored value: `/` and non-empty segments, no `/` at the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Checks `path` and makes it a key.
    ///
    /// # Errors
    /// When the path is not absolute, has an empty segment, a control character, or is longer than
    /// [`MAX_KEY_BYTES`].
    pub fn new(path: impl AsRef<str>) -> Result<Self, InvalidKey> {
        let path = path.as_ref();
        check(path)?;
        Ok(Self(path.into()))
    }

    /// The key one segment below this one.
    ///
    /// # Errors
    /// When `segment` is empty, holds `/` or a control character, or makes the key too long.
    pub fn child(&self, segment: &str) -> Result<Self, InvalidKey> {
        let path = format!("{}/{segment}", self.0);
        if segment.contains('/') {
            return Err(InvalidKey::new(&path, Fault::SlashInSegment));
        }
        Self::new(path)
    }

    /// The key one segment below this one, named by a number padded to 20 digits so that keys
    /// order as their numbers do.
    ///
    /// # Errors
    /// When the key gets too long.
    pub fn indexed(&self, number: u64) -> Result<Self, InvalidKey> {
        Self::new(format!("{}/{number:0INDEX_DIGITS$}", self.0))
    }

    /// Everything below this key; the key itself is not in it.
    #[must_use]
    pub fn below(&self) -> Prefix {
        Prefix(format!("{}/", self.0).into())
    }

    /// The last segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Key {
    type Err = InvalidKey;

    fn from_str(path: &str) -> Result<Self, InvalidKey> {
        Self::new(path)
    }
}

/// A subtree of keys, by whole segments: `/op/17/` holds `/op/17/j`, not `/op/170` and not `/op/17`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// Every key.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Everything below `path`, which is written as a key or with one `/` at its end.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn new(path: impl AsRef<str>) -> Result<Self, InvalidKey> {
        let path = path.as_ref();
        if path == "/" {
            return Ok(Self::root());
        }
        Ok(Key::new(path.strip_suffix('/').unwrap_or(path))?.below())
    }

    /// Whether `key` is below this prefix.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.0.starts_with(&*self.0)
    }

    /// The prefix with its `/` at the end. No key equals it, and every key below it sorts after it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({})", self.0)
    }
}

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a store key: {fault}")]
pub struct InvalidKey {
    path: String,
    fault: Fault,
}

impl InvalidKey {
    fn new(path: &str, fault: Fault) -> Self {
        // Quotes enough to be recognised; a refused text may be of any length.
        let path = path.chars().take(80).collect();
        Self { path, fault }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it must begin with '/'")]
    NotAbsolute,
    #[error("it has an empty segment")]
    EmptySegment,
    #[error("one segment was expected, this has a '/'")]
    SlashInSegment,
    #[error("it has a control character")]
    ControlCharacter,
    #[error("it is longer than {MAX_KEY_BYTES} bytes")]
    TooLong,
}

fn check(path: &str) -> Result<(), InvalidKey> {
    let fault = |fault| Err(InvalidKey::new(path, fault));
    let Some(segments) = path.strip_prefix('/') else {
        return fault(Fault::NotAbsolute);
    };
    if path.len() > MAX_KEY_BYTES {
        return fault(Fault::TooLong);
    }
    if segments.split('/').any(str::is_empty) {
        return fault(Fault::EmptySegment);
    }
    if path.chars().any(char::is_control) {
        return fault(Fault::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_absolute_path_without_empty_segments() {
        for good in ["/a", "/op/17/j/3", "/node/db-1", "/é"] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "/", "a", "a/b", "/a/", "//a", "/a//b", "/a\n", "/a\0b"] {
            assert!(Key::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Key::new(format!("/{}", "x".repeat(MAX_KEY_BYTES - 1))).is_ok());
        assert!(Key::new(format!("/{}", "x".repeat(MAX_KEY_BYTES))).is_err());
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let below = Prefix::new("/op/17").unwrap();
        assert_eq!(below, Prefix::new("/op/17/").unwrap());
        assert!(below.contains(&Key::new("/op/17/j/3").unwrap()));
        assert!(!below.contains(&Key::new("/op/17").unwrap()));
        assert!(!below.contains(&Key::new("/op/170").unwrap()));
        assert!(Prefix::root().contains(&Key::new("/op").unwrap()));
    }

    #[test]
    fn indexed_keys_order_as_their_numbers() {
        let journal = Key::new("/op/17/j").unwrap();
        assert!(journal.indexed(9).unwrap() < journal.indexed(10).unwrap());
        assert!(journal.indexed(10).unwrap() < journal.indexed(u64::MAX).unwrap());
        assert_eq!(journal.indexed(3).unwrap().name(), "00000000000000000003");
        assert!(journal.child("a/b").is_err());
    }
}
