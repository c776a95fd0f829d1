//! Why an etcd store could not be opened.

use super::super::{Class, Error};

/// A store that cannot be opened. The message names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No endpoint, or one without TLS.
    #[error(
        "{endpoint:?} is no endpoint of etcd: write https://host:port; there is no access without TLS"
    )]
    Endpoint {
        /// What was given.
        endpoint: String,
    },

    /// The prefix is no path.
    #[error(
        "{prefix:?} is no prefix: write an absolute path of at most 64 bytes, such as /interlock/acd-prod"
    )]
    Prefix {
        /// What was given.
        prefix: String,
    },

    /// Another coordinator has it.
    #[error(
        "{place} is held by coordinator {holder}: only one coordinator works on a store; stop that one first"
    )]
    Held {
        /// The store.
        place: String,
        /// The name of the one that has it.
        holder: String,
    },

    /// etcd cannot be reached, does not let this coordinator in, or holds what is no store.
    #[error("the store cannot be opened")]
    Store(#[source] Error),
}

impl OpenError {
    /// Whether trying again can help.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Endpoint { .. } | Self::Prefix { .. } => Class::Terminal,
            Self::Held { .. } => Class::Retryable,
            Self::Store(error) => error.class(),
        }
    }
}
