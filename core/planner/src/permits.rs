//! What agents' own files refuse.
//!
//! An agent does only what its own file permits, and says what it would refuse. A plan that needs it is not made: it would
//! be refused in the middle, with half of the cluster down. An agent that has not said anything, because it is off or older
//! than this, is in nobody's way; it refuses the step then. A plan that is made offline says that nobody was asked.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::{Action, PowerRef, ShutdownBy};
use interlock_model::check::CheckId;
use interlock_model::names::NodeName;
use interlock_model::permission::Permission;
use interlock_model::plan::Step;

use crate::draft::Draft;
use crate::report::{Entry, Subject};

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
    checks(draft);
    if draft.world.is_offline() && (0..draft.graph.len()).any(|it| asks(draft.graph.step(it))) {
        draft.report.add(Entry::Assumed {
            subject: Subject::cluster(),
            what: "offline: no agent was asked what its own file permits; a step that one does not permit is refused when it \
                   comes"
                .into(),
        });
    }
    for ((subject, agent, why), words) in refused {
        let words: Vec<&str> = words.into_iter().collect();
        let by = format!(
            "the agent of {agent} would refuse {}: {why}",
            words.join(" and ")
        );
        draft.report.blocked(subject, by, remedy(&agent));
    }
}

/// Is it a step that the file of an agent has to permit?
fn asks(step: &Step) -> bool {
    !step.action.only_looks() && !matches!(step.action, Action::Approve { .. })
}

/// Blocks the plan for every agent that would not run a check that a step waits for: it would stay unknown.
fn checks(draft: &mut Draft<'_>) {
    let mut refused: BTreeMap<(NodeName, CheckId), (Subject, String)> = BTreeMap::new();
    for handle in 0..draft.graph.len() {
        let step = draft.graph.step(handle);
        for gate in step.gates.iter().chain(&step.healthy) {
            let permission = Permission::Check(gate.check.clone());
            if let Some(why) = draft.world.refusal(&gate.on, &permission) {
                let subject = Subject {
                    service: step.service.clone(),
                    node: step.node.clone(),
                };
                let asked = (gate.on.clone(), gate.check.clone());
                refused.entry(asked).or_insert((subject, why));
            }
        }
    }
    for ((agent, check), (subject, why)) in refused {
        // It is unknown already, for that reason: one fact is one cause.
        if draft
            .report
            .refusals()
            .any(|entry| entry.force() == Some(&check))
        {
            continue;
        }
        draft.report.add(Entry::Blocked {
            subject,
            by: format!("the agent of {agent} would not run its check {check}: {why}"),
            remedy: remedy(&agent),
            force: Some(check),
        });
    }
}

pub(crate) fn remedy(agent: &NodeName) -> String {
    format!(
        "change that line in the agent's file and restart the agent; `interlockctl spec agent-config {agent}` renders \
         all that the spec needs"
    )
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
