//! How often roles move by themselves before a person has to look (design, section 9: a budget, and a storm limit).
//!
//! A role that moves again and again does not get well by moving, and many roles that move within minutes are no broken
//! machine. So each service has a budget of failovers within a window, and the cluster has one; both are in the spec. Each
//! failover is written down in the transaction of its bump. One that would exceed a budget is refused, and from then on
//! nothing moves by itself, of the service or of the whole cluster, until a person says so: a window that slides on would
//! only make the storm slower. What people order is never limited.
//!
//! Windows are counted by the wall clock, as maintenance is, since they outlive processes.

use std::fmt;
use std::time::Duration;

use interlock_model::lease::Epoch;
use interlock_model::names::ServiceName;
use interlock_model::spec::Budget;
use interlock_model::time::{Now, Timestamp};
use serde::{Deserialize, Serialize};

use super::records::Write;
use super::{By, Coordinator};

/// The prefix of what was counted, by service.
pub const COUNTED: &str = "/failovers";

/// The prefix of what waits for a person.
pub const BLOCKS: &str = "/blocks";

/// Of how many failovers of a service the times are kept: no budget is larger.
const KEPT: usize = 1000;

/// Of what nothing moves by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocked {
    /// Of anything.
    Cluster,
    /// Of a service.
    Service(ServiceName),
}

impl Blocked {
    fn key(&self) -> String {
        match self {
            Self::Cluster => format!("{BLOCKS}/cluster/all"),
            Self::Service(service) => format!("{BLOCKS}/service/{service}"),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Service(service) => write!(f, "{service}"),
        }
    }
}

/// Nothing moves by itself there before a person says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Of what.
    pub of: Blocked,
    /// Since when.
    pub since: Timestamp,
    /// The budget that was spent.
    pub spent: Budget,
    /// How many services are only asked to give their roles back and have not moved yet, without whom it would not be. Then nothing
    /// is kept, and it waits for them.
    #[serde(skip)]
    pub asked: u64,
}

/// A role that is being given back so that it moves by itself: for as long as the record of its lease says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared {
    epoch: Epoch,
    /// Since when, for comparing with blocks.
    since: Timestamp,
}

impl Block {
    /// What ends it, as it is typed.
    #[must_use]
    pub fn command(&self) -> String {
        match &self.of {
            Blocked::Cluster => "interlockctl unblock --all --reason TEXT".to_owned(),
            Blocked::Service(service) => {
                format!("interlockctl unblock --service {service} --reason TEXT")
            }
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, spent, .. } = self;
        if self.asked > 0 {
            return write!(
                f,
                "it waits for {} services that are just asked to give their roles back: with them the budget of {of} is spent \
                 ({spent})",
                self.asked
            );
        }
        write!(
            f,
            "the budget of {of} is spent ({spent}), and nothing of it moves by itself until: {}",
            self.command()
        )
    }
}

/// It cannot be ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUnblocked {
    /// It is not blocked.
    #[error("automatic failover of {0} is not blocked")]
    NotBlocked(Blocked),
    /// No reason.
    #[error("say why it may move by itself again, for whoever wants to know")]
    NoReason,
}

impl Coordinator {
    /// Why nothing of a service moves by itself, if a budget is spent.
    #[must_use]
    pub fn block_of(&self, service: &ServiceName) -> Option<&Block> {
        let of_cluster = self.blocks.get(&Blocked::Cluster);
        of_cluster.or_else(|| self.blocks.get(&Blocked::Service(service.clone())))
    }

    /// What waits for a person.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.values()
    }

    /// May the role of a service move by itself once more? If not, nothing of it does from now on; but for others that are asked
    /// to give theirs back and have not moved yet, it waits for them.
    ///
    /// # Errors
    /// What stands against it.
    pub fn may_fail_over(&mut self, service: &ServiceName, now: Now) -> Result<(), Block> {
        let prepared = self.prepared_since(service);
        if let Some(block) = self.block_of(service) {
            // Its role was given back before that, and nobody has it.
            let is_before = prepared.is_some_and(|since| since <= block.since);
            if !(is_before && block.of == Blocked::Cluster) {
                return Err(block.clone());
            }
        }
        let Some(spec) = self.spec() else {
            return Ok(());
        };
        let own = spec.services.get(service);
        let own = own.and_then(|service| service.failover.as_ref());
        let own = own.map_or(Budget::OF_SERVICE, |failover| failover.budget);
        let of_service = Blocked::Service(service.clone());
        for (of, budget) in [
            (of_service, own),
            (Blocked::Cluster, spec.control.failovers),
        ] {
            let (reserved, others) = match (&of, prepared) {
                (Blocked::Cluster, Some(_)) => (true, 0),
                (Blocked::Cluster, None) => (false, self.others_prepared(service)),
                (Blocked::Service(_), _) => (false, 0),
            };
            let moved = self.counted(&of, budget.window, now);
            if reserved || moved + others < u64::from(budget.times) {
                continue;
            }
            let is_spent = moved >= u64::from(budget.times);
            let block = Block {
                of: of.clone(),
                since: now.wall,
                spent: budget,
                asked: if is_spent { 0 } else { others },
            };
            if !is_spent {
                // They may come to nothing: that is no reason for a person to be called.
                return Err(block);
            }
            self.output.writes.push(Write::json(of.key(), &block));
            self.event("failover-blocked", now, |event| {
                event.service = service.to_string();
                event.text = format!("{service} would have failed over once more: {block}");
            });
            self.blocks.insert(of, block.clone());
            return Err(block);
        }
        Ok(())
    }

    /// A primary that is well is about to be asked to give the role of this epoch back. Others that are asked at the same time count
    /// as if they had moved: all of them together must not exceed what one after the other may not. It counts from the first time
    /// that it is asked.
    ///
    /// # Errors
    /// What stands against it.
    pub fn failover_is_prepared(
        &mut self,
        service: &ServiceName,
        epoch: Epoch,
        now: Now,
    ) -> Result<(), Block> {
        self.may_fail_over(service, now)?;
        let known = self.prepared.get(service);
        if known.is_none_or(|prepared| prepared.epoch != epoch) {
            self.failover_is_under_way(service, Some((epoch, now.wall)));
        }
        Ok(())
    }

    /// What the record of its lease says: the role of this epoch is being given back so that it moves by itself, since then; or none
    /// is.
    pub fn failover_is_under_way(
        &mut self,
        service: &ServiceName,
        hand_over: Option<(Epoch, Timestamp)>,
    ) {
        match hand_over {
            Some((epoch, since)) => {
                let prepared = Prepared { epoch, since };
                self.prepared.insert(service.clone(), prepared);
            }
            None => drop(self.prepared.remove(service)),
        }
    }

    /// Since when the role of a service is being given back so that it moves by itself, if it is.
    #[must_use]
    pub fn prepared_since(&self, service: &ServiceName) -> Option<Timestamp> {
        let prepared = self.prepared.get(service)?;
        Some(prepared.since)
    }

    fn others_prepared(&self, service: &ServiceName) -> u64 {
        let others = self.prepared.keys().filter(|other| *other != service);
        u64::try_from(others.count()).unwrap_or(u64::MAX)
    }

    /// How many failovers there were within the window.
    fn counted(&self, of: &Blocked, window: Duration, now: Now) -> u64 {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let since = now.wall.0.saturating_sub(window);
        let is_of = |service: &ServiceName| match of {
            Blocked::Cluster => true,
            Blocked::Service(of) => of == service,
        };
        let times = self.counted.iter().filter(|(service, _)| is_of(service));
        let recent = times.flat_map(|(_, times)| times).filter(|at| at.0 > since);
        u64::try_from(recent.count()).unwrap_or(u64::MAX)
    }

    /// What is to be written in the transaction of a bump of automatic failover, so that it counts.
    #[must_use]
    pub fn failover_counts(&self, service: &ServiceName, now: Now) -> Write {
        Write::json(format!("{COUNTED}/{service}"), &self.with_one(service, now))
    }

    /// That transaction was committed, or may have been.
    pub fn failover_counted(&mut self, service: &ServiceName, now: Now) {
        let times = self.with_one(service, now);
        self.prepared.remove(service);
        self.counted.insert(service.clone(), times);
    }

    fn with_one(&self, service: &ServiceName, now: Now) -> Vec<Timestamp> {
        let mut times = self.counted.get(service).cloned().unwrap_or_default();
        times.push(now.wall);
        let old = times.len().saturating_sub(KEPT);
        times.drain(..old);
        times
    }

    /// A person says that a service, or all of them, may move by itself again: its budget is whole, and with all of them that
    /// of the cluster.
    ///
    /// # Errors
    /// See [`NotUnblocked`].
    pub fn unblock(
        &mut self,
        service: Option<&ServiceName>,
        by: By<'_>,
        now: Now,
    ) -> Result<Vec<Block>, NotUnblocked> {
        if by.why.trim().is_empty() {
            return Err(NotUnblocked::NoReason);
        }
        let asked = |of: &Blocked| match (service, of) {
            (None, _) => true,
            (Some(service), Blocked::Service(of)) => of == service,
            (Some(_), Blocked::Cluster) => false,
        };
        let ended: Vec<Block> = self
            .blocks
            .values()
            .filter(|block| asked(&block.of))
            .cloned()
            .collect();
        if ended.is_empty() {
            let of = service.map_or(Blocked::Cluster, |it| Blocked::Service(it.clone()));
            return Err(NotUnblocked::NotBlocked(of));
        }
        let whole: Vec<ServiceName> = match service {
            Some(service) => vec![service.clone()],
            None => self.counted.keys().cloned().collect(),
        };
        for service in whole {
            self.counted.remove(&service);
            let key = format!("{COUNTED}/{service}");
            self.output.writes.push(Write::delete(key));
        }
        for block in &ended {
            self.blocks.remove(&block.of);
            self.output.writes.push(Write::delete(block.of.key()));
            self.event("failover-unblocked", now, |event| {
                if let Blocked::Service(service) = &block.of {
                    event.service = service.to_string();
                }
                event.who = by.who.to_owned();
                event.text = format!(
                    "{} lets {} move by itself again: {}",
                    by.who, block.of, by.why
                );
            });
        }
        Ok(ended)
    }
}
