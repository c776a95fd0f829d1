//! What can go wrong when a power device is asked for something.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use interlock_model::names::PowerName;

use super::Action;

/// A request to a power device failed. No message contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// The program is not one that may be run as a fence agent.
    #[error(
        "'{agent}' is not the name of a fence agent: a name begins with 'fence_' and has no '/'"
    )]
    BadName {
        /// The name.
        agent: String,
    },
    /// No directory of the search path has the program.
    #[error(
        "fence agent {agent} is not installed on this node: it is not in {}",
        show(search)
    )]
    NotInstalled {
        /// The name.
        agent: String,
        /// Where it was looked for.
        search: Vec<PathBuf>,
    },
    /// The program did not describe itself.
    #[error(
        "fence agent {agent} did not describe itself: {why}; try `{agent} -o metadata` on this node"
    )]
    NoMetadata {
        /// The name.
        agent: String,
        /// What came instead.
        why: String,
    },
    /// The agent does not offer the action.
    #[error("fence agent {agent} does not offer '{action}'")]
    Unsupported {
        /// The name.
        agent: String,
        /// The action.
        action: Action,
    },
    /// The agent does not have the option.
    #[error("fence agent {agent} has no option '{option}'{}", near(suggestion.as_deref()))]
    UnknownOption {
        /// The name.
        agent: String,
        /// The option.
        option: String,
        /// The option with the nearest name.
        suggestion: Option<String>,
    },
    /// The request itself supplies the option.
    #[error(
        "option '{option}' of {agent} is set by Interlock: give the plug as `plug:` of the node's power"
    )]
    ReservedOption {
        /// The name.
        agent: String,
        /// The option.
        option: String,
    },
    /// The option makes the agent run a program or write a file.
    #[error(
        "option '{option}' of {agent} can run a program or write a file on this node: to permit it, add it to \
         `fence_options` under [allow] in the agent's own file"
    )]
    NotPermitted {
        /// The name.
        agent: String,
        /// The option.
        option: String,
    },
    /// A value cannot be written on one line.
    #[error(
        "the value of '{option}' for {agent} has a line break or a NUL in it, which the fence agent API cannot carry"
    )]
    BadValue {
        /// The name.
        agent: String,
        /// The option.
        option: String,
    },
    /// Other requests held the device during the whole limit of an *off*. Nothing was done.
    #[error("power device {device} was busy with other requests for {limit:?}; nothing was done")]
    Busy {
        /// The device.
        device: PowerName,
        /// The limit that passed.
        limit: Duration,
    },
    /// The program could not be started. Nothing was done.
    #[error("fence agent {agent} could not be started")]
    Start {
        /// The name.
        agent: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The agent reported a failure. After `on` or `off` the plug may be in either state: the action may have worked
    /// and only its verification failed.
    #[error(
        "{agent} could not switch or read {plug} ({action}): {end} after {attempts} attempt(s): {evidence}"
    )]
    Failed {
        /// The name.
        agent: String,
        /// The action.
        action: Action,
        /// The plug.
        plug: String,
        /// How the last attempt ended.
        end: String,
        /// How many attempts were made.
        attempts: u32,
        /// The end of what it printed, redacted.
        evidence: String,
    },
    /// The agent did not end within its limit and was killed. Never a success; the plug may be in either state.
    #[error(
        "{agent} was killed after {limit:?} ({action} {plug}); the power state is not known: {evidence}"
    )]
    TimedOut {
        /// The name.
        agent: String,
        /// The action.
        action: Action,
        /// The plug.
        plug: String,
        /// The limit of the attempt.
        limit: Duration,
        /// The end of what it printed, redacted.
        evidence: String,
    },
}

impl FenceError {
    /// Whether the plug may have changed its state.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            Self::Failed { action, .. } | Self::TimedOut { action, .. } => {
                matches!(action, Action::On | Action::Off)
            }
            _ => false,
        }
    }
}

fn show(search: &[PathBuf]) -> String {
    search
        .iter()
        .map(|dir| dir.display().to_string())
        .collect::<Vec<_>>()
        .join(":")
}

fn near(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}
