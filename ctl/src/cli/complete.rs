//! Completion of names that are asked from the cluster.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::commands::completions::{self, Live};

/// Names of nodes.
pub(super) fn nodes() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Nodes, current))
}

/// Names of services.
pub(super) fn services() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Services, current))
}

/// Operations that are not over, newest first.
pub(super) fn operations() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Operations, current))
}

/// Steps that need a person, of all operations that are not over.
pub(super) fn steps() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Steps, current))
}

/// Contexts of the configuration.
pub(super) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    completions::contexts(current)
}
