//! Agents that are not heard, and the steps that wait for them.

use std::collections::BTreeMap;

use interlock_model::action::Action;
use interlock_model::observation::Liveness;
use interlock_model::plan::Step;
use interlock_proto::v1;

use super::age;

/// The agents that are not heard, as a coordinator last told.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// How each is, and when it was last heard by the coordinator's clock, in milliseconds since 1970; none if never.
    agents: BTreeMap<String, (Liveness, Option<u64>)>,
}

impl Silence {
    /// Reads them out of a status.
    pub(crate) fn of(status: &v1::Status) -> Self {
        let silent = |node: &v1::NodeStatus| {
            let wire = v1::Liveness::try_from(node.liveness).unwrap_or_default();
            let liveness = Liveness::from(wire);
            let heard = node.heard_ms.map(|age| status.at_ms.saturating_sub(age));
            (liveness != Liveness::Alive).then(|| (node.node.clone(), (liveness, heard)))
        };
        Self {
            agents: status.nodes.iter().filter_map(silent).collect(),
        }
    }

    /// That the agent which carries a step out is not heard, if so, and for how long by `now` of the coordinator's clock.
    /// Not of steps that switch a machine: it falls silent then, as it should.
    pub(crate) fn about(&self, step: &v1::StepStatus, planned: &Step, now: u64) -> Option<String> {
        let acts = matches!(
            planned.action,
            Action::Start
                | Action::Stop
                | Action::Verify
                | Action::Drain { .. }
                | Action::Admit { .. }
                | Action::TryFile { .. }
                | Action::WriteFile { .. }
        );
        if !acts || !under_way(step) {
            return None;
        }
        let node = planned.node.as_ref()?;
        let (liveness, heard) = self.agents.get(node.as_str())?;
        Some(match heard {
            Some(heard) => format!(
                "its agent on {node} is {liveness}, last heard {} ago",
                age(Some(now.saturating_sub(*heard)))
            ),
            None => format!("its agent on {node} is {liveness}"),
        })
    }
}

/// Has a step begun, and is it not over?
pub(crate) fn under_way(step: &v1::StepStatus) -> bool {
    let running = matches!(step.state.as_str(), "running" | "checking" | "undoing");
    running && step.began_ms > 0
}
