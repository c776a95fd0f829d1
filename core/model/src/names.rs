//! Names that people choose: nodes, services, hosts, checks.
//!
//! One grammar for all of them, so that a name can stand in a file name, a certificate's URI, a step id and a shell
//! completion without quoting: 1 to 63 characters of `A-Z a-z 0-9 . _ -`, the first one a letter or digit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest name, in characters.
pub const MAX_NAME: usize = 63;

/// The longest name of a gate: those that plans make themselves name an instance, as in `stop.SERVICE.NODE`.
pub const MAX_GATE_NAME: usize = 2 * MAX_NAME + 16;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than a name may be.
    #[error("a name has at most {longest} characters, this one has {length}")]
    TooLong {
        /// How long the text is.
        length: usize,
        /// How long it may be.
        longest: usize,
    },
    /// A character outside the grammar.
    #[error(
        "'{name}' has the character {bad:?}: a name is made of letters, digits, '.', '_' and '-'"
    )]
    BadCharacter {
        /// The text as it was given.
        name: String,
        /// The first character that does not fit.
        bad: char,
    },
    /// The first character is punctuation.
    #[error("'{0}' must begin with a letter or a digit")]
    BadStart(String),
}

fn validate(text: &str, longest: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(NameError::BadCharacter {
            name: text.chars().take(MAX_NAME).collect(),
            bad,
        });
    }
    if text.len() > longest {
        return Err(NameError::TooLong {
            length: text.len(),
            longest,
        });
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(NameError::BadStart(text.to_owned()));
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $longest:expr),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                validate(text, $longest)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// A cluster: one spec, one certificate authority, one set of coordinators.
    ClusterName: MAX_NAME,
    /// A node, that is, a VM.
    NodeName: MAX_NAME,
    /// A VM host (hypervisor) that carries nodes.
    HostName: MAX_NAME,
    /// A power device that can switch nodes off and on.
    PowerName: MAX_NAME,
    /// A service.
    ServiceName: MAX_NAME,
    /// A check of a service.
    CheckName: MAX_NAME,
    /// A gate that a person opens.
    GateName: MAX_GATE_NAME,
    /// A process, command or secret that an agent's own file defines.
    LocalName: MAX_NAME,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_and_three_kinds_of_punctuation() {
        for good in ["jb1", "a", "9", "dbm2.site-a_x", &"x".repeat(63)] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ü", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reading_a_bad_name_fails_where_it_is_read() {
        let error = serde_json::from_str::<NodeName>("\"a b\"").unwrap_err();
        assert!(error.to_string().contains("' '"), "{error}");
    }
}
