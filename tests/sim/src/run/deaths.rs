//! Instances that die by themselves: at any time, most of all where something is going on.

use std::time::Duration;

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;

use super::{Event, Simulation};
use crate::fact::Fact;
use crate::world::{Cause, Os};

/// For how long after a boot or the end of an attempt an instance is rather chosen to die.
const SOON: Duration = Duration::from_secs(3);

impl Simulation {
    /// Chooses the instance that dies again and again, whoever brings it up, until its guard gives it up.
    pub(super) fn doom_one(&mut self) {
        let all = self.instances_where(|_, _| true);
        self.doomed = self.fates.pick(&all).cloned();
    }

    fn instances_where(
        &self,
        is_it: impl Fn(&NodeName, &ServiceName) -> bool,
    ) -> Vec<(NodeName, ServiceName)> {
        let mut found = Vec::new();
        for (node, machine) in &self.world.machines {
            for service in machine.instances.keys() {
                if is_it(node, service) {
                    found.push((node.clone(), service.clone()));
                }
            }
        }
        found
    }

    /// Somebody dies, and somebody else will.
    pub(super) fn mortality(&mut self) {
        if !self.troubled() {
            return;
        }
        let next = self.fates.millis(200, 4000);
        self.schedule.after(next, Event::Mortality);
        let now = self.now();
        let up = self.instances_where(|node, service| self.can_die(node, service));
        let near: Vec<(NodeName, ServiceName)> = up
            .iter()
            .filter(|(node, service)| {
                let machine = self.world.machine(node);
                let agent = self.agents.get(node);
                let is_young = machine
                    .instances
                    .get(service)
                    .is_some_and(|instance| now.saturating_sub(instance.since) < SOON);
                let is_alone = agent.is_some_and(|agent| agent.alive.is_none());
                is_young || is_alone || machine.jobs.values().any(|job| job.outcome.is_none())
            })
            .cloned()
            .collect();
        let from = if near.is_empty() || self.fates.chance(30) {
            up
        } else {
            near
        };
        if let Some((node, service)) = self.fates.pick(&from).cloned() {
            self.dies(&node, &service);
        }
        // Whose agent is away for long is not guarded, and what its guard had begun goes on.
        if self.fates.chance(10)
            && let Some((node, _)) = self.doomed.clone()
        {
            self.agent_dies(&node, true);
        }
    }

    fn can_die(&self, node: &NodeName, service: &ServiceName) -> bool {
        let is_there = matches!(
            self.world.state(node, service),
            InstanceState::Running | InstanceState::Stopping
        );
        is_there && self.world.machine(node).os == Os::Up
    }

    /// An instance has just come up, or is about to be acted on: some do not live to see it.
    pub(super) fn may_die_young(&mut self, node: &NodeName, service: &ServiceName) {
        if !self.setup.harsh || !self.troubled() {
            return;
        }
        let is_doomed = self
            .doomed
            .as_ref()
            .is_some_and(|(on, which)| on == node && which == service);
        let within = match is_doomed {
            true => self.fates.millis(300, 3000),
            false if self.fates.chance(8) => self.fates.millis(0, 400),
            false => return,
        };
        let event = Event::Dies {
            node: node.clone(),
            service: service.clone(),
        };
        self.schedule.after(within, event);
    }

    /// An instance dies, as a failure or as if it had nothing more to do.
    pub(super) fn dies(&mut self, node: &NodeName, service: &ServiceName) {
        if !self.troubled() || !self.can_die(node, service) {
            return;
        }
        let state = if self.fates.chance(15) {
            InstanceState::Stopped
        } else {
            InstanceState::Failed
        };
        self.world.set(node, service, state);
        self.report.died += 1;
        self.say(|| format!("{service} on {node} dies: {state:?}"));
        self.tell_all(&Fact::Down {
            node,
            service,
            cause: &Cause::Itself,
        });
        if let Some(agent) = self.agents.get(node) {
            let life = agent.life;
            let event = Event::Noticed {
                node: node.clone(),
                life,
            };
            let takes = self.fates.millis(0, 60);
            self.schedule.after(takes, event);
        }
    }
}
