//! What can go wrong between the agent and the service manager.

use std::time::Duration;

use super::job::{JobResult, Verb};

/// A request to systemd failed, or its outcome is not known.
///
/// [`Error::outcome_is_unknown`] separates the two: after the first nothing happened or a definite failure was
/// reported; after the second the unit must be observed before anything is decided (invariant I5).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system bus cannot be reached. The agent works without systemd until it can.
    #[error(
        "no D-Bus system bus at {address}: units cannot be managed here; install and start dbus, or set the bus \
         address in the agent's file"
    )]
    NoBus {
        /// The address that was tried.
        address: String,
        /// What the connection attempt said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bus is there, but nobody owns `org.freedesktop.systemd1`.
    #[error("the D-Bus bus at {address} has no systemd: units cannot be managed here")]
    NoManager {
        /// The address of the bus.
        address: String,
        /// What the bus said.
        #[source]
        source: Box<zbus::Error>,
    },
    /// The text is not the full name of a unit.
    #[error("'{unit}' is not a unit name: write it with its suffix, for example '{unit}.service'")]
    NotAUnitName {
        /// The text.
        unit: String,
    },
    /// No file defines the unit, and it is not active either.
    #[error(
        "unit {unit} does not exist on this node: install it, or correct the name in the cluster spec"
    )]
    NoSuchUnit {
        /// The unit.
        unit: String,
    },
    /// The unit is masked, so that it cannot be started.
    #[error("unit {unit} is masked: `systemctl unmask {unit}` if it is meant to run")]
    Masked {
        /// The unit.
        unit: String,
    },
    /// systemd or the bus policy does not let this process do it.
    #[error(
        "not permitted to {what}: the agent must run as root or be allowed by polkit ({message})"
    )]
    Denied {
        /// What was asked.
        what: String,
        /// The answer.
        message: String,
    },
    /// systemd answered with any other error.
    #[error("systemd refused to {what}: {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// The answer, with its D-Bus error name.
        message: String,
    },
    /// The job ended, and not with `done`.
    #[error(
        "{verb} of {unit} ended with '{result}': see `systemctl status {unit}` and `journalctl -u {unit}`"
    )]
    JobFailed {
        /// What the job was.
        verb: Verb,
        /// The unit.
        unit: String,
        /// How it ended.
        result: JobResult,
    },
    /// The job had not begun when it was to end, and was taken out of systemd's queue: nothing has happened to the unit.
    #[error(
        "{verb} of {unit} was still waiting for other jobs of systemd and was withdrawn; nothing was begun (see \
         `systemctl list-jobs`)"
    )]
    JobWithdrawn {
        /// What the job was.
        verb: Verb,
        /// The unit.
        unit: String,
    },
    /// The job was going on when it was to end. It still is: what it has begun cannot be taken back halfway.
    #[error("{verb} of {unit} is still going on; its outcome is not known")]
    JobUnfinished {
        /// What the job is.
        verb: Verb,
        /// The unit.
        unit: String,
    },
    /// A call got no answer within its limit.
    #[error("systemd did not answer within {limit:?} when asked to {what}")]
    NoAnswer {
        /// What was asked.
        what: String,
        /// The limit that passed.
        limit: Duration,
    },
    /// The bus went away, or systemd was re-executed, while something was going on.
    #[error("the connection to systemd was lost during {what}; its outcome is not known")]
    Lost {
        /// What was going on.
        what: String,
    },
}

impl Error {
    /// Whether the effect of the request may or may not have happened.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(
            self,
            Self::JobUnfinished { .. } | Self::NoAnswer { .. } | Self::Lost { .. }
        )
    }

    /// The bus at this address cannot be reached.
    pub(super) fn no_bus(address: String, error: &zbus::Error) -> Self {
        // Its text has that of its cause in it; as a cause itself, with another below, it would be told twice.
        let source = error.to_string().into();
        Self::NoBus { address, source }
    }

    /// Classifies what zbus returned for the call `what`, which may concern `unit`.
    pub(super) fn from_call(what: &str, unit: Option<&str>, error: zbus::Error) -> Self {
        let what = what.to_owned();
        match error {
            zbus::Error::MethodError(name, text, _) => {
                let message = text.unwrap_or_default();
                match (name.as_str(), unit) {
                    ("org.freedesktop.systemd1.NoSuchUnit", Some(unit)) => Self::NoSuchUnit {
                        unit: unit.to_owned(),
                    },
                    ("org.freedesktop.systemd1.UnitMasked", Some(unit)) => Self::Masked {
                        unit: unit.to_owned(),
                    },
                    (name, _) => Self::Refused {
                        what,
                        message: format!("{message} ({name})"),
                    },
                }
            }
            zbus::Error::FDO(error) => match *error {
                zbus::fdo::Error::AccessDenied(message)
                | zbus::fdo::Error::InteractiveAuthorizationRequired(message)
                | zbus::fdo::Error::AuthFailed(message) => Self::Denied { what, message },
                zbus::fdo::Error::NoReply(_)
                | zbus::fdo::Error::Disconnected(_)
                | zbus::fdo::Error::ZBus(zbus::Error::InputOutput(_)) => Self::Lost { what },
                other => Self::Refused {
                    what,
                    message: other.to_string(),
                },
            },
            zbus::Error::InputOutput(_) => Self::Lost { what },
            other => Self::Refused {
                what,
                message: other.to_string(),
            },
        }
    }
}
