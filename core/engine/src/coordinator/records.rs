//! What the coordinator keeps in the store, and under which keys.
//!
//! Few and small: one record per state of an operation, one per batch of its journal, one per applied spec, one per
//! remembered fact. Values are JSON, so that a person with a store dump can read them.

use serde::{Deserialize, Serialize};

use interlock_model::ids::{Generation, OperationId};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Digest;
use interlock_model::time::Timestamp;

use super::identity::Proof;
use crate::by_hand::ActId;
use crate::operation::{Operation, State};

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key, an absolute path.
    pub key: String,
    /// The new value; none deletes the key.
    pub value: Option<Vec<u8>>,
}

impl Write {
    pub(crate) fn json<T: Serialize>(key: String, value: &T) -> Self {
        // Serialising these types cannot fail: they have no maps with other than text keys and no failing impls.
        Self {
            key,
            value: Some(serde_json::to_vec(value).unwrap_or_default()),
        }
    }
    pub(crate) fn delete(key: String) -> Self {
        Self { key, value: None }
    }
}

/// The prefix of everything about operations.
pub const OPERATIONS: &str = "/operation";
/// The prefix of applied specs.
pub const SPECS: &str = "/spec";
/// The prefix of remembered activity.
pub const ACTIVITY: &str = "/activity";
/// The prefix of why a remembered activity was given up.
pub const FORGOTTEN: &str = "/forgotten";
/// The prefix of the highest operations that agents remembered and the store had never had.
pub const OUTRUN: &str = "/outrun";
/// The prefix of verified plugs.
pub const VERIFIED: &str = "/verified";
/// The prefix of acts by hand that are known.
pub const BY_HAND: &str = "/by-hand";
/// The prefix of instances that may run, and that the spec has no more.
pub const LET_GO: &str = "/let-go";
/// The prefix of names by which nobody has been heard since a spec brought them.
pub const UNHEARD: &str = "/unheard";
/// The prefix of events.
pub const EVENTS: &str = "/event";

/// How many events are kept.
pub const KEPT_EVENTS: u64 = 10_000;

/// The key of an operation's head.
#[must_use]
pub fn head_key(id: OperationId) -> String {
    format!("{OPERATIONS}/{:012}/head", id.0)
}
/// The key of a part of an operation's plan: its bytes are those of all parts, one after the other.
#[must_use]
pub fn plan_key(id: OperationId, part: usize) -> String {
    format!("{OPERATIONS}/{:012}/plan/{part:04}", id.0)
}
/// The key of a batch of an operation's journal.
#[must_use]
pub fn journal_key(id: OperationId, batch: u64) -> String {
    format!("{OPERATIONS}/{:012}/journal/{batch:010}", id.0)
}
/// The key of an applied spec.
#[must_use]
pub fn spec_key(generation: Generation) -> String {
    format!("{SPECS}/{:010}", generation.0)
}
/// The key of a service's remembered activity.
pub(crate) fn activity_key(service: &ServiceName) -> String {
    format!("{ACTIVITY}/{service}")
}
/// The key of why a service's remembered activity was given up.
pub(crate) fn forgotten_key(service: &ServiceName) -> String {
    format!("{FORGOTTEN}/{service}")
}
/// The key of the operation that the agent of a node remembered and the store had never had.
pub(crate) fn outrun_key(node: &NodeName) -> String {
    format!("{OUTRUN}/{node}")
}
/// The key of a node's verified plug.
pub(crate) fn verified_key(node: &NodeName) -> String {
    format!("{VERIFIED}/{node}")
}
/// The key of the acts by hand that are known of a node.
pub(crate) fn by_hand_key(node: &NodeName) -> String {
    format!("{BY_HAND}/{node}")
}
/// The key of an instance that may run, and that the spec has no more.
pub(crate) fn stray_key(node: &NodeName, service: &ServiceName) -> String {
    format!("{LET_GO}/{node}/{service}")
}
/// The key of a name by which nobody has been heard since a spec brought it.
pub(crate) fn unheard_key(node: &NodeName) -> String {
    format!("{UNHEARD}/{node}")
}
/// The key of an event.
pub(crate) fn event_key(sequence: u64) -> String {
    format!("{EVENTS}/{sequence:015}")
}

/// An operation in a line; what is listed without reading journals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its id.
    pub id: OperationId,
    /// What it is for.
    pub kind: interlock_model::plan::PlanKind,
    /// Its scope as the operator gave it.
    pub scope: String,
    /// Its state.
    pub state: State,
    /// Why it stands still, if it does.
    pub attention: String,
    /// Who started it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// The digest of its plan.
    pub digest: Digest,
    /// How many steps it has.
    pub steps: u32,
    /// How many are done or skipped.
    pub settled: u32,
}

impl Head {
    /// The head of an operation as it is now.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        let (by, reason, started, ended) = operation.origin();
        let plan = operation.plan();
        Self {
            id: operation.id(),
            kind: plan.kind,
            scope: plan.scope.clone(),
            state: operation.state(),
            attention: operation.attention().to_owned(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            started,
            ended,
            digest: operation.sealed().digest(),
            steps: u32::try_from(plan.steps.len()).unwrap_or(u32::MAX),
            settled: u32::try_from(operation.settled()).unwrap_or(u32::MAX),
        }
    }
}

/// An applied spec, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedSpec {
    /// Its generation.
    pub generation: Generation,
    /// The file, byte for byte (it is UTF-8, or it would not have been applied).
    pub source: String,
    /// What its author calls it.
    pub file_name: String,
    /// Who applied it.
    pub by: String,
    /// Why, in their words; empty if they gave no reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A plug that was matched with its node. It counts as long as everything that it depends on is what it was; records of
/// versions that did not keep all of it do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The device and plug that were matched; another one in the spec is not verified.
    pub device: String,
    /// The plug.
    pub plug: String,
    /// The fence agent with its options, and the alias in the spec. A digest, because options may be what not everybody
    /// is to read.
    #[serde(default)]
    pub depends_on: Option<Digest>,
    /// The UUID that the node's agent read; empty if that was not known yet.
    #[serde(default)]
    pub machine_uuid: String,
    /// What it rests on.
    #[serde(default)]
    pub proof: Proof,
    /// The same in words, such as `attested by NAME: REASON`.
    pub how: String,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
    /// When.
    #[serde(default)]
    pub at: Timestamp,
}

/// One thing that happened, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number; events are read and watched from one on.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// A stable word.
    pub kind: String,
    /// The node it is about, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The service it is about, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The operation it is about, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// The caller, for what a person did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// The act by hand that it tells of, if it does. That may have been long before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<ActId>,
    /// One line.
    pub text: String,
}
