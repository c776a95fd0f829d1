//! What agents see of their nodes, and what they ask power sources.

use std::time::Duration;

use interlock_engine::coordinator::{CheckReport, FromAgent};
use interlock_model::action::{FenceCall, Power};
use interlock_model::check::{Check, CheckId, Verdict};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};

use super::{Event, SessionId, Simulation};
use crate::agent::report;
use crate::mutant::Mutant;

/// How often an agent says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// How often it runs its checks.
pub(crate) const EVERY: Duration = Duration::from_secs(6);

impl Simulation {
    pub(super) fn beat(&mut self, node: &NodeName, life: u64) {
        if !self.is_life(node, life) {
            return;
        }
        self.tell_everyone(node, &FromAgent::Heartbeat);
        self.schedule.after(
            BEAT,
            Event::Beat {
                node: node.clone(),
                life,
            },
        );
    }

    fn sessions(&mut self, node: &NodeName) -> Vec<SessionId> {
        self.alive(node)
            .map(|alive| alive.sessions.values().copied().collect())
            .unwrap_or_default()
    }

    fn tell_everyone(&mut self, node: &NodeName, message: &FromAgent) {
        for session in self.sessions(node) {
            self.send_up(session, message.clone());
        }
    }

    /// The instances of a node, as its managers tell them.
    pub(super) fn instances(&self, node: &NodeName) -> Vec<(ServiceName, InstanceObservation)> {
        self.world
            .machine(node)
            .instances
            .iter()
            .map(|(service, instance)| {
                let alive = self.agents.get(node).and_then(|agent| agent.alive.as_ref());
                let keeper = alive.and_then(|alive| alive.keepers.get(service));
                let wanted = self.wanted(node, service);
                let hides = self.setup.mutant == Some(Mutant::HidesWhatRuns)
                    && wanted != Some(Wanted::Running);
                let seen = InstanceObservation {
                    state: match hides {
                        true => InstanceState::Stopped,
                        false => instance.state,
                    },
                    wanted,
                    members: self.world.members_of(node, service),
                    restarts: keeper.map_or(0, |keeper| keeper.guard.restarts()),
                    given_up: instance.state.is_down()
                        && keeper.is_some_and(|keeper| keeper.guard.given_up().is_some()),
                    ..InstanceObservation::default()
                };
                (service.clone(), seen)
            })
            .collect()
    }

    /// Tells how the instances of a node are, at once.
    pub(super) fn tell_instances(&mut self, node: &NodeName) {
        let instances = self.instances(node);
        self.observed(node, &instances, &[]);
    }

    fn observed(
        &mut self,
        node: &NodeName,
        instances: &[(ServiceName, InstanceObservation)],
        checks: &[CheckReport],
    ) {
        let Some(agent) = self.agents.get(node) else {
            return;
        };
        let generation = agent
            .assignment
            .as_ref()
            .map(|(mark, _)| mark.generation)
            .unwrap_or_default();
        for session in self.sessions(node) {
            let message = FromAgent::Observed {
                full: false,
                generation,
                instances: instances.to_vec(),
                checks: self.answering(node, session, checks),
                refuses: Vec::new(),
            };
            self.send_up(session, message);
        }
    }

    /// Results, with the question of a session that each of their probes has followed.
    fn answering(
        &mut self,
        node: &NodeName,
        session: SessionId,
        checks: &[CheckReport],
    ) -> Vec<CheckReport> {
        let now = self.now();
        let alive = self.alive(node);
        let questions = alive.and_then(|alive| alive.questions.get(&session));
        let after = |age: Duration| {
            let began = now.saturating_sub(age);
            questions.map_or(0, |questions| questions.before(began))
        };
        let answer = |check: &CheckReport| CheckReport {
            after: after(check.age),
            ..check.clone()
        };
        checks.iter().map(answer).collect()
    }

    /// Looks at everything, and will again.
    pub(super) fn look(&mut self, node: &NodeName, life: u64) {
        if !self.is_life(node, life) {
            return;
        }
        self.look_once(node, life);
        self.schedule.after(
            EVERY,
            Event::Look {
                node: node.clone(),
                life,
            },
        );
    }

    pub(super) fn look_once(&mut self, node: &NodeName, life: u64) {
        let checks: Vec<CheckId> = self.agents[node]
            .assignment
            .iter()
            .flat_map(|(_, assignment)| &assignment.checks)
            .map(|(id, _)| id.clone())
            .collect();
        let results = self.sample(node, &checks, false);
        self.schedule.after(
            Duration::from_millis(50),
            Event::Found {
                node: node.clone(),
                life,
                results,
            },
        );
        self.keep(node);
        self.tell_instances(node);
    }

    /// Runs some checks at once.
    pub(super) fn probe(&mut self, node: &NodeName, checks: &[CheckId]) {
        let results = self.sample(node, checks, true);
        let life = self.agents[node].life;
        let takes = self.random.millis(5, 250);
        self.schedule.after(
            takes,
            Event::Found {
                node: node.clone(),
                life,
                results,
            },
        );
    }

    /// What probes that begin now will have found.
    fn sample(
        &mut self,
        node: &NodeName,
        checks: &[CheckId],
        asked: bool,
    ) -> Vec<(CheckReport, Duration)> {
        let now = self.now();
        let mutant = self.setup.mutant;
        let Some(agent) = self.agents.get(node) else {
            return Vec::new();
        };
        let declared = |id: &CheckId| -> Option<&Check> {
            let (_, assignment) = agent.assignment.as_ref()?;
            assignment
                .checks
                .iter()
                .find(|(other, _)| other == id)
                .map(|(_, check)| check)
        };
        let mut results = Vec::new();
        for id in checks {
            let Some(check) = declared(id) else { continue };
            let old = agent.alive.as_ref().and_then(|alive| alive.seen.get(id));
            let verdict = match (mutant, old) {
                (Some(Mutant::SellsOldResults), Some((verdict, _))) if asked => *verdict,
                _ => self
                    .world
                    .probe(node, &id.service, id.check.as_str(), check, now),
            };
            let verdict = match (mutant, verdict) {
                (Some(Mutant::TakesUnknownForOk), Verdict::Unknown) => Verdict::Ok,
                (_, verdict) => verdict,
            };
            results.push((report(id, verdict, Duration::ZERO), now));
        }
        results
    }

    /// Probes have come to an end: their results are as old as their beginnings.
    pub(super) fn found(
        &mut self,
        node: &NodeName,
        life: u64,
        results: Vec<(CheckReport, Duration)>,
    ) {
        if !self.is_life(node, life) {
            return;
        }
        let now = self.now();
        let Some(alive) = self.alive(node) else {
            return;
        };
        let mut checks = Vec::new();
        for (mut result, at) in results {
            let newest = alive
                .seen
                .get(&result.id)
                .is_none_or(|(_, seen)| *seen <= at);
            if newest {
                alive.seen.insert(result.id.clone(), (result.verdict, at));
                result.age = now.saturating_sub(at);
                checks.push(result);
            }
        }
        self.observed(node, &[], &checks);
    }

    /// Runs a fence agent's `status`. What it will say is what is so when it begins.
    pub(super) fn ask_power(
        &mut self,
        via: &NodeName,
        session: SessionId,
        ask: u64,
        call: &FenceCall,
    ) {
        let silent = self.troubled() && self.random.chance(5);
        let power = match self.world.plug(&call.node) {
            _ if silent => Power::Unknown,
            true => Power::On,
            false => Power::Off,
        };
        let slow = self.troubled() && self.random.chance(10);
        let takes = if slow {
            self.random.millis(2000, 12_000)
        } else {
            self.random.millis(50, 400)
        };
        let life = self.agents[via].life;
        let node = call.node.clone();
        let answer = Event::Answered {
            via: via.clone(),
            life,
            session,
            ask,
            node,
            power,
        };
        self.schedule.after(takes, answer);
    }

    pub(super) fn answered(
        &mut self,
        via: &NodeName,
        life: u64,
        session: SessionId,
        ask: u64,
        node: NodeName,
        power: Power,
    ) {
        if self.is_life(via, life) {
            let detail = "the fence agent says so".to_owned();
            self.send_up(
                session,
                FromAgent::Power {
                    ask,
                    node,
                    power,
                    detail,
                },
            );
        }
    }
}
