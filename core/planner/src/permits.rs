//! What agents' own files refuse.
//!
//! An agent does only what its own file permits, and says what it would refuse. A plan that needs it is not made: it would
//! be refused in the middle, with half of the cluster down. An agent that has not said anything, because it is off or older
//! than this, is in nobody's way; it refuses the step then.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::{Action, PowerRef, ShutdownBy};
use interlock_model::names::NodeName;
use interlock_model::permission::Permission;
use interlock_model::plan::Step;

use crate::draft::Draft;
use crate::report::Subject;

/// What is refused of whom, why, and what for.
type Refused = BTreeMap<(Subject, NodeName, String), BTreeSet<&'static str>>;

/// Blocks the plan for every agent that would refuse a step of it.
pub(crate) fn check(draft: &mut Draft<'_>) {
    let mut refused = Refused::new();
    for handle in 0..draft.graph.len() {
        let step = draft.graph.step(handle);
        for (agent, why) in refusals(draft, step) {
            let subject = Subject {
                service: step.service.clone(),
                node: step.node.clone(),
            };
            let words = refused.entry((subject, agent, why)).or_default();
            words.insert(step.action.word());
        }
    }
    for ((subject, agent, why), words) in refused {
        let words: Vec<&str> = words.into_iter().collect();
        let by = format!(
            "the agent of {agent} would refuse {}: {why}",
            words.join(" and ")
        );
        let remedy = format!(
            "change that line in the agent's file and restart the agent; `interlockctl spec agent-config {agent}` renders \
             all that the spec needs"
        );
        draft.report.blocked(subject, by, remedy);
    }
}

/// Which agents would refuse a step, and why.
fn refusals(draft: &Draft<'_>, step: &Step) -> Vec<(NodeName, String)> {
    let Some(node) = &step.node else {
        return Vec::new();
    };
    let own = |permission: Permission| {
        let why = draft.world.refusal(node, &permission);
        why.map(|why| (node.clone(), why)).into_iter().collect()
    };
    match (&step.action, &step.service) {
        (Action::Start | Action::Stop | Action::Verify, Some(service)) => {
            own(Permission::Operate(service.clone()))
        }
        (Action::Drain { member, .. } | Action::Admit { member }, Some(balancer)) => {
            own(Permission::Member {
                balancer: balancer.clone(),
                service: member.service.clone(),
                node: member.node.clone(),
            })
        }
        (Action::TryFile { file, .. } | Action::WriteFile { file, .. }, Some(service)) => {
            own(Permission::File {
                service: service.clone(),
                file: file.clone(),
            })
        }
        (Action::Reboot, _) => own(Permission::Reboot),
        (Action::PowerOff { power }, _) => {
            let mut all = fence(draft, power);
            if power.shutdown != ShutdownBy::Manual {
                all.extend::<Vec<_>>(own(Permission::Shutdown));
            }
            all
        }
        (Action::PowerOn { power }, _) => fence(draft, power),
        _ => Vec::new(),
    }
}

/// The agents through which a device is reached, if each one that is heard would refuse that.
fn fence(draft: &Draft<'_>, power: &PowerRef) -> Vec<(NodeName, String)> {
    let Some(device) = draft.spec.power.get(&power.device) else {
        return Vec::new();
    };
    let permission = Permission::Fence(device.fence.clone());
    let heard = power
        .via
        .iter()
        .filter(|via| draft.world.agent_is_heard(via));
    heard
        .map(|via| Some((via.clone(), draft.world.refusal(via, &permission)?)))
        .collect::<Option<_>>()
        .unwrap_or_default()
}
