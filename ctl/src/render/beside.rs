//! What stands beside an operation: its plan, with the limits of its steps, and the agents that carry them out.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::plan::{SealedPlan, Step};
use interlock_model::time::human;
use interlock_planner::view;
use interlock_proto::v1;
use serde_json::{Value, json};

use super::{Silence, elapsed, operation_value, under_way};

/// The plan of an operation, and how its agents are, as far as either is known.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The plan, if it is told and can be read.
    plan: Option<SealedPlan>,
    /// Its steps by their names.
    steps: BTreeMap<String, Step>,
    silence: Silence,
    /// By the coordinator's clock, in milliseconds since 1970; 0 if that is not known.
    now: u64,
}

impl Beside {
    /// Reads the plan out of an operation, and the agents out of a status.
    pub(crate) fn new(operation: &v1::Operation, status: Option<&v1::Status>) -> Self {
        // A plan that cannot be read, of a newer version, costs the limits and nothing else.
        let plan = SealedPlan::open(operation.plan_json.clone().into_bytes()).ok();
        let steps = plan.iter().flat_map(|sealed| &sealed.plan().steps);
        let mut beside = Self {
            steps: steps
                .map(|step| (step.id.to_string(), step.clone()))
                .collect(),
            plan,
            ..Self::default()
        };
        if let Some(status) = status {
            beside.now = status.at_ms;
            beside.silence = Silence::of(status);
        }
        beside
    }

    /// For how long a step has been under way, and of how long: `1m 05s of 2m`. Of a gated step, for how long it has been
    /// its turn. Empty of any other.
    pub(crate) fn elapsed(&self, step: &v1::StepStatus) -> String {
        if self.now == 0 {
            return String::new();
        }
        if step.turn_ms > 0 {
            return elapsed(Duration::from_millis(self.now.saturating_sub(step.turn_ms)));
        }
        if !under_way(step) {
            return String::new();
        }
        let took = elapsed(Duration::from_millis(
            self.now.saturating_sub(step.began_ms),
        ));
        match self.steps.get(&step.step) {
            Some(planned) => format!("{took} of {}", human::text(planned.timeout)),
            None => took,
        }
    }

    /// That the agent which carries a step out is not heard, if so.
    pub(crate) fn silent(&self, step: &v1::StepStatus) -> Option<String> {
        let planned = self.steps.get(&step.step)?;
        self.silence.about(step, planned, self.now)
    }

    /// The operation for programs, with its plan, and of each step its limit in milliseconds and what is to say of its
    /// agent.
    pub(crate) fn value(&self, operation: &v1::Operation) -> Value {
        let mut value = operation_value(operation);
        value["plan"] = json!(self.plan.as_ref().map(view::plan_json));
        let steps = value["steps"].as_array_mut().into_iter().flatten();
        for (written, step) in steps.zip(&operation.steps) {
            let limit = self.steps.get(&step.step).map(|it| it.timeout.as_millis());
            written["limit_ms"] = json!(limit.and_then(|millis| u64::try_from(millis).ok()));
            written["agent"] = json!(self.silent(step));
        }
        value
    }
}
