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

/// Steps that need a person, of the operation on the line.
pub(super) fn steps() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Steps, current))
}

/// Gates that wait, of the operation on the line.
pub(super) fn gates() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Gates, current))
}

/// Checks, as SERVICE.CHECK.
pub(super) fn checks() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Checks, current))
}

/// Sides of exclusive services, as SERVICE=NODE.
pub(super) fn sides() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Sides, current))
}

/// Labels of nodes, as KEY=VALUE.
pub(super) fn labels() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Labels, current))
}

/// VM hosts.
pub(super) fn hosts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Hosts, current))
}

/// Generations of the spec.
pub(super) fn generations() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| completions::live(Live::Generations, current))
}

/// Contexts of the configuration.
pub(super) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    completions::contexts(current)
}
