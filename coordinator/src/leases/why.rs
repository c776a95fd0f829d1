//! Why an epoch began: the record that is kept of every decision.
//!
//! It is written in the transaction of the bump, so there is no epoch without one, and again when the new holder has
//! renewed and when its agent says that it is primary: then it tells where the time went.

use std::collections::BTreeMap;
use std::fmt;

use interlock_engine::coordinator::Write;
use interlock_engine::lease::LeaseRecord;
use interlock_model::lease::{Epoch, Exclusion};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::book::json;

/// The prefix of the records of why epochs began.
pub(crate) const WHY: &str = "/why";

/// Of how many epochs of a service the record is kept.
const KEPT: u64 = 100;

/// Why an epoch of a service began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// Of which service.
    pub(crate) service: ServiceName,
    /// Which epoch.
    pub(crate) epoch: Epoch,
    /// Who was made its holder.
    pub(crate) node: NodeName,
    /// In whose name: automatic failover, or an operation.
    pub(crate) cause: String,
    /// Who held the role before, if anybody did.
    pub(crate) before: Option<NodeName>,
    /// Why every earlier epoch is over; the last one is what this decision rests on.
    pub(crate) over: BTreeMap<Epoch, Exclusion>,
    /// What was seen.
    pub(crate) evidence: Vec<String>,
    /// Every member: why it could not take over, or nothing if it could.
    pub(crate) candidates: BTreeMap<NodeName, Option<String>>,
    /// When what happened, by the wall clock of the coordinator.
    pub(crate) times: Times,
}

/// When what happened. What has not happened yet is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    /// The record of the lease was last seen to change: its holder renewed, or gave it back.
    pub(crate) last_renewed: Option<Timestamp>,
    /// The holder was suspected to be lost.
    pub(crate) suspected: Option<Timestamp>,
    /// The epoch was decided.
    pub(crate) decided: Option<Timestamp>,
    /// A renewal of the new holder was seen: it has the right.
    pub(crate) held: Option<Timestamp>,
    /// Its agent said that it is primary.
    pub(crate) primary: Option<Timestamp>,
}

impl Decision {
    /// What keeps it, and drops one that is too old.
    pub(super) fn writes(&self) -> Vec<Write> {
        let mut writes = vec![self.write()];
        if let Some(old) = self.epoch.0.checked_sub(KEPT).filter(|old| *old > 0) {
            writes.push(Write {
                key: key(&self.service, Epoch(old)),
                value: None,
            });
        }
        writes
    }

    /// What keeps it.
    pub(super) fn write(&self) -> Write {
        Write {
            key: key(&self.service, self.epoch),
            value: Some(json(self)),
        }
    }

    /// What of it comes from the record that begins the epoch.
    pub(super) fn over(record: &LeaseRecord) -> BTreeMap<Epoch, Exclusion> {
        record.exclusions().clone()
    }
}

/// The key of why an epoch began.
pub(crate) fn key(service: &ServiceName, epoch: Epoch) -> String {
    format!("{WHY}/{service}/{:012}", epoch.0)
}

impl fmt::Display for Decision {
    /// For the event: one line that tells what moved, why it could, and who else was looked at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            epoch,
            node,
            cause,
            ..
        } = self;
        write!(
            f,
            "{node} is made the primary of {service} in {epoch}, by {cause}"
        )?;
        match (&self.before, self.over.last_key_value()) {
            (Some(before), Some((earlier, why))) => {
                write!(f, "; {earlier}, of {before}, is over: {why}")?;
            }
            (None, Some((earlier, why))) => write!(f, "; {earlier} is over: {why}")?,
            (_, None) => f.write_str("; nobody held it before")?,
        }
        for line in &self.evidence {
            write!(f, "; {line}")?;
        }
        let others = self.candidates.iter().filter(|(other, _)| *other != node);
        for (other, why) in others {
            match why {
                Some(why) => write!(f, "; {other} was not taken: {why}")?,
                None => write!(f, "; {other} could have been taken as well")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_tells_what_moved_why_it_could_and_who_else_was_looked_at() {
        let decision = Decision {
            service: "db".parse().unwrap(),
            epoch: Epoch(2),
            node: "db2".parse().unwrap(),
            cause: "automatic failover".to_owned(),
            before: Some("db1".parse().unwrap()),
            over: [(Epoch(1), Exclusion::NeverHeld)].into(),
            evidence: vec!["its record has not changed for 2.5s".to_owned()],
            candidates: [
                (
                    "db1".parse().unwrap(),
                    Some("it has not been heard of lately".to_owned()),
                ),
                ("db2".parse().unwrap(), None),
            ]
            .into(),
            times: Times::default(),
        };
        assert_eq!(
            decision.to_string(),
            "db2 is made the primary of db in epoch 2, by automatic failover; epoch 1, of db1, is over: it was never held; \
             its record has not changed for 2.5s; db1 was not taken: it has not been heard of lately"
        );
        let kept: Decision = serde_json::from_slice(&decision.write().value.unwrap()).unwrap();
        assert_eq!(kept, decision);
    }
}
