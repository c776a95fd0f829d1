//! Those who write rows, and those who move roles.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_engine::lease::LeaseRecord;
use interlock_engine::lease::holder::Event as Told;
use interlock_engine::lease::leader::Event as LeaderTold;
use interlock_model::lease::Shortfall;

use super::event::{Event, Place};
use super::machine::{State, name, number};
use super::mutant::Mutant;
use super::rows::Log;
use super::run::Run;
use super::setup::{Kind, NODES};

impl Run {
    /// A client writes a row wherever it can.
    pub(super) fn write(&mut self) {
        self.schedule.after(Duration::from_millis(20), Event::Write);
        let now = self.now();
        for node in self.writers() {
            let database = &mut self.machines[node].database;
            let promotion = database.promotion;
            database.log.write(promotion, node);
            let log = database.log.clone();
            let waits_for = database.waits_for.clone().unwrap_or_default();
            let reached = waits_for.iter().all(|standby| self.follows(*standby, node));
            if reached {
                self.machines[node].database.waiting = None;
                for standby in waits_for {
                    self.machines[standby].database.log = log.clone();
                }
                self.oracle.acknowledged(&log);
            } else {
                self.machines[node].database.waiting.get_or_insert(now);
            }
        }
    }

    /// Does this standby take the rows of this primary at this moment?
    pub(super) fn follows(&self, standby: usize, primary: usize) -> bool {
        let (one, other) = (Place::Node(standby), Place::Node(primary));
        let machine = &self.machines[standby];
        let seen = machine.facts.seen;
        let leads = self.epoch_of(primary).is_some_and(|epoch| epoch >= seen);
        machine.runs()
            && machine.database.state == State::Standby
            && machine.lagging_until <= self.now()
            && !self.is_cut(one, other)
            && !self.is_cut(other, one)
            && leads
            && machine
                .database
                .log
                .is_in(&self.machines[primary].database.log)
    }

    fn epoch_of(&self, node: usize) -> Option<interlock_model::lease::Epoch> {
        let agent = self.machines[node].agent.as_ref()?;
        agent
            .holder
            .tenure()
            .map(interlock_engine::lease::holder::Tenure::epoch)
    }

    /// Standbys follow; the primary decides whom it waits for.
    pub(super) fn replicate(&mut self) {
        self.schedule
            .after(Duration::from_millis(50), Event::Replicate);
        let primaries: Vec<usize> = (0..NODES)
            .filter(|node| {
                self.machines[*node].runs() && self.machines[*node].database.state == State::Primary
            })
            .collect();
        for primary in primaries {
            for standby in (0..NODES).filter(|standby| *standby != primary) {
                self.follow(standby, primary);
            }
            if self.cluster.synchronous {
                self.synchronise(primary);
            }
        }
    }

    fn follow(&mut self, standby: usize, primary: usize) {
        let (one, other) = (Place::Node(standby), Place::Node(primary));
        let now = self.now();
        let epoch = self.epoch_of(primary);
        let machine = &self.machines[standby];
        let reached = machine.runs()
            && machine.database.state == State::Standby
            && machine.lagging_until <= now
            && machine.agent.is_some()
            && !machine.facts.reverted
            && !self.is_cut(one, other)
            && !self.is_cut(other, one);
        let Some(epoch) = epoch.filter(|epoch| reached && *epoch >= machine.facts.seen) else {
            return;
        };
        let log = self.machines[primary].database.log.clone();
        let mark = machine.facts.mark.as_ref().map(|mark| mark.epoch);
        let news = machine.facts.follows < epoch && mark.is_none_or(|mark| mark < epoch);
        let database = &mut self.machines[standby].database;
        if mark.is_none() && database.log.has_own_beyond(standby, &log) {
            // Nobody knows that it was primary, so nobody compares: what it wrote stays in its files.
            database.tainted = true;
        }
        database.log = log;
        if mark.is_some_and(|mark| mark < epoch) {
            self.count("rejoined");
        }
        if news {
            self.call(standby, Told::Follows(epoch));
        }
    }

    fn synchronise(&mut self, primary: usize) {
        let now = self.now();
        let database = &self.machines[primary].database;
        let late = database
            .waiting
            .is_some_and(|since| now > since + Duration::from_millis(300));
        if let Some(waits_for) = &database.waits_for {
            let names = waits_for.iter().map(|standby| name(*standby)).collect();
            if !late {
                // Again and again: the agent may be another one by now.
                self.call(primary, Told::Synchronous(names));
            } else {
                self.count("degraded");
                if self.setup.is(Mutant::DegradesFirst) {
                    self.machines[primary].database.waits_for = None;
                    self.machines[primary].database.waiting = None;
                }
                self.call(primary, Told::Degrade);
            }
            return;
        }
        let position = database.log.position();
        let in_step = (0..NODES).filter(|standby| {
            *standby != primary
                && self.follows(*standby, primary)
                && self.machines[*standby].database.log.position() == position
        });
        let most = match self.setup.kind {
            Kind::Joins => NODES,
            _ => 1,
        };
        let in_step: BTreeSet<usize> = in_step.take(most).collect();
        let primary_agent = self.machines[primary].agent.as_ref();
        let runs = primary_agent
            .is_some_and(|agent| agent.holder.is_primary() && agent.frozen_until <= now);
        if runs && !in_step.is_empty() {
            let names = in_step.iter().map(|standby| name(*standby)).collect();
            self.machines[primary].database.waits_for = Some(in_step);
            self.call(primary, Told::Synchronous(names));
        }
    }

    /// The operator moves roles, and looks at what is in quarantine.
    pub(super) fn operator(&mut self) {
        self.schedule
            .after(Duration::from_millis(250), Event::Operator);
        let now = self.now();
        if let Some((_, target)) = self.store.operation {
            let arrived = self.store.now.record.as_ref().is_some_and(|(record, _)| {
                record.is_held()
                    && record
                        .holder()
                        .is_some_and(|holder| number(&holder.node) == target)
            });
            if arrived || now > self.operation_since + Duration::from_secs(8) {
                self.count(if arrived {
                    "switchovers done"
                } else {
                    "switchovers given up"
                });
                self.store.end_operation();
                self.lead_all(&LeaderTold::Wanted(None));
            }
        } else if self.is_trouble() && !self.rests && self.random.chance(3) {
            self.operate();
        }
        let quarantined = self.store.now.record.as_ref();
        let quarantined = quarantined
            .map(|(record, _)| record.quarantined().clone())
            .unwrap_or_default();
        if !quarantined.is_empty() && (self.random.chance(3) || !self.is_trouble()) {
            for node in quarantined {
                self.count("cleared");
                // Looked at, and to be cloned anew.
                let machine = &mut self.machines[number(&node)];
                if std::mem::take(&mut machine.reverted) {
                    machine.database.tainted = false;
                    machine.database.log = Log::default();
                }
                self.lead_all(&LeaderTold::Cleared(node));
            }
        }
    }

    /// The operator changes their mind once the primary was asked for its role, and wants everything left alone.
    pub(super) fn give_up(&mut self) {
        let operation = self.store.operation.is_some();
        if self.setup.kind != Kind::Moves || !operation || self.random.chance(50) {
            return;
        }
        self.count("moves given up");
        self.say(|| "operator: gives the switchover up".to_owned());
        self.rests = true;
        self.store.end_operation();
        self.lead_all(&LeaderTold::Wanted(None));
        self.lead_all(&LeaderTold::Automatic(false));
        // That a standby lags is a usual reason.
        let until = self.now() + self.random.millis(1000, 15_000);
        for machine in &mut self.machines {
            machine.lagging_until = until;
        }
    }

    /// Who has given its role back after a move was given up falls silent, and nobody else may have all that it has written.
    pub(super) fn given_back(&mut self, before: Option<&LeaseRecord>, after: &LeaseRecord) {
        let holder = before.and_then(LeaseRecord::holder);
        let (Some(holder), None, true) = (holder, after.holder(), self.rests) else {
            return;
        };
        if self.setup.kind == Kind::Moves && self.random.chance(50) {
            let (former, span) = (number(&holder.node), self.random.millis(3000, 9000));
            self.count("silent once given back");
            self.isolate(former, span, true);
        }
    }

    /// A switchover to any node begins, unless something else holds the service.
    pub(super) fn operate(&mut self) {
        let target = usize::try_from(self.random.below(NODES as u64)).unwrap_or(0);
        let Some(id) = self.store.claim(target) else {
            return;
        };
        self.count("switchovers");
        self.say(|| format!("operator: switchover to node {target}"));
        self.operation_since = self.now();
        if self.setup.is(Mutant::LosesUnasked) {
            self.lead_all(&LeaderTold::Accepts(Some((id, Shortfall::Unknown))));
        }
        self.lead_all(&LeaderTold::Wanted(Some((id, name(target)))));
    }
}
