//! What is known of an operation that is followed, and what has changed since the last word.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use interlock_model::check::CheckId;
use interlock_model::plan::{Plan, SealedPlan, Step};
use interlock_proto::v1;

use crate::exit::Exit;
use crate::render::{Silence, now_millis, offered};

/// How long a coordinator that is there keeps still at most while it is followed: the time between two questions about
/// its agents, and as much again for the answer.
const STILL: Duration = Duration::from_secs(4);

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The operation itself.
    Operation {
        /// Its state now.
        state: String,
        /// When that was, in milliseconds since 1970.
        at: u64,
    },
    /// A step.
    Step {
        /// Which.
        step: String,
        /// When that was, in milliseconds since 1970.
        at: u64,
    },
}

impl Change {
    fn at(&self) -> u64 {
        match self {
            Self::Operation { at, .. } | Self::Step { at, .. } => *at,
        }
    }
}

/// The coordinator's clock, as far as this machine can tell: the times in an operation are by that one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    ahead: i64,
}

impl Clock {
    /// A coordinator said that it is `theirs` when it was `ours` here, both in milliseconds since 1970; 0 if it did not
    /// say.
    pub(super) fn compared(theirs: u64, ours: u64) -> Self {
        let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
        Self {
            ahead: match theirs {
                0 => 0,
                theirs => signed(theirs).saturating_sub(signed(ours)),
            },
        }
    }

    fn now(self) -> u64 {
        now_millis().saturating_add_signed(self.ahead)
    }
}

/// When things happened before the first word, as the journal has it.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The last entry about each step, in milliseconds since 1970.
    steps: BTreeMap<String, u64>,
    /// When the operation last turned; 0 if it never did.
    turned: u64,
}

impl Past {
    /// Reads it out of a journal.
    pub(super) fn of(entries: &[v1::JournalEntry]) -> Self {
        let mut past = Self::default();
        for entry in entries {
            if !entry.step.is_empty() {
                past.steps.insert(entry.step.clone(), entry.at_ms);
            } else if entry.what == "turned" {
                past.turned = entry.at_ms;
            }
        }
        past
    }
}

/// The last word on an operation.
#[derive(Debug)]
pub(super) struct Progress {
    name: String,
    operation: v1::Operation,
    plan: Option<Plan>,
    stages: BTreeMap<String, u32>,
    clock: Clock,
    /// What happened before the first word.
    past: Past,
    /// The agents that are not heard, as far as was asked.
    silence: Silence,
    /// When the coordinator last said anything.
    heard: Instant,
}

impl Progress {
    /// Nothing is known yet but what happened before.
    pub(super) fn new(name: &str, clock: Clock, past: Past) -> Self {
        Self {
            clock,
            past,
            name: name.to_owned(),
            operation: v1::Operation::default(),
            plan: None,
            stages: BTreeMap::new(),
            silence: Silence::default(),
            heard: Instant::now(),
        }
    }

    /// Takes in a word, and says what is different.
    pub(super) fn update(&mut self, mut next: v1::Operation) -> Vec<Change> {
        self.heard = Instant::now();
        self.learn_plan(std::mem::take(&mut next.plan_json));
        let mut changes = Vec::new();
        {
            let before: BTreeMap<&str, &v1::StepStatus> = self
                .operation
                .steps
                .iter()
                .map(|step| (step.step.as_str(), step))
                .collect();
            for step in &next.steps {
                let before = before.get(step.step.as_str()).copied();
                if worth_a_line(before, step) {
                    changes.push(Change::Step {
                        step: step.step.clone(),
                        at: self.time_of_step(before, step),
                    });
                }
            }
        }
        let summary = next.summary.clone().unwrap_or_default();
        let begins_to_wait =
            !next.end_waits_for.is_empty() && self.operation.end_waits_for.is_empty();
        if begins_to_wait && summary.state == self.summary().state {
            changes.push(Change::Operation {
                state: summary.state.clone(),
                at: self.now(),
            });
        }
        if summary.state != self.summary().state {
            let at = self.time_of_operation(&summary);
            let state = summary.state;
            changes.push(Change::Operation { state, at });
        }
        if self.operation.summary.is_none() {
            // What happened before anybody looked is told in its order: plans are in that of their edges.
            changes.sort_by_key(Change::at);
        }
        self.operation = next;
        changes
    }

    /// The step that a `next` lets begin: the first that waits for nothing else.
    pub(super) fn offered(&self) -> Option<&str> {
        offered(&self.operation)
    }

    /// When a step came to be as it is.
    fn time_of_step(&self, before: Option<&v1::StepStatus>, step: &v1::StepStatus) -> u64 {
        let begins = before.is_none_or(|it| it.state != step.state || it.attempt != step.attempt);
        match (step.began_ms, step.ended_ms) {
            (_, ended @ 1..) if is_settled(&step.state) => ended,
            (began @ 1.., _) if begins && step.attempt <= 1 && step.state == "running" => began,
            (began, _) if self.operation.summary.is_none() => {
                let recorded = self.past.steps.get(&step.step).copied();
                recorded
                    .or((began > 0).then_some(began))
                    .unwrap_or_else(|| self.now())
            }
            _ => self.now(),
        }
    }

    /// When the operation came to be as it is.
    fn time_of_operation(&self, summary: &v1::OperationSummary) -> u64 {
        match (summary.ended_ms, self.past.turned) {
            (ended @ 1.., _) => ended,
            (0, turned @ 1..) if self.operation.summary.is_none() => turned,
            _ if self.operation.summary.is_none() && summary.state == "running" => {
                summary.started_ms
            }
            _ => self.now(),
        }
    }

    /// The plan comes with the first word only.
    fn learn_plan(&mut self, json: String) {
        if self.plan.is_some() || json.is_empty() {
            return;
        }
        // A plan that cannot be read, of a newer version, costs the stages and nothing else.
        if let Ok(sealed) = SealedPlan::open(json.into_bytes()) {
            let plan = sealed.plan().clone();
            self.stages = plan
                .stages()
                .into_iter()
                .map(|(step, stage)| (step.to_string(), stage))
                .collect();
            self.plan = Some(plan);
        }
    }

    /// How this ends for whoever follows, if it does.
    pub(super) fn ended(&self) -> Option<Exit> {
        match self.summary().state.as_str() {
            // What a person has taken for done, or wanted overridden, is not proven.
            "done" if self.operation.steps.iter().any(|it| it.state == "skipped") => {
                Some(Exit::NotWell)
            }
            "done" if !self.forced().is_empty() => Some(Exit::NotWell),
            "done" => Some(Exit::Ok),
            "aborted" | "unwound" => Some(Exit::NotDone),
            "needs-attention" => Some(Exit::NeedsAttention),
            _ => None,
        }
    }

    /// How the agents are, by a status; none if that could not be had, and then nothing is said of them.
    pub(super) fn hear_of_agents(&mut self, status: Option<&v1::Status>) {
        if status.is_some() {
            self.heard = Instant::now();
        }
        self.silence = status.map(Silence::of).unwrap_or_default();
    }

    /// For how long the coordinator has said nothing at all, if that is longer than it keeps still while it is there.
    pub(super) fn quiet(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.heard)).filter(|quiet| *quiet > STILL)
    }

    /// That the agent which carries a step out is not heard, if so.
    pub(super) fn silent(&self, step: &v1::StepStatus) -> Option<String> {
        let planned = self.planned(&step.step)?;
        self.silence.about(step, planned, self.now())
    }

    /// Now, by the coordinator's clock, in milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The operation's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The last word itself.
    pub(super) fn operation(&self) -> &v1::Operation {
        &self.operation
    }

    /// The operation in a line.
    pub(super) fn summary(&self) -> v1::OperationSummary {
        self.operation.summary.clone().unwrap_or_default()
    }

    /// One step.
    pub(super) fn step(&self, id: &str) -> Option<&v1::StepStatus> {
        self.operation.steps.iter().find(|step| step.step == id)
    }

    /// What the plan says of a step.
    pub(super) fn planned(&self, id: &str) -> Option<&Step> {
        let plan = self.plan.as_ref()?;
        plan.steps.iter().find(|step| step.id.as_str() == id)
    }

    /// The checks that the operator chose to override.
    pub(super) fn forced(&self) -> &[CheckId] {
        self.plan.as_ref().map_or(&[], |plan| &plan.forced)
    }

    /// The stage of a step, a view alone.
    pub(super) fn stage(&self, id: &str) -> u32 {
        self.stages.get(id).copied().unwrap_or(1)
    }

    /// The cluster, if the plan has been seen.
    pub(super) fn cluster(&self) -> Option<String> {
        self.plan.as_ref().map(|plan| plan.cluster.to_string())
    }
}

/// Ages and evidence change all the time; a line is for what a person would tell another.
fn worth_a_line(before: Option<&v1::StepStatus>, now: &v1::StepStatus) -> bool {
    match before {
        None => now.state != "waiting",
        Some(before) => {
            before.state != now.state
                || before.attempt != now.attempt
                || (now.state == "running" && beyond_issued(before) < beyond_issued(now))
        }
    }
}

/// How far it got; that it was issued is what *running* says.
fn beyond_issued(step: &v1::StepStatus) -> usize {
    step.reached.iter().filter(|it| *it != "issued").count()
}

/// Is the step settled, so that nothing more is expected of it?
pub(super) fn is_settled(state: &str) -> bool {
    matches!(state, "done" | "skipped" | "undone")
}

/// Does the step need a person?
pub(crate) fn needs_person(state: &str) -> bool {
    matches!(state, "blocked" | "failed" | "unknown" | "undo-failed")
}
