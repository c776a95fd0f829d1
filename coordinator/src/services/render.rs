//! Core to wire: what operators are shown.

mod node;

use interlock_engine::coordinator::{Coordinator, Event, Head};
use interlock_engine::operation::{Asked, Entry, LeftDown, Operation};
use interlock_engine::view::View;
use interlock_model::ids::JournalSeq;
use interlock_model::lease::Recovery;
use interlock_model::member::MemberState;
use interlock_model::names::NodeName;
use interlock_model::observation::Active;
use interlock_model::spec::{Service, Spec};
use interlock_model::time::Now;
use interlock_proto::convert::millis;
use interlock_proto::v1;

use crate::driver::Desk;
use crate::leases::Shown;

use node::node;

pub(super) fn summary(head: &Head) -> v1::OperationSummary {
    v1::OperationSummary {
        operation: head.id.to_string(),
        kind: head.kind.to_string(),
        scope: head.scope.clone(),
        state: head.state.to_string(),
        reason: head.reason.clone(),
        started_by: head.by.clone(),
        started_ms: head.started.0,
        ended_ms: head.ended.map_or(0, |ended| ended.0),
        steps: head.steps,
        steps_done: head.settled,
        digest: head.digest.to_string(),
    }
}

/// An operation; what is left down is told without what is heard to be up again, if there is a view.
pub(super) fn operation(operation: &Operation, brief: bool, view: Option<&View>) -> v1::Operation {
    let left = view.map_or_else(
        || operation.left_down(),
        |view| operation.still_left_down(view),
    );
    let plan_json = if brief {
        String::new()
    } else {
        String::from_utf8_lossy(operation.sealed().bytes()).into_owned()
    };
    v1::Operation {
        summary: Some(summary(&Head::of(operation))),
        plan_json,
        steps: operation
            .steps()
            .map(|(step, state)| v1::StepStatus {
                step: step.id.to_string(),
                state: if operation.is_gated(&step.id) {
                    "gated".to_owned()
                } else if operation.awaits_undo(&step.id) {
                    // Done so far, and to be taken back as soon as what it waits for is so.
                    "undoing".to_owned()
                } else {
                    state.phase.to_string()
                },
                attempt: state.attempt.0,
                waits_for: operation.waits_for(&step.id),
                evidence: state.evidence.clone(),
                // Of a step that is tried again or taken back, the attempt: its limit counts from there.
                began_ms: state.intended.or(state.began).map_or(0, |began| began.0),
                ended_ms: state.ended.map_or(0, |ended| ended.0),
                reached: state.reached.keys().map(ToString::to_string).collect(),
                turn_ms: operation.turn_since(&step.id).map_or(0, |since| since.0),
                awaits_next: operation.is_offered(&step.id),
            })
            .collect(),
        possible: operation
            .possible()
            .iter()
            .map(ToString::to_string)
            .collect(),
        attention: operation.attention().to_owned(),
        single_step: operation.is_single_step(),
        bring_back: operation.bring_back(&left).unwrap_or_default(),
        left_down: left.iter().map(left_down).collect(),
        asked: operation.asked().iter().map(asked).collect(),
        store_trouble: String::new(),
        end_waits_for: operation.end_waits_for().to_owned(),
    }
}

fn asked(asked: &Asked) -> v1::Asked {
    v1::Asked {
        at_ms: asked.at.0,
        by: asked.by.clone(),
        verb: asked.verb.to_string(),
        step: asked
            .step
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        reason: asked.reason.clone(),
    }
}

fn left_down(left: &LeftDown) -> v1::LeftDown {
    v1::LeftDown {
        node: left.node.to_string(),
        service: left
            .service
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        way: left.way.to_string(),
        perhaps: left.perhaps,
    }
}

pub(super) fn entry(sequence: JournalSeq, entry: &Entry) -> v1::JournalEntry {
    v1::JournalEntry {
        sequence: sequence.0,
        at_ms: entry.at.0,
        step: entry
            .what
            .step()
            .map(ToString::to_string)
            .unwrap_or_default(),
        what: entry.what.word().to_owned(),
        detail: entry.what.detail(),
        json: serde_json::to_string(entry).unwrap_or_default(),
    }
}

pub(super) fn event(event: Event) -> v1::Event {
    v1::Event {
        revision: event.sequence,
        at_ms: event.at.0,
        kind: event.kind,
        node: event.node,
        service: event.service,
        operation: event.operation,
        who: event.who,
        text: event.text,
        happened_ms: event.act.map_or(0, |act| act.begun.0),
    }
}

pub(super) fn status(desk: &Desk, now: Now) -> v1::Status {
    let coordinator = &desk.coordinator;
    let spec = coordinator.applied().map(|applied| &applied.spec);
    let observations = coordinator.observations(now);
    let removed: Vec<NodeName> = coordinator.removed_nodes().cloned().collect();
    let removed = spec.map(|spec| coordinator.view().snapshot_of(spec, &removed, now));
    let removed = removed.unwrap_or_default();
    let mut causes: Vec<v1::RootCause> = coordinator
        .causes(now)
        .into_iter()
        .map(|cause| v1::RootCause {
            subject: cause.subject,
            what: cause.what,
            dependants: cause.dependants.iter().map(ToString::to_string).collect(),
        })
        .collect();
    if let Some(trouble) = coordinator.spec_trouble() {
        causes.insert(
            0,
            v1::RootCause {
                subject: "spec".to_owned(),
                what: trouble.to_string(),
                dependants: Vec::new(),
            },
        );
    }
    if let Some(trouble) = desk.trouble() {
        causes.insert(
            0,
            v1::RootCause {
                subject: "store".to_owned(),
                what: trouble,
                dependants: Vec::new(),
            },
        );
    }
    v1::Status {
        cluster: spec
            .map(|spec| spec.cluster.to_string())
            .unwrap_or_default(),
        generation: coordinator.generation().0,
        coordinator: desk.name.clone(),
        term: coordinator.term().0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms: now.wall.0,
        nodes: observations
            .nodes
            .iter()
            .chain(&removed.nodes)
            .map(|(name, seen)| node(desk, name, seen, now))
            .collect(),
        services: services(desk, now),
        causes,
        operations: coordinator
            .operations()
            .map(|operation| summary(&Head::of(operation)))
            .collect(),
        maintenance: super::maintenance::all(coordinator),
        blocks: super::blocks::all(coordinator),
    }
}

/// How each instance of a service is in each of its load balancers. Of one that is not heard nothing is known.
fn memberships(
    coordinator: &Coordinator,
    spec: &Spec,
    service: &Service,
) -> Vec<v1::MembershipStatus> {
    let mut all = Vec::new();
    for node in &service.nodes {
        for balancer in service
            .member_of
            .keys()
            .filter_map(|it| spec.services.get(it))
        {
            for on in &balancer.nodes {
                let view = coordinator.view();
                let told = view.node(on).filter(|_| view.alive(on));
                let told = told.and_then(|seen| seen.instances.get(&balancer.name));
                let seen = told.and_then(|seen| seen.member(&service.name, node));
                let detail = seen.map_or("it was not seen there", |seen| seen.detail.as_str());
                let state = seen.map_or(MemberState::Unknown, |seen| seen.state);
                all.push(v1::MembershipStatus {
                    node: node.to_string(),
                    balancer: balancer.name.to_string(),
                    on: on.to_string(),
                    state: v1::MemberState::from(state).into(),
                    detail: detail.to_owned(),
                });
            }
        }
    }
    all
}

fn services(desk: &Desk, now: Now) -> Vec<v1::ServiceStatus> {
    let coordinator = &desk.coordinator;
    let Some(applied) = coordinator.applied() else {
        return Vec::new();
    };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    coordinator
        .services(now)
        .into_iter()
        .filter_map(|status| {
            let service = applied.spec.services.get(&status.service)?;
            let (active, active_unknown) = match &status.active {
                Some(Active::On(node)) => (node.to_string(), String::new()),
                Some(Active::Nowhere) => {
                    (String::new(), "nowhere: every instance is down".to_owned())
                }
                Some(Active::Unknown(why)) => (String::new(), why.clone()),
                None => (String::new(), String::new()),
            };
            Some(v1::ServiceStatus {
                service: status.service.to_string(),
                exclusive: service.is_exclusive(),
                external: service.external,
                active,
                active_unknown,
                remembered_active: coordinator
                    .activity()
                    .get(&status.service)
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                running: count(status.running),
                healthy: count(status.healthy),
                instances: count(service.nodes.len()),
                at_least: service.at_least,
                state: status.health.to_string(),
                reason: status.reason,
                requires: service
                    .dependencies
                    .iter()
                    .filter(|(_, edge)| edge.needed)
                    .map(|(name, _)| name.to_string())
                    .collect(),
                held_by: coordinator
                    .holder(None, Some(&status.service))
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
                members: memberships(coordinator, &applied.spec, service),
                lease: desk
                    .leases
                    .of(&status.service)
                    .map(|shown| lease(shown, applied.spec.recovery(service))),
            })
        })
        .collect()
}

fn lease(shown: Shown, recovery: Option<Recovery>) -> v1::LeaseStatus {
    v1::LeaseStatus {
        epoch: shown.epoch.0,
        holder: shown
            .holder
            .map(|node| node.to_string())
            .unwrap_or_default(),
        held: shown.is_held,
        since_ms: shown.since.map_or(0, |since| since.0),
        automatic: shown.automatic,
        reason: shown.reason,
        recovery: recovery.map(|recovery| v1::Recovery {
            typical_ms: millis(recovery.typical),
            worst_ms: millis(recovery.worst),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use interlock_engine::coordinator::Strays;
    use interlock_engine::operation::{Ctx, State, Verb, What};
    use interlock_engine::view::View;
    use interlock_model::action::Action;
    use interlock_model::ids::{AttemptNo, Generation, OperationId, Term};
    use interlock_model::plan::{Plan, PlanKind, SealedPlan, Step, StepId};
    use interlock_model::spec::{Role, Spec};
    use interlock_model::time::Timestamp;

    use super::*;

    /// A plan of one step, which waits for a person.
    fn approval() -> SealedPlan {
        let step = Step {
            id: StepId::new("approve:look"),
            action: Action::Approve {
                gate: "look".parse().unwrap(),
                text: "Look at it".into(),
                role: Role::Operator,
            },
            node: None,
            service: None,
            after: Vec::new(),
            gates: Vec::new(),
            healthy: Vec::new(),
            timeout: Duration::from_secs(60),
            undo: None,
        };
        let plan = Plan {
            cluster: "bench".parse().unwrap(),
            generation: Generation(1),
            kind: PlanKind::Startup,
            scope: "--all".into(),
            assumptions: Default::default(),
            accepted: Default::default(),
            forced: Vec::new(),
            keeps: std::collections::BTreeSet::new(),
            texts: std::collections::BTreeMap::new(),
            steps: vec![step],
        };
        SealedPlan::seal(plan).unwrap()
    }

    #[test]
    fn a_gated_step_of_an_aborted_operation_is_shown_like_any_other_that_never_ran() {
        let text =
            "cluster: bench\ncontrol: { coordinators: [m] }\nnodes:\n  m: { address: 10.0.0.1 }\n";
        let spec = Spec::parse(text.as_bytes(), "bench.yaml").unwrap().spec;
        let now = Now {
            mono: Duration::from_secs(1),
            wall: Timestamp(1),
        };
        let (view, mut effects) = (View::default(), Vec::new());
        let verified = std::collections::BTreeMap::new();
        let mut ctx = Ctx {
            verified: &verified,
            strays: &Strays::default(),
            now,
            term: Term(1),
            spec: &spec,
            view: &view,
            effects: &mut effects,
        };
        let sealed = Arc::new(approval());
        let mut running =
            Operation::start(OperationId(1), sealed, "anna", "because", false, now).unwrap();
        running.advance(&mut ctx);
        let shown = operation(&running, true, None);
        assert_eq!(shown.steps[0].state, "gated");
        assert_eq!(shown.steps[0].turn_ms, 1, "its turn since the beginning");
        assert!(shown.steps[0].waits_for.contains("Look at it"));

        running
            .control(Verb::Abort, None, "anna", Role::Operator, "", &mut ctx)
            .unwrap();
        assert_eq!(running.state(), State::Aborted);
        let shown = operation(&running, true, None);
        assert_eq!(shown.steps[0].state, "waiting");
        assert_eq!(shown.steps[0].turn_ms, 0);
        assert_eq!(shown.steps[0].waits_for, "");
    }

    #[test]
    fn the_time_of_a_step_is_that_of_its_last_attempt() {
        let step = || StepId::new("approve:look");
        let intent = |attempt, undo| What::Intent {
            step: step(),
            attempt: AttemptNo(attempt),
            on: Some("m".parse().unwrap()),
            command: "start".into(),
            term: Term(1),
            boot: None,
            undo,
        };
        let proven = || What::Proven {
            step: step(),
            evidence: "seen".into(),
        };
        let started = What::Started {
            by: "anna".into(),
            reason: String::new(),
            single_step: false,
        };
        let failed = What::Failed {
            step: step(),
            unknown: false,
            refused: false,
            evidence: "exit code 3".into(),
        };
        let retried = What::Retried {
            step: step(),
            by: "anna".into(),
            reason: String::new(),
        };
        let mut entries = vec![
            (1_000, started),
            (1_000, intent(1, false)),
            (5_000, failed),
            (60_000, retried),
            (61_000, intent(2, false)),
        ];
        let shown = |entries: &[(u64, What)]| {
            let entries = entries.iter().map(|(at, what)| Entry {
                at: Timestamp(*at),
                what: what.clone(),
            });
            let replayed = Operation::replay(OperationId(1), Arc::new(approval()), entries);
            let step = operation(&replayed.unwrap(), true, None).steps.remove(0);
            (step.began_ms, step.ended_ms)
        };
        assert_eq!(shown(&entries), (61_000, 0));
        entries.push((64_000, proven()));
        assert_eq!(shown(&entries), (61_000, 64_000));
        // It is taken back much later, which takes two seconds.
        entries.push((90_000, intent(3, true)));
        entries.push((92_000, proven()));
        assert_eq!(shown(&entries), (90_000, 92_000));
    }
}
