//! Starting operations, and telling them what happens.

use std::fmt;
use std::sync::Arc;

use interlock_model::attempt::AttemptReport;
use interlock_model::check::CheckId;
use interlock_model::ids::{Generation, OperationId};
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Known, Plan, PlanKind, SealedPlan, StepId};
use interlock_model::spec::Role;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::ToAgent;
use super::records::{Head, Write, head_key, journal_key, plan_key};
use super::spec::NoSpec;
use crate::operation::{Claims, Clash, Corrupt, Ctx, Operation, Refused, Verb};

/// How many bytes of a plan go under one key; etcd's default limit of a whole request is 1.5 MiB.
const PLAN_PART: usize = 256 * 1024;

/// How many entries of a journal go under one key: well below the same limit with the longest evidence.
const JOURNAL_PART: usize = 500;

/// Everything that it takes to start an operation.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The plan that was shown.
    pub plan: Arc<SealedPlan>,
    /// Who starts it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// One step per `next`.
    pub single_step: bool,
}

/// What a person asks of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub verb: Verb,
    /// Of which step, where it is about one.
    pub step: Option<String>,
    /// Who.
    pub by: String,
    /// What they may.
    pub role: Role,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Wish {
    /// `retry stop:web@web1: its disk was full`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb)?;
        if let Some(step) = &self.step {
            write!(f, " {step}")?;
        }
        match self.reason.trim() {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}

/// Why an operation was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// There is no spec that plans are made from.
    #[error(transparent)]
    NoSpec(#[from] NoSpec),
    /// The plan belongs to another generation.
    #[error(
        "the plan was made from generation {plan} of the spec, and {current} is applied: plan again"
    )]
    Generation {
        /// The plan's.
        plan: Generation,
        /// The current one.
        current: Generation,
    },
    /// Another operation holds something of it, or relies upon what it would change.
    #[error("{what} by {holder} ({kind} {scope}, started by {by}): {remedy}, or abort it")]
    Held {
        /// What is held, and how.
        what: Clash,
        /// The operation that holds it.
        holder: OperationId,
        /// What that is for.
        kind: PlanKind,
        /// Its scope.
        scope: String,
        /// Who started it.
        by: String,
        /// What makes it go on, if it waits for a person, or to wait.
        remedy: String,
    },
    /// Automatic failover is moving the role of something of it.
    #[error("failover of {service} to {node} is under way ({epoch}): wait until it has ended")]
    Failover {
        /// The service.
        service: ServiceName,
        /// Where its role goes.
        node: NodeName,
        /// The epoch that begins.
        epoch: Epoch,
    },
    /// A machine of it is being switched off.
    #[error(
        "{node} is being switched off, since it is lost with the role of {services}: wait until that has ended"
    )]
    Fencing {
        /// For which services.
        services: String,
        /// Which machine.
        node: NodeName,
    },
    /// The plan goes by a memory that was given up since it was made.
    #[error(
        "the plan takes it from memory which side of {service} was active; that is given up: {why}: plan again"
    )]
    Forgotten {
        /// The service.
        service: ServiceName,
        /// Why its memory was given up.
        why: String,
    },
    /// The plan is not one.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl Coordinator {
    /// Starts an operation. Its head, plan, and first journal entries are one transaction; so are its claims, which
    /// are nothing but its existence.
    ///
    /// # Errors
    /// If the plan is stale or something of it is held.
    pub fn start(&mut self, request: &StartRequest, now: Now) -> Result<OperationId, NotStarted> {
        let applied = self.plannable()?;
        let plan = request.plan.plan();
        let current = applied.record.generation;
        if plan.generation != current {
            return Err(NotStarted::Generation {
                plan: plan.generation,
                current,
            });
        }
        self.unheld(plan)?;
        self.still_remembered(plan)?;
        let id = self.next_operation;
        let operation = Operation::start(
            id,
            Arc::clone(&request.plan),
            &request.by,
            &request.reason,
            request.single_step,
            now,
        )?;
        self.next_operation = id.next();
        for (part, bytes) in request.plan.bytes().chunks(PLAN_PART).enumerate() {
            self.output.writes.push(Write {
                key: plan_key(id, part),
                value: Some(bytes.to_vec()),
            });
        }
        for (service, assumption) in &plan.assumptions {
            // What was observed has been remembered when it was, and may have changed since; a person's word is news.
            let why = format!("{id} begins ({})", assumption.known);
            if assumption.known == Known::Assumed {
                self.attest_activity(service, &assumption.active, &why, now);
            } else if !self.activity.contains_key(service) {
                self.set_activity(service, &assumption.active, &why, now);
            }
        }
        self.event("operation-started", now, |event| {
            event.operation = id.to_string();
            event.who.clone_from(&request.by);
            event.text = format!(
                "{} {} ({} {}{})",
                plan.kind,
                plan.scope,
                plan.steps.len(),
                if plan.steps.len() == 1 {
                    "step"
                } else {
                    "steps"
                },
                overrides(&plan.forced)
            );
            if !request.reason.is_empty() {
                event.text += &format!(": {}", request.reason);
            }
        });
        // Before its first step: from then on no hand is to be in the way.
        self.claim(&operation);
        self.operations.insert(id, operation);
        self.with_operation(id, now, |operation, ctx| operation.advance(ctx));
        Ok(id)
    }

    /// Is everything of the plan free? [`Coordinator::start`] asks the same; to ask before looks whether a plan still
    /// holds tells who changes the cluster instead of only that it has changed.
    ///
    /// # Errors
    /// [`NotStarted::Held`] with the first operation that it clashes with, or [`NotStarted::Failover`].
    pub fn unheld(&self, plan: &Plan) -> Result<(), NotStarted> {
        self.no_failover_on(plan)?;
        let wanted = Claims::of(plan);
        for other in self
            .operations
            .values()
            .filter(|other| !other.state().is_over())
        {
            if let Some(what) = other.claims().clash(&wanted) {
                return Err(NotStarted::Held {
                    what,
                    holder: other.id(),
                    kind: other.plan().kind,
                    scope: other.plan().scope.clone(),
                    by: other.origin().0.to_owned(),
                    remedy: match other.awaits_approval() {
                        Some(step) => {
                            let id = other.id();
                            format!("it waits for `interlockctl approve {id} {step} --reason WHY`")
                        }
                        None => "wait for it".to_owned(),
                    },
                });
            }
        }
        Ok(())
    }

    /// Is what the plan goes by still remembered?
    fn still_remembered(&self, plan: &Plan) -> Result<(), NotStarted> {
        let recalled = plan
            .assumptions
            .iter()
            .filter(|(_, assumption)| assumption.known == Known::Remembered);
        for (service, _) in recalled {
            if let Some(why) = self.forgotten.get(service) {
                return Err(NotStarted::Forgotten {
                    service: service.clone(),
                    why: why.clone(),
                });
            }
        }
        Ok(())
    }

    /// Follows a person's wish about an operation.
    ///
    /// # Errors
    /// If it is not possible now. None if there is no such operation under way.
    pub fn control(
        &mut self,
        id: OperationId,
        wish: &Wish,
        now: Now,
    ) -> Option<Result<(), Refused>> {
        self.operations.get(&id)?;
        let mut result = Ok(());
        let text = wish.to_string();
        self.with_operation_told(id, now, |operation, ctx| {
            result = operation.control(
                wish.verb,
                wish.step.as_deref(),
                &wish.by,
                wish.role,
                &wish.reason,
                ctx,
            );
            let told = (wish.by.clone(), text);
            result.is_ok().then_some(told)
        });
        Some(result)
    }

    /// Halts an operation that cannot be recorded any further.
    pub fn halt(&mut self, id: OperationId, why: &str, now: Now) {
        self.with_operation(id, now, |operation, ctx| operation.halt(why, ctx));
    }

    pub(super) fn attempt(&mut self, node: &NodeName, report: &AttemptReport, now: Now) {
        let id = report.id.operation;
        if self.operations.contains_key(&id) {
            self.with_operation(id, now, |operation, ctx| {
                operation.report(node, report, ctx)
            });
        }
    }

    /// What a step of an operation under way waits for.
    #[must_use]
    pub fn waits_for(&self, id: OperationId, step: &StepId) -> String {
        self.operations
            .get(&id)
            .map(|operation| operation.waits_for(step))
            .unwrap_or_default()
    }

    /// Runs one machine with everything that it looks at.
    pub(super) fn with_operation(
        &mut self,
        id: OperationId,
        now: Now,
        run: impl FnOnce(&mut Operation, &mut Ctx<'_>),
    ) {
        self.with_operation_told(id, now, |operation, ctx| {
            run(operation, ctx);
            None
        });
    }

    /// The same for a person, if the run tells who and what: the events tell the wish before what came of it.
    fn with_operation_told(
        &mut self,
        id: OperationId,
        now: Now,
        run: impl FnOnce(&mut Operation, &mut Ctx<'_>) -> Option<(String, String)>,
    ) {
        let Some(spec) = self.spec() else {
            return;
        };
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        let before = operation.state();
        let mut effects = Vec::new();
        let told = run(
            operation,
            &mut Ctx {
                now,
                term: self.term,
                spec: &spec,
                view: &self.view,
                verified: &self.verified,
                strays: &self.strays,
                effects: &mut effects,
            },
        );
        let after = operation.state();
        let said = match operation.attention() {
            "" => operation.told_as_left(),
            attention => attention.to_owned(),
        };
        if let Some((who, text)) = told {
            self.event("operation-controlled", now, |event| {
                event.operation = id.to_string();
                event.who = who;
                event.text = text;
            });
        }
        if after != before {
            self.turned.insert(id);
            self.event("operation-turned", now, |event| {
                event.operation = id.to_string();
                event.text = format!(
                    "{id} is {after}{}{said}",
                    if said.is_empty() { "" } else { ": " }
                );
            });
        }
        self.carry_out(effects, now);
    }

    /// Turns what the machines recorded into writes: one batch of each journal, however many events it took.
    pub(super) fn write_journals(&mut self) {
        for (id, operation) in &mut self.operations {
            let entries = operation.take_entries();
            if entries.is_empty() {
                continue;
            }
            let batch = self.batches.entry(*id).or_insert(0);
            let first = *batch == 0;
            for entries in entries.chunks(JOURNAL_PART) {
                *batch += 1;
                self.output
                    .writes
                    .push(Write::json(journal_key(*id, *batch), &entries));
            }
            if first || self.turned.remove(id) {
                self.output
                    .writes
                    .push(Write::json(head_key(*id), &Head::of(operation)));
            }
        }
    }

    /// Every operation below this one is over.
    pub(super) fn closed_below(&self) -> Option<OperationId> {
        let first = self
            .operations
            .values()
            .filter(|operation| !operation.state().is_over())
            .map(Operation::id)
            .min();
        let below = first.unwrap_or(self.next_operation);
        (below.0 > 1).then_some(below)
    }

    /// Operations that are over are let go, and the agents may forget their attempts.
    pub(super) fn let_go(&mut self) {
        let over: Vec<OperationId> = self
            .operations
            .values()
            .filter(|operation| operation.state().is_over())
            .map(Operation::id)
            .collect();
        if over.is_empty() {
            return;
        }
        for id in &over {
            self.operations.remove(id);
            self.batches.remove(id);
        }
        self.unclaim(&over);
        if let Some(below) = self.closed_below() {
            let connected: Vec<NodeName> = self
                .view
                .nodes()
                .filter(|(_, seen)| seen.session.is_some())
                .map(|(name, _)| name.clone())
                .collect();
            for node in connected {
                self.send(node, ToAgent::Close(below));
            }
        }
    }
}

/// The checks that a plan overrides, for the audit; empty if none.
fn overrides(forced: &[CheckId]) -> String {
    if forced.is_empty() {
        return String::new();
    }
    let names: Vec<String> = forced.iter().map(ToString::to_string).collect();
    format!(", overriding {}", names.join(", "))
}
