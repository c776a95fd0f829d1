//! What stands beside an operation: its plan, with the limits of its steps, and the agents that carry them out.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::observation::Liveness;
use interlock_model::plan::{SealedPlan, Step};
use interlock_proto::v1;
use serde_json::{Value, json};

use super::{age, elapsed, operation_value};

/// The plan of an operation, and how its agents are, as far as either is known.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Steps of the plan by their names.
    steps: BTreeMap<String, Step>,
    /// Agents that are not heard, and for how many milliseconds; none if they never were.
    silent: BTreeMap<String, (Liveness, Option<u64>)>,
    /// By the coordinator's clock, in milliseconds since 1970; 0 if that is not known.
    now: u64,
}

impl Beside {
    /// Reads the plan out of an operation, and the agents out of a status.
    pub(crate) fn new(operation: &v1::Operation, status: Option<&v1::Status>) -> Self {
        // A plan that cannot be read, of a newer version, costs the limits and nothing else.
        let steps = SealedPlan::open(operation.plan_json.clone().into_bytes())
            .map(|sealed| sealed.plan().steps.clone())
            .unwrap_or_default();
        let mut beside = Self {
            steps: steps
                .into_iter()
                .map(|step| (step.id.to_string(), step))
                .collect(),
            ..Self::default()
        };
        let Some(status) = status else {
            return beside;
        };
        beside.now = status.at_ms;
        for node in &status.nodes {
            let wire = v1::Liveness::try_from(node.liveness).unwrap_or_default();
            let liveness = Liveness::from(wire);
            if liveness != Liveness::Alive {
                let silent = (liveness, node.heard_ms);
                beside.silent.insert(node.node.clone(), silent);
            }
        }
        beside
    }

    /// For how long a step has been under way, and of how long: `1m 05s of 2m`. Empty if it is not.
    pub(crate) fn elapsed(&self, step: &v1::StepStatus) -> String {
        if self.now == 0 || !under_way(step) {
            return String::new();
        }
        let took = elapsed(Duration::from_millis(
            self.now.saturating_sub(step.began_ms),
        ));
        match self.steps.get(&step.step) {
            Some(planned) => format!("{took} of {}", humantime::format_duration(planned.timeout)),
            None => took,
        }
    }

    /// That the agent which carries a step out is not heard, if so. Not of steps that switch a machine: it falls silent
    /// then, as it should.
    pub(crate) fn silent(&self, step: &v1::StepStatus) -> Option<String> {
        let planned = self.steps.get(&step.step).filter(|_| under_way(step))?;
        if !matches!(
            planned.action,
            Action::Start | Action::Stop | Action::Verify
        ) {
            return None;
        }
        let node = planned.node.as_ref()?;
        let (liveness, heard) = self.silent.get(node.as_str())?;
        Some(match heard {
            Some(_) => format!(
                "its agent on {node} is {liveness}, last heard {} ago",
                age(*heard)
            ),
            None => format!("its agent on {node} is {liveness}"),
        })
    }

    /// The operation for programs, with the limit of each step in milliseconds and what is to say of its agent.
    pub(crate) fn value(&self, operation: &v1::Operation) -> Value {
        let mut value = operation_value(operation);
        let steps = value["steps"].as_array_mut().into_iter().flatten();
        for (written, step) in steps.zip(&operation.steps) {
            let limit = self.steps.get(&step.step).map(|it| it.timeout.as_millis());
            written["limit_ms"] = json!(limit.and_then(|millis| u64::try_from(millis).ok()));
            written["agent"] = json!(self.silent(step));
        }
        value
    }
}

fn under_way(step: &v1::StepStatus) -> bool {
    let running = matches!(step.state.as_str(), "running" | "checking" | "undoing");
    running && step.began_ms > 0
}
