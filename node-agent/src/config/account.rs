//! The user that a command runs as.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Deserializer};

use crate::shim::User;

/// A user as the file names it: a name of `/etc/passwd`, or `uid:gid`.
///
/// Users of a directory service are written by number: looking one up would need the directory when it counts, and it
/// may run on what is just being started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A name of `/etc/passwd`.
    Name(String),
    /// Numbers.
    Ids(User),
}

/// A user cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The user database cannot be read.
    #[error("cannot read /etc/passwd to look user {0} up")]
    Read(String, #[source] io::Error),
    /// There is no such user.
    #[error("there is no user {0} in /etc/passwd: create it, or give `user = \"uid:gid\"`")]
    Unknown(String),
}

impl Account {
    /// The numbers of the user.
    ///
    /// # Errors
    /// If there is no such user in `/etc/passwd`.
    pub fn resolve(&self) -> Result<User, AccountError> {
        self.resolve_in(Path::new("/etc/passwd"))
    }

    fn resolve_in(&self, passwd: &Path) -> Result<User, AccountError> {
        let name = match self {
            Self::Ids(user) => return Ok(*user),
            Self::Name(name) => name,
        };
        let text =
            fs::read_to_string(passwd).map_err(|error| AccountError::Read(name.clone(), error))?;
        // passwd(5): name:password:uid:gid:...
        let found = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(User { uid, gid })
        });
        found.ok_or_else(|| AccountError::Unknown(name.clone()))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ids(User { uid, gid }) => write!(f, "{uid}:{gid}"),
        }
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some((uid, gid)) = text.split_once(':') else {
            return if text.is_empty() {
                Err(serde::de::Error::custom("a user has a name"))
            } else {
                Ok(Self::Name(text))
            };
        };
        match (uid.parse(), gid.parse()) {
            (Ok(uid), Ok(gid)) => Ok(Self::Ids(User { uid, gid })),
            _ => Err(serde::de::Error::custom(format!(
                "'{text}' is neither a user name nor uid:gid in numbers"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_and_numbers_are_taken_as_they_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(
            file.path(),
            "root:x:0:0:root:/root:/bin/sh\npostgres:x:112:118::/:/bin/sh\n",
        )
        .unwrap();
        let user = Account::Name("postgres".into())
            .resolve_in(file.path())
            .unwrap();
        assert_eq!((user.uid, user.gid), (112, 118));
        let error = Account::Name("post".into())
            .resolve_in(file.path())
            .unwrap_err();
        assert!(matches!(error, AccountError::Unknown(_)));
        let ids = Account::Ids(User { uid: 7, gid: 8 });
        assert_eq!(ids.resolve_in(Path::new("/no/such/file")).unwrap().uid, 7);
    }
}
