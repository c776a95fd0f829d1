//! Wire to core and back.
//!
//! Core to wire never fails. Wire to core fails with a [`Invalid`] that names the field; enumerations never fail: what
//! is unspecified or comes from a newer peer is *unknown*.

mod assignment;
mod command;
mod enums;
mod file;
mod lease;
mod mariadb;
mod member;
mod ocf;
mod permission;
mod postgres;
mod redis;
mod servers;

use interlock_model::attempt::AttemptReport;
use interlock_model::ids::{AttemptId, AttemptNo, OperationId};
use interlock_model::names::NameError;
use interlock_model::plan::StepId;

use crate::v1;

pub use assignment::{check_from_wire, check_to_wire};
pub use file::{compared_from_wire, compared_to_wire, text_from_wire, text_to_wire};
pub use lease::{
    holder_from_wire, holder_to_wire, role_from_wire, role_to_wire, synchrony_from_wire,
    synchrony_to_wire, terms_from_wire, terms_to_wire,
};
pub use member::{held_from_wire, held_to_wire, member_seen_from_wire, member_seen_to_wire};
pub use ocf::{installed_from_wire, installed_to_wire, resource_from_wire, resource_to_wire};
pub use permission::{refusal_from_wire, refusal_to_wire, shutdown_from_wire, shutdown_to_wire};
pub use postgres::{peer_from_wire, peer_to_wire};

pub use command::{
    command_from_wire, command_to_wire, fence_from_wire, fence_to_wire, part_from_wire,
    part_to_wire,
};

/// A message that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field at fault, as a path.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Invalid {
    /// A problem with a field.
    #[must_use]
    pub fn new(field: &str, problem: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            problem: problem.into(),
        }
    }

    /// A field that must be there is not.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self::new(field, "is missing")
    }

    /// A word that is of a later version, or of none.
    pub(crate) fn word(field: &str, word: &str) -> Self {
        let problem = format!("{word:?} is no word that this version knows");
        Self::new(field, problem)
    }
}

impl From<Invalid> for tonic::Status {
    fn from(invalid: Invalid) -> Self {
        Self::invalid_argument(invalid.to_string())
    }
}

/// Parses a name, naming the field if it is none.
///
/// # Errors
/// If the text is not a name.
pub fn name<T: std::str::FromStr<Err = NameError>>(field: &str, text: &str) -> Result<T, Invalid> {
    text.parse()
        .map_err(|error: NameError| Invalid::new(field, error.to_string()))
}

impl From<&AttemptId> for v1::AttemptId {
    fn from(id: &AttemptId) -> Self {
        Self {
            operation: id.operation.0,
            step: id.step.as_str().to_owned(),
            attempt: id.attempt.0,
        }
    }
}

impl From<&v1::AttemptId> for AttemptId {
    fn from(id: &v1::AttemptId) -> Self {
        Self {
            operation: OperationId(id.operation),
            step: StepId::new(&id.step),
            attempt: AttemptNo(id.attempt),
        }
    }
}

/// A duration in whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&AttemptReport> for v1::AttemptReport {
    fn from(report: &AttemptReport) -> Self {
        let state: v1::AttemptState = report.state.into();
        Self {
            id: Some((&report.id).into()),
            state: state.into(),
            evidence: report.evidence.clone(),
            repeatable: report.repeatable,
            at_ms: 0,
        }
    }
}

impl TryFrom<&v1::AttemptReport> for AttemptReport {
    type Error = Invalid;
    fn try_from(wire: &v1::AttemptReport) -> Result<Self, Invalid> {
        let id = wire
            .id
            .as_ref()
            .ok_or_else(|| Invalid::missing("attempt.id"))?;
        Ok(Self {
            id: id.into(),
            state: wire.state().into(),
            evidence: wire.evidence.clone(),
            repeatable: wire.repeatable,
        })
    }
}
