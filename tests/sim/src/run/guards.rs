//! Guards: the shipped decision whether a dead instance is brought up again, and what carries it out.
//!
//! As in the program (`node-agent/src/run/keeper.rs`) an attempt or the guard has an instance in hand, never both. An
//! attempt that begins ends what a guard is doing, also that of an earlier agent process, before it looks; while it is
//! open the guard decides nothing. What a guard has begun outlives its agent.

use interlock_engine::agent::guard::{Situation, Verdict};
use interlock_engine::agent::ledger::{Event as LedgerEvent, Outcome};
use interlock_engine::coordinator::AssignedInstance;
use interlock_model::action::{Command, Part};
use interlock_model::ids::AttemptId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceState, Wanted};

use super::{Event, Simulation};
use crate::fact::Fact;
use crate::keeper::Keeper;
use crate::mutant::Mutant;
use crate::world::{Os, instance_of};

impl Simulation {
    fn assigned(&self, node: &NodeName, service: &ServiceName) -> Option<AssignedInstance> {
        let (_, assignment) = self.agents.get(node)?.assignment.as_ref()?;
        let is_it = |instance: &&AssignedInstance| instance.service == *service;
        assignment.instances.iter().find(is_it).cloned()
    }

    /// What holds for an instance, as its agent knows it.
    fn situation(&self, node: &NodeName, instance: &AssignedInstance) -> Option<Situation> {
        let ledger = &self.agents.get(node)?.alive.as_ref()?.ledger;
        let service = &instance.service;
        let trust = ledger.trust(service);
        let mutant = self.setup.mutant;
        if mutant == Some(Mutant::GuardsTheUnwanted) {
            return Some(Situation {
                wanted: Some(Wanted::Running),
                proven: true,
                attempt_open: ledger.open_on_instance(service).is_some(),
            });
        }
        let open = ledger.open_on_instance(service).is_some();
        if mutant == Some(Mutant::GuardsDuringAttempts) && open {
            return Some(Situation {
                wanted: Some(Wanted::Running),
                proven: true,
                attempt_open: false,
            });
        }
        Some(Situation {
            wanted: ledger.wanted(service),
            proven: trust.is_some_and(|trust| trust.parts == instance.parts),
            attempt_open: open,
        })
    }

    /// Something has happened on a node: its agent, if there is one, looks at the instances there.
    pub(super) fn noticed(&mut self, node: &NodeName, life: u64) {
        if self.is_life(node, life) {
            self.keep(node);
            self.tell_instances(node);
        }
    }

    /// Looks at the instances of a node, and lets the guards decide.
    pub(super) fn keep(&mut self, node: &NodeName) {
        if !self.setup.harsh {
            return;
        }
        let Some((_, assignment)) = self
            .agents
            .get(node)
            .and_then(|agent| agent.assignment.clone())
        else {
            return;
        };
        for instance in &assignment.instances {
            self.keep_one(node, instance);
        }
    }

    fn keep_one(&mut self, node: &NodeName, instance: &AssignedInstance) {
        let service = &instance.service;
        let (state, boot, now) = (
            self.world.state(node, service),
            self.world.boot(node),
            self.now(),
        );
        let Some(situation) = self.situation(node, instance) else {
            return;
        };
        let Some(alive) = self.alive(node) else {
            return;
        };
        // A unit may be failed since the boot; a process has a run that tells.
        let processes = instance
            .parts
            .iter()
            .all(|part| matches!(part, Part::Process { .. }));
        let this_boot = alive
            .ledger
            .trust(service)
            .is_some_and(|trust| trust.boot == boot);
        let unseen = processes || this_boot && !instance.exclusive;
        let kept = alive.ledger.guard(service);
        let keeper = alive
            .keepers
            .entry(service.clone())
            .or_insert_with(|| Keeper::new(instance.guard, kept));
        keeper.guard.set_policy(instance.guard);
        if let Some(verdict) = keeper.look(state, unseen, situation, now) {
            self.decided(node, service, &verdict);
        }
        self.remember_guard(node, service);
    }

    fn decided(&mut self, node: &NodeName, service: &ServiceName, verdict: &Verdict) {
        self.say(|| format!("the guard of {service} on {node}: {verdict:?}"));
        let Some(life) = self.agents.get(node).map(|agent| agent.life) else {
            return;
        };
        if let Verdict::RestartAt(at) = verdict {
            let event = Event::GuardDue {
                node: node.clone(),
                life,
                service: service.clone(),
            };
            self.schedule.at(*at, event);
        }
    }

    /// Has what a guard must not forget written down, if it is news.
    fn remember_guard(&mut self, node: &NodeName, service: &ServiceName) {
        let news = self
            .alive(node)
            .and_then(|alive| alive.keepers.get_mut(service)?.news());
        if let Some(memory) = news {
            let service = service.clone();
            self.ledger(node, LedgerEvent::Guarded { service, memory });
        }
    }

    /// The time of a restart has come, if it is still right.
    pub(super) fn guard_due(&mut self, node: &NodeName, life: u64, service: &ServiceName) {
        if !self.is_life(node, life) || self.world.machine(node).os != Os::Up {
            return;
        }
        let Some(instance) = self.assigned(node, service) else {
            return;
        };
        let (Some(situation), now) = (self.situation(node, &instance), self.now()) else {
            return;
        };
        let due = self
            .alive(node)
            .and_then(|alive| alive.keepers.get_mut(service))
            .is_some_and(|keeper| keeper.guard.take_due(situation, now));
        if !due {
            return;
        }
        self.remember_guard(node, service);
        self.end_guard_work(node, service);
        if self.world.state(node, service) == InstanceState::Running {
            return;
        }
        self.say(|| format!("the guard of {service} on {node} brings it up again"));
        self.report.guarded += 1;
        self.tell_all(&Fact::GuardBegan { node, service });
        self.world.set(node, service, InstanceState::Starting);
        self.guard_works += 1;
        let work = self.guard_works;
        let machine = self.world.machine_mut(node);
        let boots = machine.boots;
        machine.guarded.insert(service.clone(), work);
        if let Some(keeper) = self
            .alive(node)
            .and_then(|alive| alive.keepers.get_mut(service))
        {
            keeper.saw(InstanceState::Starting);
        }
        let takes = self.fates.millis(300, 1800);
        let event = Event::GuardEnds {
            node: node.clone(),
            boots,
            life,
            service: service.clone(),
            work,
        };
        self.schedule.after(takes, event);
    }

    /// What a guard began comes to its end by itself.
    pub(super) fn guard_ends(
        &mut self,
        node: &NodeName,
        boots: u64,
        life: u64,
        service: &ServiceName,
        work: u64,
    ) {
        let machine = self.world.machine_mut(node);
        if machine.boots != boots || machine.guarded.get(service) != Some(&work) {
            return;
        }
        machine.guarded.remove(service);
        let works = !self.troubled() || self.fates.chance(85);
        let now = self.now();
        if works {
            let warm = self.fates.millis(200, 2500);
            self.world.bring_up(node, service, now, warm);
            self.say(|| format!("{service} on {node} is up again"));
            self.tell_all(&Fact::GuardBroughtUp { node, service });
            self.may_die_young(node, service);
        } else {
            self.world.set(node, service, InstanceState::Failed);
        }
        if self.is_life(node, life)
            && let Some(instance) = self.assigned(node, service)
            && let Some(situation) = self.situation(node, &instance)
            && let Some(keeper) = self
                .alive(node)
                .and_then(|alive| alive.keepers.get_mut(service))
        {
            if works {
                keeper.saw(InstanceState::Running);
            } else {
                let verdict = keeper.failed(situation, now);
                self.decided(node, service, &verdict);
                self.remember_guard(node, service);
            }
        }
        let life = self.agents.get(node).map_or(0, |agent| agent.life);
        self.noticed(node, life);
    }

    /// Ends what a guard, this one or an earlier one, is doing to an instance.
    fn end_guard_work(&mut self, node: &NodeName, service: &ServiceName) {
        if self
            .world
            .machine_mut(node)
            .guarded
            .remove(service)
            .is_some()
        {
            self.say(|| format!("what the guard of {service} on {node} had begun is ended"));
            self.world.set(node, service, InstanceState::Failed);
        }
    }

    /// An attempt begins on an instance: the guard lets go.
    pub(super) fn take_from_guard(&mut self, node: &NodeName, command: &Command) {
        let Some(service) = instance_of(command) else {
            return;
        };
        let mutant = self.setup.mutant;
        if let Some(keeper) = self
            .alive(node)
            .and_then(|alive| alive.keepers.get_mut(service))
            && mutant != Some(Mutant::GuardsDuringAttempts)
        {
            keeper.guard.hand_over();
            self.remember_guard(node, service);
        }
        if mutant != Some(Mutant::LeavesGuardAtWork) {
            self.end_guard_work(node, service);
        }
    }

    /// An attempt on an instance has ended: what it has proven to run and dies from now on is the guard's.
    pub(super) fn give_to_guard(&mut self, node: &NodeName, id: &AttemptId, outcome: &Outcome) {
        let command = self
            .alive(node)
            .and_then(|alive| alive.ledger.entry(id)?.command.clone());
        let Some(service) = command.as_ref().and_then(instance_of) else {
            return;
        };
        let is_up = matches!(outcome, Outcome::Done { .. })
            && !matches!(command, Some(Command::Stop { .. }));
        let state = if is_up {
            InstanceState::Running
        } else {
            self.world.state(node, service)
        };
        if let Some(keeper) = self
            .alive(node)
            .and_then(|alive| alive.keepers.get_mut(service))
        {
            keeper.saw(state);
        }
    }
}
