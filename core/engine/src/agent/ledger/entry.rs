//! What is remembered of one attempt.

use std::fmt;
use std::time::Duration;

use interlock_model::action::Command;
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{AttemptId, BootId, Term};
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::time::{Now, Timestamp, human};
use serde::{Deserialize, Serialize};

/// What is remembered of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The attempt.
    pub id: AttemptId,
    /// Who wanted it.
    pub origin: Origin,
    /// The term in which it was first asked for.
    pub term: Term,
    /// What was asked for; none if it was only ever queried.
    pub command: Option<Command>,
    /// The time limit from its acceptance.
    #[serde(with = "human")]
    pub limit: Duration,
    /// The boot in which it was accepted.
    pub boot: BootId,
    /// When it was accepted or closed.
    pub accepted: Timestamp,
    /// The same on the monotonic clock of that boot.
    #[serde(with = "human")]
    pub accepted_mono: Duration,
    /// How far it is.
    pub state: AttemptState,
    /// What was seen, or why not: one line.
    pub evidence: String,
    /// May it be repeated although its outcome is unknown?
    pub repeatable: bool,
    /// When its state last changed.
    pub at: Timestamp,
}

/// Who wanted an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// An operation.
    Operation,
    /// A person, on this node.
    Hand {
        /// Whose certificate it was.
        who: String,
        /// The reason that they gave.
        why: String,
    },
}

/// What a command works on. Two attempts on the same target are never open at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An instance of this node.
    Instance(ServiceName),
    /// The role of an instance of this node. Not the instance: it goes on, and its guard as well.
    Role(ServiceName),
    /// A member, by its service and node, in the load balancer that is an instance of this node.
    Member {
        /// The service of the load balancer.
        balancer: ServiceName,
        /// The service of the member.
        service: ServiceName,
        /// The node of the member.
        node: NodeName,
    },
    /// A file of this node. Not the instance that reads it: its guard leaves that alone only while a stop has it stopped.
    File(LocalName),
    /// This machine.
    Machine,
    /// The power of another node.
    Power(NodeName),
}

impl Target {
    /// What a command works on.
    #[must_use]
    pub fn of(command: &Command) -> Self {
        match command {
            Command::Start { service, .. }
            | Command::Stop { service, .. }
            | Command::Verify { service, .. } => Self::Instance(service.clone()),
            Command::Promote { service } => Self::Role(service.clone()),
            Command::Drain {
                balancer, member, ..
            }
            | Command::Admit { balancer, member } => Self::Member {
                balancer: balancer.clone(),
                service: member.service.clone(),
                node: member.node.clone(),
            },
            Command::File { file, .. } => Self::File(file.clone()),
            Command::Shutdown { .. } | Command::Reboot => Self::Machine,
            Command::Fence { request } => Self::Power(request.node.clone()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(service) => write!(f, "{service}"),
            Self::Role(service) => write!(f, "the role of {service}"),
            Self::Member {
                balancer,
                service,
                node,
            } => write!(f, "{service}@{node} in {balancer}"),
            Self::File(name) => write!(f, "the file {name}"),
            Self::Machine => f.write_str("this machine"),
            Self::Power(node) => write!(f, "the power of {node}"),
        }
    }
}

impl Entry {
    /// An attempt that may begin.
    pub(super) fn accepted(
        id: AttemptId,
        origin: Origin,
        term: Term,
        command: Command,
        limit: Duration,
        boot: BootId,
        now: Now,
    ) -> Self {
        Self {
            id,
            origin,
            term,
            command: Some(command),
            limit,
            boot,
            accepted: now.wall,
            accepted_mono: now.mono,
            state: AttemptState::Accepted,
            evidence: "accepted".to_owned(),
            repeatable: false,
            at: now.wall,
        }
    }

    /// An attempt that may not begin.
    pub(super) fn refused(
        id: AttemptId,
        term: Term,
        command: Command,
        reason: String,
        boot: BootId,
        now: Now,
    ) -> Self {
        Self {
            state: AttemptState::Refused,
            evidence: reason,
            ..Self::accepted(
                id,
                Origin::Operation,
                term,
                command,
                Duration::ZERO,
                boot,
                now,
            )
        }
    }

    /// An attempt that was asked for before it was seen, and so never will be.
    pub(super) fn never_seen(id: AttemptId, term: Term, boot: BootId, now: Now) -> Self {
        Self {
            id,
            origin: Origin::Operation,
            term,
            command: None,
            limit: Duration::ZERO,
            boot,
            accepted: now.wall,
            accepted_mono: now.mono,
            state: AttemptState::NeverSeen,
            evidence: format!("never seen before term {term} asked; closed by that"),
            repeatable: false,
            at: now.wall,
        }
    }

    /// Has it begun, as far as is known, and not ended?
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.state.is_final()
    }

    /// What is told of it.
    #[must_use]
    pub fn report(&self) -> AttemptReport {
        AttemptReport {
            id: self.id.clone(),
            state: self.state,
            evidence: self.evidence.clone(),
            repeatable: self.repeatable,
        }
    }

    /// What was asked for, in one line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let what = self
            .command
            .as_ref()
            .map_or_else(|| "query".to_owned(), describe);
        match &self.origin {
            Origin::Operation => what,
            Origin::Hand { who, why } => format!("{what} by {who} ({why})"),
        }
    }
}

/// A command in one line for people.
pub(super) fn describe(command: &Command) -> String {
    match command {
        Command::Fence { request } => format!(
            "fence {:?} {} by {}",
            request.action, request.node, request.device
        )
        .to_lowercase(),
        Command::Reboot | Command::Shutdown { .. } => command.word().to_owned(),
        Command::Start { .. }
        | Command::Stop { .. }
        | Command::Verify { .. }
        | Command::Promote { .. }
        | Command::Drain { .. }
        | Command::Admit { .. }
        | Command::File { .. } => {
            format!("{} {}", command.word(), Target::of(command))
        }
    }
}

/// The legal transitions. An outcome never changes.
pub(super) fn may_become(from: AttemptState, to: AttemptState) -> bool {
    use AttemptState::{Accepted, Done, Failed, GoingDown, NeverSeen, Refused, Unknown};
    match (from, to) {
        (Accepted, GoingDown | Done | Failed | Unknown) | (GoingDown, Done | Failed | Unknown) => {
            true
        }
        (Accepted | GoingDown, Accepted | Refused | NeverSeen)
        | (GoingDown, GoingDown)
        | (Done | Failed | Unknown | Refused | NeverSeen, _) => false,
    }
}
