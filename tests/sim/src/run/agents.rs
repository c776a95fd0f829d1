//! Agent processes: the shipped ledger decides, the shell carries out.

use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::agent::ledger::{
    Effect, Event as LedgerEvent, Greeting, Outcome, Recipient, Record, Slot,
};
use interlock_engine::coordinator::{FromAgent, Hello};
use interlock_model::ids::AttemptId;
use interlock_model::names::NodeName;
use interlock_model::observation::Wanted;
use interlock_model::time::{Now, Timestamp};

use super::{Event, SessionId, Simulation};
use crate::agent::{Alive, Durable};
use crate::fact::Fact;
use crate::mutant::Mutant;
use crate::setup::{Crash, StepMoment};
use crate::world::Os;

/// How often an agent says that it is there.
const BEAT: Duration = Duration::from_secs(1);

impl Simulation {
    fn agent_clock(&self) -> Now {
        Now {
            mono: self.now(),
            wall: Timestamp(u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)),
        }
    }

    pub(super) fn alive(&mut self, node: &NodeName) -> Option<&mut Alive> {
        self.agents.get_mut(node)?.alive.as_mut()
    }

    pub(super) fn is_life(&self, node: &NodeName, life: u64) -> bool {
        self.agents
            .get(node)
            .is_some_and(|agent| agent.life == life && agent.alive.is_some())
    }

    /// An agent starts, finds out what became of what its predecessor began, and looks for a coordinator.
    pub(super) fn agent_up(&mut self, node: &NodeName, boots: u64) {
        let machine = self.world.machine(node);
        if machine.boots != boots || machine.os != Os::Up {
            return;
        }
        let (boot, now) = (self.world.boot(node), self.now());
        let mutant = self.setup.mutant;
        let Some(agent) = self
            .agents
            .get_mut(node)
            .filter(|agent| agent.alive.is_none())
        else {
            return;
        };
        match mutant {
            Some(Mutant::ForgetsLedger) => {
                agent.disk.retain(|slot, _| !matches!(slot, Slot::Entry(_)));
            }
            Some(Mutant::ForgetsTerm) => {
                agent.disk.remove(&Slot::Term);
            }
            Some(Mutant::ForgetsWhatIsOver) => agent.forget_what_is_over(),
            Some(Mutant::ForgetsGuards) => {
                agent.disk.retain(|slot, _| !matches!(slot, Slot::Guard(_)));
            }
            _ => {}
        }
        agent.start(boot, now);
        let life = agent.life;
        let open: Vec<AttemptId> = agent
            .alive
            .iter()
            .flat_map(|alive| alive.ledger.open())
            .map(|entry| entry.id.clone())
            .collect();
        self.say(|| format!("the agent of {node} starts, life {life}"));
        for id in open {
            self.recover_job(node, life, &id);
        }
        let delay = self.random.millis(1, 200);
        self.schedule.after(
            delay,
            Event::Connect {
                node: node.clone(),
                life,
            },
        );
        self.schedule.after(
            BEAT,
            Event::Beat {
                node: node.clone(),
                life,
            },
        );
        self.schedule.after(
            Duration::ZERO,
            Event::Look {
                node: node.clone(),
                life,
            },
        );
    }

    /// An agent is gone; what it began goes on without it.
    pub(super) fn agent_dies(&mut self, node: &NodeName, comes_back: bool) {
        let Some(agent) = self
            .agents
            .get_mut(node)
            .filter(|agent| agent.alive.is_some())
        else {
            return;
        };
        agent.die();
        self.report.deaths += 1;
        self.say(|| format!("the agent of {node} dies"));
        for session in self.network.open_of(Some(node)) {
            self.drop_session(session);
        }
        if comes_back {
            let boots = self.world.machine(node).boots;
            let again = self.random.millis(300, 2500);
            self.schedule.after(
                again,
                Event::AgentUp {
                    node: node.clone(),
                    boots,
                },
            );
        }
    }

    /// Hands an event to the ledger and carries out what it wants.
    pub(super) fn ledger(&mut self, node: &NodeName, event: LedgerEvent) {
        let now = self.agent_clock();
        let effects = match self.alive(node) {
            Some(alive) => alive.ledger.handle(event, now),
            None => return,
        };
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, node: &NodeName, effects: Vec<Effect>) {
        for effect in effects {
            let Some(life) = self.agents.get(node).map(|agent| agent.life) else {
                return;
            };
            match effect {
                Effect::Commit { batch, writes } => {
                    let mutant = self.setup.mutant == Some(Mutant::ActsBeforeDurable);
                    let Some(alive) = self.alive(node) else {
                        return;
                    };
                    alive.batches.push_back((batch, writes));
                    let early = if mutant {
                        alive.ledger.committed(batch)
                    } else {
                        Vec::new()
                    };
                    let delay = self.random.millis(1, 8);
                    self.schedule.after(
                        delay,
                        Event::Recorded {
                            node: node.clone(),
                            life,
                            batch,
                        },
                    );
                    self.carry_out(node, early);
                }
                Effect::Reply { to, report } => self.reply(node, to, &FromAgent::Attempt(report)),
                Effect::Greet { to, greeting } => self.hello(node, to, greeting),
                Effect::Execute {
                    id, command, limit, ..
                } => {
                    self.begin_job(node, life, &id, &command, limit);
                    self.crash_agent(node, &id, StepMoment::Begun);
                }
                Effect::Kill(id) => self.kill_job(node, &id),
            }
        }
    }

    pub(super) fn reply(&mut self, node: &NodeName, to: Recipient, message: &FromAgent) {
        let Some(alive) = self.alive(node) else {
            return;
        };
        let sessions: Vec<SessionId> = alive
            .sessions
            .iter()
            .filter(|(peer, _)| match to {
                Recipient::Asker(asker) => asker == **peer,
                Recipient::Everyone => true,
            })
            .map(|(_, id)| *id)
            .collect();
        for session in sessions {
            self.send_up(session, message.clone());
        }
    }

    /// The agent dies here if the setup says so. It does so once.
    pub(super) fn crash_agent(
        &mut self,
        node: &NodeName,
        id: &AttemptId,
        here: StepMoment,
    ) -> bool {
        let is_here = matches!(&self.setup.crash, Some(Crash::Agent { step, moment })
            if *step == id.step && *moment == here);
        if is_here && !self.report.crashed {
            self.report.crashed = true;
            self.agent_dies(node, true);
            return true;
        }
        false
    }

    /// Batches have reached the disk of an agent.
    pub(super) fn recorded(&mut self, node: &NodeName, life: u64, batch: u64) {
        while self.is_life(node, life) {
            let Some(agent) = self.agents.get_mut(node) else {
                return;
            };
            let next = agent
                .alive
                .as_ref()
                .and_then(|alive| alive.batches.front())
                .map(|(next, _)| *next);
            let Some(next) = next.filter(|next| *next <= batch) else {
                return;
            };
            let Some(Durable {
                records,
                removed,
                then,
            }) = agent.durable(next)
            else {
                return;
            };
            self.tell_all(&Fact::Recorded {
                node,
                records: &records,
                removed: &removed,
            });
            let settled = records.iter().find_map(|record| match record {
                Record::Entry(entry) if !entry.is_open() && entry.command.is_some() => {
                    Some(entry.id.clone())
                }
                _ => None,
            });
            if let Some(id) = settled
                && self.crash_agent(node, &id, StepMoment::Recorded)
            {
                return;
            }
            self.carry_out(node, then);
        }
    }

    /// The agent greets a coordinator; what it says is withheld until all of it is durable.
    pub(super) fn greet(&mut self, node: &NodeName, peer: Peer, id: SessionId) {
        if let Some(alive) = self.alive(node) {
            alive.greeting.insert(peer, id);
        }
        self.ledger(node, LedgerEvent::Greet(peer));
    }

    fn hello(&mut self, node: &NodeName, peer: Peer, greeting: Greeting) {
        let boot = self.world.boot(node);
        let instances = self.instances(node);
        let now = self.now();
        let Some(agent) = self.agents.get_mut(node) else {
            return;
        };
        let generation = agent.assignment.as_ref().map(|(mark, _)| mark.generation);
        let Some(alive) = agent.alive.as_mut() else {
            return;
        };
        let Some(id) = alive.greeting.remove(&peer) else {
            return;
        };
        alive.sessions.insert(peer, id);
        alive.autonomy.heard(peer, now);
        let checks = alive.results(now);
        self.send_up(
            id,
            FromAgent::Hello(Box::new(Hello {
                hostname: node.to_string(),
                version: "simulated".into(),
                process: String::new(),
                boot,
                highest_term: greeting.term,
                highest_operation: greeting.operation,
                closed_below: greeting.closed_below,
                incarnation: greeting.incarnation.unwrap_or_default(),
                attempts: greeting.attempts,
                generation: generation.unwrap_or_default(),
                machine_uuid: node.to_string(),
            })),
        );
        let full = FromAgent::Observed {
            full: true,
            generation: generation.unwrap_or_default(),
            instances,
            checks,
            refuses: Vec::new(),
        };
        self.send_up(id, full);
    }

    /// The agent notices that a session is over. True if it is there to open another one.
    pub(super) fn agent_loses(
        &mut self,
        node: &NodeName,
        life: u64,
        peer: Peer,
        id: SessionId,
    ) -> bool {
        if !self.is_life(node, life) {
            return false;
        }
        let (now, mutant) = (self.now(), self.setup.mutant);
        let Some(alive) = self.alive(node) else {
            return false;
        };
        if alive.sessions.get(&peer) == Some(&id) {
            alive.sessions.remove(&peer);
            alive.questions.remove(&id);
        }
        alive.autonomy.lost(peer, now);
        if mutant == Some(Mutant::StopsInSilence) && alive.sessions.is_empty() {
            self.world.all_down(node);
        }
        true
    }

    /// An attempt has ended; the ledger is told.
    pub(super) fn finished(&mut self, node: &NodeName, id: &AttemptId, outcome: Outcome) {
        self.give_to_guard(node, id, &outcome);
        self.ledger(
            node,
            LedgerEvent::Finished {
                id: id.clone(),
                outcome,
            },
        );
        self.keep(node);
        self.tell_instances(node);
    }

    /// What an instance should be, as the ledger of its agent has it.
    pub(super) fn wanted(
        &self,
        node: &NodeName,
        service: &interlock_model::names::ServiceName,
    ) -> Option<Wanted> {
        self.agents
            .get(node)?
            .alive
            .as_ref()?
            .ledger
            .wanted(service)
    }
}
