//! Actions that take their time.
//!
//! An action outlives the agent that began it, and its outcome is written down where the next agent finds it. Once in a
//! while it is not: then nobody can tell what came of it.

use std::time::Duration;

use interlock_engine::agent::ledger::{Event as LedgerEvent, Outcome};
use interlock_model::action::Command;
use interlock_model::ids::AttemptId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;

use super::{Event, Simulation};
use crate::fact::{AttemptEnd, Fact};
use crate::mutant::Mutant;
use crate::setup::StepMoment;
use crate::world::{Cause, Fate, Job, Os, instance_of};

impl Simulation {
    fn fate(&mut self, command: &Command) -> Fate {
        if !self.troubled() {
            return Fate::Works;
        }
        match (self.random.below(100), command) {
            (0..5, _) => Fate::Fails,
            (5..8, _) => Fate::Hangs,
            _ => Fate::Works,
        }
    }

    /// May a command be done again although nobody knows whether it was done? Not where it moves data.
    fn is_repeatable(command: &Command) -> bool {
        match command {
            Command::Start { service, .. }
            | Command::Stop { service, .. }
            | Command::Verify { service, .. } => !matches!(service.as_str(), "dbm" | "dbs" | "s1"),
            Command::Shutdown { .. }
            | Command::Reboot
            | Command::Fence { .. }
            | Command::Promote { .. }
            | Command::Drain { .. }
            | Command::File { .. }
            | Command::Admit { .. } => true,
        }
    }

    /// An action begins.
    pub(super) fn begin_job(
        &mut self,
        node: &NodeName,
        life: u64,
        id: &AttemptId,
        command: &Command,
        limit: Duration,
    ) {
        let asked = self
            .alive(node)
            .and_then(|alive| alive.asked.get(id).copied())
            .unwrap_or_default();
        self.take_from_guard(node, command);
        self.say(|| format!("{node} begins {id}: {}", command.word()));
        self.tell_all(&Fact::Began {
            node,
            id,
            command,
            term: asked,
        });
        self.note_step(&id.step);
        let fate = self.fate(command);
        let boots = self.world.machine(node).boots;
        let job = Job {
            command: command.clone(),
            fate,
            boot: boots,
            outcome: None,
        };
        self.world.machine_mut(node).jobs.insert(id.clone(), job);
        let restarted = restarted(command)
            .filter(|service| self.world.state(node, service) == InstanceState::Running);
        if self.world.take_hold(node, command) {
            return self.end_job(node, id, Outcome::done("it is so already"));
        }
        if let Some(service) = restarted {
            self.tell_all(&Fact::Down {
                node,
                service,
                cause: &Cause::Attempt(id.clone()),
            });
        }
        let (event, takes) = (id.clone(), self.random.millis(300, 1800));
        match command {
            Command::Shutdown { .. } | Command::Reboot if fate != Fate::Fails => {
                self.going_down(node, id);
                self.schedule.after(
                    takes,
                    Event::Halfway {
                        node: node.clone(),
                        boots,
                        id: event,
                    },
                );
                return;
            }
            Command::Stop { .. } => self.going_down(node, id),
            _ => {}
        }
        if fate == Fate::Hangs && !matches!(command, Command::Fence { .. }) {
            self.schedule.after(
                limit,
                Event::TimeLimit {
                    node: node.clone(),
                    life,
                    id: event,
                },
            );
        } else {
            self.schedule.after(
                takes,
                Event::JobEnds {
                    node: node.clone(),
                    boots,
                    id: event,
                },
            );
        }
    }

    fn going_down(&mut self, node: &NodeName, id: &AttemptId) {
        let evidence = "its stop job runs".to_owned();
        self.ledger(
            node,
            LedgerEvent::GoingDown {
                id: id.clone(),
                evidence,
            },
        );
    }

    /// An action comes to its end by itself.
    pub(super) fn job_ends(&mut self, node: &NodeName, boots: u64, id: &AttemptId) {
        let machine = self.world.machine(node);
        let Some(job) = machine
            .jobs
            .get(id)
            .filter(|job| job.outcome.is_none() && job.boot == boots && machine.boots == boots)
        else {
            return;
        };
        if machine.os != Os::Up
            && !matches!(job.command, Command::Shutdown { .. } | Command::Reboot)
        {
            return;
        }
        let (command, fate) = (job.command.clone(), job.fate);
        let outcome = match (&command, fate) {
            (Command::Fence { request }, Fate::Hangs) => {
                let happened = self.random.chance(50);
                if happened {
                    self.switch_on(&request.node);
                }
                Outcome::Unknown {
                    evidence: "the fence agent did not answer".into(),
                    repeatable: true,
                }
            }
            (Command::Fence { request }, Fate::Works) => {
                self.switch_on(&request.node);
                Outcome::done("the power source says on")
            }
            (Command::Shutdown { .. } | Command::Reboot, _) => {
                self.world.machine_mut(node).os = Os::Up;
                // Should its agent have died meanwhile, it is started again.
                let takes = self.random.millis(100, 800);
                let again = Event::AgentUp {
                    node: node.clone(),
                    boots,
                };
                self.schedule.after(takes, again);
                Outcome::failed("something inhibits it")
            }
            (_, Fate::Works) => {
                let warm = self.random.millis(200, 2500);
                let now = self.now();
                let in_name = match self.setup.mutant {
                    Some(Mutant::DrainsInName) => matches!(command, Command::Drain { .. }),
                    Some(Mutant::WritesInName) => command.word() == "write-file",
                    Some(Mutant::RestoresInName) => command.word() == "restore-file",
                    _ => false,
                };
                if !in_name {
                    self.world.worked(node, &command, now, warm);
                    self.world.file_changed(node, id.operation, &command);
                }
                if let Command::Stop { service, .. } = &command {
                    self.tell_all(&Fact::Down {
                        node,
                        service,
                        cause: &Cause::Attempt(id.clone()),
                    });
                }
                if let Some(service) = instance_of(&command) {
                    self.may_die_young(node, service);
                }
                Outcome::done("its manager says so")
            }
            (_, Fate::Fails | Fate::Hangs) => {
                self.world.broke_off(node, &command);
                Outcome::failed("exit status 1")
            }
        };
        self.end_job(node, id, outcome);
    }

    /// The outcome of an action is written down, and its agent, if there is one, is told.
    fn end_job(&mut self, node: &NodeName, id: &AttemptId, outcome: Outcome) {
        if let Some(job) = self.world.machine_mut(node).jobs.get_mut(id) {
            job.outcome = Some(outcome.clone());
        }
        self.tell_end(node, id, &outcome);
        if self.crash_agent(node, id, StepMoment::Ended) {
            return;
        }
        if self
            .agents
            .get(node)
            .is_some_and(|agent| agent.alive.is_some())
        {
            self.finished(node, id, outcome);
        }
    }

    fn tell_end(&mut self, node: &NodeName, id: &AttemptId, outcome: &Outcome) {
        let end = match outcome {
            Outcome::Done { .. } => AttemptEnd::Done,
            Outcome::Failed { .. } => AttemptEnd::Failed,
            Outcome::Unknown {
                repeatable: true, ..
            } => AttemptEnd::Repeatable,
            Outcome::Unknown {
                repeatable: false, ..
            } => AttemptEnd::Unknown,
        };
        self.say(|| format!("{id} on {node} ends: {end:?}"));
        let Some(job) = self.world.machine(node).jobs.get(id) else {
            return;
        };
        let command = job.command.clone();
        self.tell_all(&Fact::Ended {
            node,
            id,
            command: &command,
            outcome: end,
        });
    }

    /// The agent ends an action, by its time limit or because it was told to.
    pub(super) fn kill_job(&mut self, node: &NodeName, id: &AttemptId) {
        let Some(job) = self.world.machine(node).jobs.get(id) else {
            return;
        };
        let command = job.command.clone();
        // A machine that goes down cannot be told to stay.
        if job.outcome.is_some() || matches!(command, Command::Shutdown { .. } | Command::Reboot) {
            return;
        }
        self.world.broke_off(node, &command);
        self.end_job(node, id, Outcome::failed("ended, nothing of it is left"));
    }

    pub(super) fn time_limit(&mut self, node: &NodeName, life: u64, id: &AttemptId) {
        if self.is_life(node, life) {
            self.kill_job(node, id);
        }
    }

    /// A new agent finds out what became of an attempt that its predecessor began.
    pub(super) fn recover_job(&mut self, node: &NodeName, life: u64, id: &AttemptId) {
        let boots = self.world.machine(node).boots;
        let lost = self.troubled() && self.random.chance(50);
        let Some(job) = self.world.machine(node).jobs.get(id).cloned() else {
            let outcome = Outcome::Unknown {
                evidence: "nothing is known of it".into(),
                repeatable: true,
            };
            return self.finished(node, id, outcome);
        };
        let is_of_machine = matches!(job.command, Command::Shutdown { .. } | Command::Reboot);
        match job.outcome {
            Some(outcome) => self.finished(node, id, outcome),
            None if job.boot != boots && is_of_machine => {
                self.end_job(node, id, Outcome::done("this is another boot"));
            }
            None if job.boot != boots || lost && !is_of_machine => {
                if job.boot == boots {
                    self.world.broke_off(node, &job.command);
                }
                let repeatable = Self::is_repeatable(&job.command);
                let evidence = "its agent died, and what it did is not known".to_owned();
                let real = Outcome::Unknown {
                    evidence: evidence.clone(),
                    repeatable,
                };
                if let Some(job) = self.world.machine_mut(node).jobs.get_mut(id) {
                    job.outcome = Some(real.clone());
                }
                self.tell_end(node, id, &real);
                let says = repeatable || self.setup.mutant == Some(Mutant::RepeatsUnknown);
                self.finished(
                    node,
                    id,
                    Outcome::Unknown {
                        evidence,
                        repeatable: says,
                    },
                );
            }
            // It goes on and will tell by itself; a hung one at its time limit.
            None => {
                if job.fate == Fate::Hangs {
                    self.schedule.after(
                        Duration::from_secs(20),
                        Event::TimeLimit {
                            node: node.clone(),
                            life,
                            id: id.clone(),
                        },
                    );
                }
            }
        }
    }
}

/// The instance that a command takes down first, if it is up.
fn restarted(command: &Command) -> Option<&ServiceName> {
    match command {
        Command::Verify { service, .. } => Some(service),
        Command::Start { .. }
        | Command::Stop { .. }
        | Command::Shutdown { .. }
        | Command::Reboot
        | Command::Fence { .. }
        | Command::Promote { .. }
        | Command::Drain { .. }
        | Command::File { .. }
        | Command::Admit { .. } => None,
    }
}
