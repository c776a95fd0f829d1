//! Why a call was refused, as a word that programs can rely on.
//!
//! gRPC has sixteen codes, and a script that has to tell *somebody else holds it* from *the cluster has changed* should not read
//! messages for people. The word travels in the metadata of the status. Words are added, and never change their meaning;
//! `docs/errors.md` has the list.

use tonic::Status;
use tonic::metadata::MetadataValue;

/// Where the word stands in the metadata of a status.
pub const HEADER: &str = "interlock-reason";

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Another operation holds something of it.
    Held,
    /// A role is just moving by itself.
    FailoverUnderWay,
    /// The coordinator has no such plan any more.
    PlanUnknown,
    /// The cluster is not what it was when the plan was made.
    PlanStale,
    /// What takes machines down was not confirmed with the cluster's name.
    NotConfirmed,
    /// A reason has to be given.
    ReasonMissing,
    /// No spec is applied, or it cannot be read.
    NoSpec,
    /// The spec has errors.
    SpecInvalid,
    /// The file was made for another generation than is applied.
    SpecStale,
    /// The file is for another cluster.
    OtherCluster,
    /// What runs would become somebody else's.
    SpecRuns,
    /// There is no such operation.
    NoSuchOperation,
    /// The operation is over.
    OperationOver,
    /// The operation's state, or that of its step, does not allow it.
    NotPossible,
    /// The caller's role may not do it.
    RoleMissing,
    /// The agent of the node is not connected.
    AgentAway,
    /// The store cannot be read.
    StoreUnavailable,
    /// The store takes no writes.
    StoreStuck,
}

impl Reason {
    /// All of them with their words.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::Held, "held"),
        (Self::FailoverUnderWay, "failover-under-way"),
        (Self::PlanUnknown, "plan-unknown"),
        (Self::PlanStale, "plan-stale"),
        (Self::NotConfirmed, "not-confirmed"),
        (Self::ReasonMissing, "reason-missing"),
        (Self::NoSpec, "no-spec"),
        (Self::SpecInvalid, "spec-invalid"),
        (Self::SpecStale, "spec-stale"),
        (Self::OtherCluster, "other-cluster"),
        (Self::SpecRuns, "spec-runs"),
        (Self::NoSuchOperation, "no-such-operation"),
        (Self::OperationOver, "operation-over"),
        (Self::NotPossible, "not-possible"),
        (Self::RoleMissing, "role-missing"),
        (Self::AgentAway, "agent-away"),
        (Self::StoreUnavailable, "store-unavailable"),
        (Self::StoreStuck, "store-stuck"),
    ];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(reason, _)| *reason == self);
        found.map_or("", |(_, word)| word)
    }
}

/// Gives a status its reason.
pub trait Because {
    /// The same with a reason that programs can rely on.
    #[must_use]
    fn because(self, reason: Reason) -> Self;
}

impl Because for Status {
    fn because(mut self, reason: Reason) -> Self {
        let word = MetadataValue::from_static(reason.word());
        self.metadata_mut().insert(HEADER, word);
        self
    }
}

/// The word of a status, if it has one; also one that this version does not know.
#[must_use]
pub fn of(status: &Status) -> Option<&str> {
    status.metadata().get(HEADER)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_word_of_its_own_and_an_entry_on_the_page() {
        let page = include_str!("../../docs/errors.md");
        let words: BTreeSet<&str> = Reason::ALL.into_iter().map(|(_, word)| word).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for (reason, word) in Reason::ALL {
            assert_eq!(reason.word(), word);
            assert!(
                page.contains(&format!("| `{word}` |")),
                "{word} is not in docs/errors.md"
            );
            let status = Status::aborted("x").because(reason);
            assert_eq!(of(&status), Some(word));
        }
        assert_eq!(of(&Status::aborted("x")), None);
    }
}
