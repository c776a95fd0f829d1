//! Maintenance: for a time nothing moves by itself that is of a node or a service (design, section 2).
//!
//! A person works on something and does not want the cluster to act on what they do to it. They say for whom that is, why, and
//! until when; it ends by itself, since what is forgotten would be a failover that never comes. Only automatic failover is kept
//! off: operations are what a person wants, and agents go on restarting what dies, so that whoever wants it down stops it by an
//! operation.
//!
//! A node's counts for each leased service whose role it has, or had last, and keeps the node from being given one. It is in the
//! store: another coordinator, and one that starts again, keeps to it.

use std::fmt;
use std::time::Duration;

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::{Now, Timestamp};
use serde::{Deserialize, Serialize};

use super::records::Write;
use super::{By, Coordinator};

/// The prefix of maintenance.
pub const MAINTENANCE: &str = "/maintenance";

/// The longest time for which it can be entered: longer is no work that is going on, but a policy, and stands in the spec.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What it is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A node, with whatever role it has.
    Node(NodeName),
    /// A service, wherever its role is.
    Service(ServiceName),
}

impl Scope {
    fn key(&self) -> String {
        match self {
            Self::Node(node) => format!("{MAINTENANCE}/node/{node}"),
            Self::Service(service) => format!("{MAINTENANCE}/service/{service}"),
        }
    }

    /// As it is given on a command line.
    fn argument(&self) -> String {
        match self {
            Self::Node(node) => format!("--node {node}"),
            Self::Service(service) => format!("--service {service}"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Service(service) => write!(f, "service {service}"),
        }
    }
}

/// Maintenance of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Of what.
    pub scope: Scope,
    /// Whose.
    pub owner: String,
    /// Why, in their words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if nobody ends it before.
    pub until: Timestamp,
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scope,
            owner,
            reason,
            ..
        } = self;
        write!(f, "{scope} is in maintenance by {owner}: {reason}")
    }
}

/// It cannot be entered or left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMaintained {
    /// There is no such thing.
    #[error("the applied spec has no {0}")]
    Unknown(Scope),
    /// It is not in maintenance.
    #[error("{0} is not in maintenance")]
    NotEntered(Scope),
    /// No reason.
    #[error("say why it is in maintenance, for whoever wants to know")]
    NoReason,
    /// Not for a moment, or for ever.
    #[error(
        "it lasts for more than nothing and at most 30 days; what is longer stands in the spec (`automatic: false`)"
    )]
    Length,
}

impl Coordinator {
    /// Enters maintenance; what is in it already gets another owner, reason and end.
    ///
    /// # Errors
    /// See [`NotMaintained`].
    pub fn enter_maintenance(
        &mut self,
        scope: Scope,
        length: Duration,
        by: By<'_>,
        now: Now,
    ) -> Result<Maintenance, NotMaintained> {
        let applied = self.applied();
        let known = applied.is_some_and(|applied| match &scope {
            Scope::Node(node) => applied.spec.nodes.contains_key(node),
            Scope::Service(service) => applied.spec.services.contains_key(service),
        });
        if !known {
            return Err(NotMaintained::Unknown(scope));
        }
        if by.why.trim().is_empty() {
            return Err(NotMaintained::NoReason);
        }
        if length.is_zero() || length > LONGEST {
            return Err(NotMaintained::Length);
        }
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let maintenance = Maintenance {
            scope: scope.clone(),
            owner: by.who.to_owned(),
            reason: by.why.to_owned(),
            since: now.wall,
            until: Timestamp(now.wall.0.saturating_add(millis)),
        };
        let write = Write::json(scope.key(), &maintenance);
        self.output.writes.push(write);
        let text = format!("{maintenance}; nothing of it moves by itself");
        self.tell_of_maintenance("maintenance-entered", &scope, by.who, text, now);
        self.maintenance.insert(scope, maintenance.clone());
        Ok(maintenance)
    }

    /// Ends maintenance.
    ///
    /// # Errors
    /// If there is none.
    pub fn leave_maintenance(
        &mut self,
        scope: &Scope,
        by: By<'_>,
        now: Now,
    ) -> Result<Maintenance, NotMaintained> {
        let Some(left) = self.maintenance.remove(scope) else {
            return Err(NotMaintained::NotEntered(scope.clone()));
        };
        self.output.writes.push(Write::delete(scope.key()));
        let why = match by.why {
            "" => String::new(),
            why => format!(": {why}"),
        };
        let (who, owner) = (by.who, &left.owner);
        let text = format!("{who} has ended the maintenance of {scope} by {owner}{why}");
        self.tell_of_maintenance("maintenance-left", scope, who, text, now);
        Ok(left)
    }

    /// What is in maintenance.
    pub fn maintenance(&self) -> impl Iterator<Item = &Maintenance> {
        self.maintenance.values()
    }

    /// The maintenance of a node.
    #[must_use]
    pub fn maintenance_of_node(&self, node: &NodeName) -> Option<&Maintenance> {
        self.maintenance.get(&Scope::Node(node.clone()))
    }

    /// The maintenance of a service.
    #[must_use]
    pub fn maintenance_of_service(&self, service: &ServiceName) -> Option<&Maintenance> {
        self.maintenance.get(&Scope::Service(service.clone()))
    }

    /// Ends what is over. Until it has a turn what has run out is in force: nothing moves between a start and the word that
    /// it may.
    pub(super) fn expire_maintenance(&mut self, now: Now) {
        let is_over = |it: &&Maintenance| it.until <= now.wall;
        let over: Vec<Maintenance> = self.maintenance.values().filter(is_over).cloned().collect();
        for maintenance in over {
            let scope = &maintenance.scope;
            self.maintenance.remove(scope);
            self.output.writes.push(Write::delete(scope.key()));
            let text = format!(
                "the time that {} had for the maintenance of {scope} is over, and automatic failover is on again ({}); if the \
                 work goes on: interlockctl maintenance enter {} --for 1h --reason TEXT",
                maintenance.owner,
                maintenance.reason,
                scope.argument()
            );
            self.tell_of_maintenance("maintenance-expired", scope, "", text, now);
        }
    }

    fn tell_of_maintenance(
        &mut self,
        kind: &str,
        scope: &Scope,
        who: &str,
        text: String,
        now: Now,
    ) {
        self.event(kind, now, |event| {
            match scope {
                Scope::Node(node) => event.node = node.to_string(),
                Scope::Service(service) => event.service = service.to_string(),
            }
            event.who = who.to_owned();
            event.text = text;
        });
    }
}
