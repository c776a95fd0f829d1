//! What really happened, told to the invariants as it happens.

use std::time::Duration;

use interlock_engine::agent::ledger::{Record, Slot};
use interlock_engine::coordinator::{Send, Write};
use interlock_model::action::Command;
use interlock_model::attempt::AttemptReport;
use interlock_model::ids::{AttemptId, OperationId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Digest, Plan, StepId};

use crate::store::Store;
use crate::world::{Cause, World};

/// One thing that really happened.
#[derive(Debug)]
pub(crate) enum Fact<'a> {
    /// A plan was made.
    Planned(&'a Plan),
    /// No plan was made, and why.
    NotPlanned(&'a str),
    /// A plan was shown to the operator, who will start it by this digest.
    Shown(Digest),
    /// The operation of a plan is done, it says.
    Done(&'a Plan),
    /// A person decided about a step.
    Decided {
        operation: OperationId,
        step: StepId,
        what: Decision,
    },
    /// A second operator was refused because of this operation.
    Refused(OperationId),
    /// Writes of a coordinator became durable; the store has them already.
    Stored(&'a [Write]),
    /// A coordinator put a message on the wire.
    Sent { send: &'a Send },
    /// Records of an agent became durable.
    Recorded {
        node: &'a NodeName,
        records: &'a [Record],
        /// What is forgotten from then on.
        removed: &'a [Slot],
    },
    /// An agent was asked about an attempt, or to end it, in a term that it obeys.
    Asked {
        node: &'a NodeName,
        id: &'a AttemptId,
        term: Term,
    },
    /// An agent heard a coordinator process in a term that it obeys.
    Heard {
        node: &'a NodeName,
        process: u32,
        term: Term,
    },
    /// An agent put a report of an attempt on the wire.
    Reported {
        node: &'a NodeName,
        report: &'a AttemptReport,
    },
    /// An action began on a machine, asked for in this term by whoever asked.
    Began {
        node: &'a NodeName,
        id: &'a AttemptId,
        command: &'a Command,
        term: Term,
    },
    /// An action ended on a machine.
    Ended {
        node: &'a NodeName,
        id: &'a AttemptId,
        command: &'a Command,
        outcome: AttemptEnd,
    },
    /// An instance went down.
    Down {
        node: &'a NodeName,
        service: &'a ServiceName,
        cause: &'a Cause,
    },
    /// A guard begins to bring an instance up again.
    GuardBegan {
        node: &'a NodeName,
        service: &'a ServiceName,
    },
    /// A guard has brought an instance up again.
    GuardBroughtUp {
        node: &'a NodeName,
        service: &'a ServiceName,
    },
    /// A coordinator process is about to read the store.
    Opened,
    /// The store is an earlier copy of itself.
    Restored,
    /// Something happened: time to look at the world again.
    Moment,
}

/// What a person decided about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Another attempt.
    Retry,
    /// It is taken for done.
    Skip,
    /// Approved.
    Approve,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    Done,
    Failed,
    /// It cannot be told, and it may not be repeated unasked.
    Unknown,
    /// It cannot be told, and may be repeated.
    Repeatable,
}

/// What an invariant may look at.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) now: Duration,
    pub(crate) world: &'a World,
    pub(crate) store: &'a mut Store,
}
