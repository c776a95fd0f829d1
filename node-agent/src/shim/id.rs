//! The name of a run, which is also the name of its directory and of its control group.

use std::fmt;
use std::str::FromStr;

use interlock_model::names::LocalName;
use serde::{Deserialize, Serialize};

/// The longest run id, in bytes: leaves room for suffixes below the file system's limit of 255.
const MAX_ID: usize = 160;

/// What the ids of supervised processes begin with.
const SERVICE: &str = "service.";

/// What the ids of check commands begin with.
const CHECK: &str = "check.";

/// The id of a run: letters, digits, `.`, `_` and `-`, the first one a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A text is not a run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a run id: use 1 to {MAX_ID} letters, digits, '.', '_' and '-', the first one a letter or digit"
)]
pub struct BadRunId(String);

impl RunId {
    /// The run of a supervised process.
    #[must_use]
    pub fn service(name: &LocalName) -> Self {
        Self(format!("{SERVICE}{name}"))
    }

    /// The supervised process that this run is of, if it is of one.
    #[must_use]
    pub fn service_name(&self) -> Option<LocalName> {
        self.0.strip_prefix(SERVICE)?.parse().ok()
    }

    /// The `number`th run of a check command.
    #[must_use]
    pub fn check(name: &LocalName, number: u64) -> Self {
        Self(format!("{CHECK}{name}.{number}"))
    }

    /// Is this the run of a check command, in which nobody is interested after a restart?
    #[must_use]
    pub fn is_check(&self) -> bool {
        self.0.starts_with(CHECK)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = BadRunId;

    fn from_str(text: &str) -> Result<Self, BadRunId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= MAX_ID && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadRunId(text.chars().take(MAX_ID).collect()))
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = BadRunId;

    fn try_from(text: String) -> Result<Self, BadRunId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_never_leave_its_directory() {
        for bad in ["", ".", "..", "../x", "a/b", ".hidden", "a\0", "-x"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
        assert!("op-17.stop-web.jb1.2".parse::<RunId>().is_ok());
    }

    #[test]
    fn the_id_of_a_supervised_process_tells_its_name() {
        let name: LocalName = "web.blue".parse().unwrap();
        assert_eq!(RunId::service(&name).service_name(), Some(name));
        assert_eq!("op-1.web".parse::<RunId>().unwrap().service_name(), None);
    }
}
