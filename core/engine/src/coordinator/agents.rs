//! What agents say: that they are there, what they see, that they go.

use interlock_model::ids::Generation;
use interlock_model::member::PutBackWhy;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceObservation, InstanceState, Liveness, Wanted};
use interlock_model::time::Now;

use super::Coordinator;
use super::message::{CheckReport, FromAgent, Hello, Send, ToAgent};
use super::question;
use crate::view::{LivenessChange, SeenCheck};

impl Coordinator {
    /// An agent said something.
    pub fn agent(&mut self, node: &NodeName, message: FromAgent, now: Now) {
        // The last words of a machine that its power source has declared off do not make it alive again.
        let in_session = self.view.connected(node) || matches!(message, FromAgent::Hello(_));
        if !in_session {
            return;
        }
        if let Some(change) = self.view.heard(node, now) {
            self.liveness_changed(&change, now);
        }
        match message {
            FromAgent::Hello(hello) => self.hello(node, &hello, now),
            FromAgent::Observed {
                full,
                generation,
                instances,
                checks,
                refuses,
            } => {
                if full {
                    self.view.entry(node).refuses = refuses;
                }
                self.observed(node, full, generation, instances, checks, now);
            }
            FromAgent::ResourceAgents(agents) => self.view.entry(node).agents = Some(*agents),
            FromAgent::Heartbeat => {}
            FromAgent::Attempt(report) => self.attempt(node, &report, now),
            FromAgent::Power {
                ask,
                node: about,
                power,
                detail,
            } => self.power_answer(node, ask, &about, power, &detail, now),
            FromAgent::Busy { ask } => self.is_busy(node, ask, now),
            FromAgent::Tried {
                ask,
                node: about,
                reached,
                detail,
            } => {
                if !self.address_tried(node, ask, reached, &detail) {
                    self.tried(node, &about, ask, reached, detail);
                }
            }
            FromAgent::File { ask, compared } => self.file_compared(node, ask, compared),
            FromAgent::Plugs { ask, list } => self.plugs_answer(node, ask, list, now),
            FromAgent::ByHand(acts) => self.by_hand(node, acts, now),
            FromAgent::Goodbye(reason) => {
                self.view.entry(node).liveness = Liveness::Left;
                self.view.closed(node);
                self.event("node-left", now, |event| {
                    event.node = node.to_string();
                    event.text = format!("the agent of {node} stops: {reason}");
                });
            }
        }
    }

    /// The session of an agent is over, for whatever reason. Says nothing about the node: silence takes its time.
    pub fn session_closed(&mut self, node: &NodeName) {
        self.view.closed(node);
    }

    fn hello(&mut self, node: &NodeName, hello: &Hello, now: Now) {
        self.view.opened(node, now);
        let seen = self.view.entry(node);
        let new_boot = seen.boot.as_ref() != Some(&hello.boot);
        seen.boot = Some(hello.boot.clone());
        seen.generation = hello.generation;
        seen.version.clone_from(&hello.version);
        seen.machine_uuid.clone_from(&hello.machine_uuid);
        seen.hostname.clone_from(&hello.hostname);
        // Who speaks is on, whatever its source said before.
        seen.power = None;
        seen.cut_off.clear();
        // What it saw in an earlier session need not be so any more. All that it sees now follows; until then its silence
        // counts, and not an old word of it.
        seen.instances.clear();
        seen.checks.clear();
        seen.refuses.clear();
        if new_boot {
            self.event("node-joined", now, |event| {
                event.node = node.to_string();
                event.text = format!(
                    "the agent of {node} is here, version {}, boot {}",
                    hello.version, hello.boot
                );
            });
        }
        self.has_come(node);
        self.strays_in_boot(node);
        self.machine_said(node, &hello.machine_uuid, now);
        self.remembered(node, hello, now);
        if let Some(assignment) = self.assignments.get(node) {
            self.output.sends.push(Send {
                to: node.clone(),
                message: ToAgent::Assign(assignment.clone()),
            });
            self.untold.insert(node.clone());
            self.tell_claims_to(node);
        } else {
            self.dismiss_one(node);
        }
        for report in &hello.attempts {
            self.attempt(node, report, now);
        }
        self.ask_for_acts(node);
        if let Some(below) = self.closed_below() {
            self.output.sends.push(Send {
                to: node.clone(),
                message: ToAgent::Close(below),
            });
        }
    }

    fn observed(
        &mut self,
        node: &NodeName,
        full: bool,
        generation: Generation,
        instances: Vec<(ServiceName, InstanceObservation)>,
        checks: Vec<CheckReport>,
        now: Now,
    ) {
        for (service, instance) in &instances {
            self.told_of_stray(node, service, instance.state, now);
        }
        let mut noted = Vec::new();
        let seen = self.view.entry(node);
        seen.generation = generation;
        if full {
            seen.instances.clear();
            seen.checks.clear();
        }
        for (service, instance) in instances {
            let before = seen.instances.get(&service);
            if before.is_some_and(|before| instance.restarts > before.restarts) {
                noted.push(("guard-restarted", service.clone(), instance.reason.clone()));
            }
            if instance.state == InstanceState::Failed
                && before.is_some_and(|before| before.state != InstanceState::Failed)
            {
                noted.push(("instance-failed", service.clone(), instance.reason.clone()));
            }
            let ended = instance.state == InstanceState::Stopped
                && instance.wanted == Some(Wanted::Running)
                && before.is_some_and(|before| !before.state.is_down());
            if ended {
                let reason = match instance.reason.as_str() {
                    "" => "it ended cleanly".to_owned(),
                    reason => reason.to_owned(),
                };
                let what = format!("{reason}, and it was to run");
                noted.push(("instance-ended", service.clone(), what));
            }
            for told in seen.put_back(&service, &instance.members) {
                let kind = match told.why {
                    PutBackWhy::Changed => "member-put-back",
                    PutBackWhy::Sick => "member-left-out",
                    PutBackWhy::Well => "member-let-in",
                };
                noted.push((kind, service.clone(), told.text));
            }
            seen.tell(service, instance, now);
        }
        for check in checks {
            let at = now.mono.saturating_sub(check.age);
            let after = question::asked(check.after, now);
            let CheckReport {
                id,
                verdict,
                evidence,
                value,
                paused,
                ..
            } = check;
            seen.checks.insert(
                id,
                SeenCheck {
                    verdict,
                    evidence,
                    value,
                    paused,
                    at,
                    after,
                },
            );
        }
        // While an attempt is under way on it, that decides what becomes of it.
        noted.retain(|(kind, service, _)| {
            *kind != "instance-ended" || !self.is_under_attempt(node, service)
        });
        for (kind, service, reason) in noted {
            self.event(kind, now, |event| {
                event.node = node.to_string();
                event.service = service.to_string();
                event.text = format!("{service} on {node}: {reason}");
            });
        }
        self.remember_activity(node, now);
    }

    /// Does a step that is under way act on an instance?
    fn is_under_attempt(&self, node: &NodeName, service: &ServiceName) -> bool {
        let mut operations = self.operations.values();
        operations.any(|operation| {
            let mut steps = operation.steps();
            steps.any(|(step, state)| {
                state.phase.in_flight()
                    && step.node.as_ref() == Some(node)
                    && step.service.as_ref() == Some(service)
            })
        })
    }

    pub(super) fn liveness_changed(&mut self, change: &LivenessChange, now: Now) {
        // A node that is heard again after a hello tells so itself; beats that are merely late come and go.
        let kind = match (change.from, change.to) {
            (Liveness::Lost, Liveness::Alive) => "node-alive",
            (_, Liveness::Late) => "node-late",
            (_, Liveness::Lost) => "node-lost",
            _ => return,
        };
        self.event(kind, now, |event| {
            event.node = change.node.to_string();
            event.text = format!("{} was {} and is {}", change.node, change.from, change.to);
        });
    }
}
