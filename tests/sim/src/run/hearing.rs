//! What agents do with the messages of coordinators: the ledger decides about attempts, the shell passes on.

use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::agent::autonomy::Mark;
use interlock_engine::agent::ledger::{Ask, Event as LedgerEvent, Permit, Recipient};
use interlock_engine::coordinator::{FromAgent, ToAgent};
use interlock_model::action::Command;
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{AttemptId, Term};
use interlock_model::names::NodeName;

use super::Simulation;
use super::network::Travel;
use crate::fact::Fact;
use crate::mutant::Mutant;
use crate::setup::StepMoment;
use crate::world::instance_of;

/// The store's incarnation: there is only one store.
const INCARNATION: &str = "simulated";

impl Simulation {
    /// A message of a coordinator.
    pub(super) fn agent_hears(&mut self, node: &NodeName, from: Peer, travel: &Travel) {
        let real = travel.term;
        let obeys = self.setup.mutant == Some(Mutant::ObeysOldTerms);
        let Some(alive) = self.alive(node) else {
            return;
        };
        let term = if obeys {
            real.max(alive.ledger.term())
        } else {
            real
        };
        let obeyed = real >= alive.ledger.term();
        let ask = |id: &AttemptId| Ask {
            from,
            term,
            id: id.clone(),
        };
        if obeyed {
            let Peer(process) = from;
            self.tell_all(&Fact::Heard {
                node,
                process,
                term,
            });
        }
        if let (ToAgent::Query(id) | ToAgent::Cancel(id), true) = (&travel.message, obeyed) {
            self.tell_all(&Fact::Asked { node, id, term });
        }
        match &travel.message {
            ToAgent::Assign(assignment) => {
                let mark = Mark {
                    term,
                    generation: assignment.generation,
                };
                let Some(alive) = self.alive(node) else {
                    return;
                };
                let takes = alive.autonomy.take(mark, alive.ledger.term());
                let incarnation = Some(INCARNATION.to_owned());
                self.ledger(node, LedgerEvent::Heard { term, incarnation });
                if takes && let Some(agent) = self.agents.get_mut(node) {
                    agent.assignment = Some((mark, assignment.clone()));
                    let life = agent.life;
                    self.look_once(node, life);
                }
            }
            ToAgent::Dispatch { id, limit, command } => {
                self.dispatched(node, ask(id), real, *limit, command);
            }
            ToAgent::Query(id) if self.answers_without_closing(node, &ask(id)) => {}
            ToAgent::Query(id) => self.ledger(node, LedgerEvent::Query(ask(id))),
            ToAgent::Cancel(id) => self.ledger(node, LedgerEvent::Cancel(ask(id))),
            ToAgent::Close(below) => {
                self.ledger(
                    node,
                    LedgerEvent::CloseOperations {
                        term,
                        below: *below,
                    },
                );
            }
            ToAgent::Probe { ask, checks } => {
                let now = self.now();
                if let Some(alive) = self.alive(node) {
                    let questions = alive.questions.entry(travel.session).or_default();
                    questions.arrived(*ask, now);
                }
                self.probe(node, checks);
            }
            ToAgent::AskPower { ask, call } => self.ask_power(node, travel.session, *ask, call),
            // What operations hold, and what was done by hand, is for people at the machine; nobody is there.
            ToAgent::Claims(_) | ToAgent::KnownActs(_) => {}
            // Nobody leads a lease here: those have a simulation of their own.
            ToAgent::SwitchOff { .. } | ToAgent::TryToReach { .. } => {}
            // No plan of a simulation changes a file.
            ToAgent::CompareFile { .. } => {}
        }
    }

    fn dispatched(
        &mut self,
        node: &NodeName,
        ask: Ask,
        term: Term,
        limit: Duration,
        command: &Command,
    ) {
        let id = ask.id.clone();
        let Some(alive) = self.alive(node) else {
            return;
        };
        if alive.ledger.entry(&id).is_none() {
            alive.asked.insert(id.clone(), term);
        }
        let event = LedgerEvent::Dispatch {
            ask,
            command: command.clone(),
            limit,
            permit: Permit::Granted,
        };
        self.ledger(node, event);
        if let Some(service) = instance_of(command) {
            self.may_die_young(node, service);
        }
        self.crash_agent(node, &id, StepMoment::Arrived);
    }

    /// Says of an attempt that is not in the ledger that it was never seen, as an agent does that does not close what
    /// it is asked for. True if it did.
    fn answers_without_closing(&mut self, node: &NodeName, ask: &Ask) -> bool {
        let mutant = self.setup.mutant == Some(Mutant::AnswersWithoutClosing);
        let unseen = self.alive(node).is_some_and(|alive| {
            alive.ledger.entry(&ask.id).is_none() && ask.id.operation >= alive.ledger.closed_below()
        });
        if mutant && unseen {
            let report = AttemptReport {
                id: ask.id.clone(),
                state: AttemptState::NeverSeen,
                evidence: "never seen".into(),
                repeatable: true,
            };
            self.reply(
                node,
                Recipient::Asker(ask.from),
                &FromAgent::Attempt(report),
            );
        }
        mutant && unseen
    }
}
