//! From graph to sealed plan: the gates at the end, the final order, the numbers, the independent check.

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::lease::Recovery;
use interlock_model::plan::{Plan, PlanKind, SealedPlan, Step};

use crate::Outcome;
use crate::at_end;
use crate::checker;
use crate::draft::Draft;
use crate::graph::{Graph, Handle};
use crate::permits;
use crate::report::{Entry, Report, Subject};
use crate::steps;

pub(crate) fn finish(mut draft: Draft<'_>) -> Outcome {
    permits::check(&mut draft);
    if draft.report.refuses() {
        return refused(draft.report);
    }
    add_gates(&mut draft);
    let order = match draft.graph.topological() {
        Ok(order) => order,
        Err(circle) => {
            let ids: Vec<String> = circle
                .iter()
                .take(8)
                .map(|step| draft.graph.step(*step).id.to_string())
                .collect();
            draft.report.blocked(
                Subject::cluster(),
                format!("the machines carry services so that no order is possible: {}", ids.join(", ")),
                "a node without an agent goes down as a whole: move one of its services, or give it an agent",
            );
            return refused(draft.report);
        }
    };
    if draft.request.serial {
        for pair in order.windows(2) {
            let end = draft.graph.end(pair[0]);
            draft.graph.after(pair[1], pair[0], end);
        }
    }
    if draft.request.batch.is_some() && !draft.graph_is_rolling() {
        draft.report.warn(
            Subject::cluster(),
            "a batch size is for restart and reboot; it changes nothing here",
        );
    }
    for check in &draft.request.force {
        draft.report.warn(
            Subject::service(&check.service),
            format!("{check} is overridden: whatever it says stands against nothing here"),
        );
    }
    at_end::tell(&mut draft, &order);
    if !order.is_empty() {
        let limits = limits(&draft.graph, &order);
        draft.report.add(limits);
    }
    let steps = std::mem::take(&mut draft.graph).into_steps(&order);
    recoveries(&mut draft, &steps);
    let plan = Plan {
        cluster: draft.spec.cluster.clone(),
        generation: draft.input.generation,
        kind: draft.request.kind,
        scope: draft.request.scope.to_string(),
        assumptions: std::mem::take(&mut draft.assumptions),
        accepted: std::mem::take(&mut draft.accepted),
        forced: draft.request.force.iter().cloned().collect(),
        keeps: std::mem::take(&mut draft.keeps),
        texts: std::mem::take(&mut draft.texts),
        steps,
    };
    for violation in checker::check(draft.spec, &plan, draft.input.observations) {
        draft.report.add(Entry::Internal { violation });
    }
    if draft.report.refuses() {
        return refused(draft.report);
    }
    match SealedPlan::seal(plan) {
        Ok(plan) => Outcome {
            plan: Some(plan),
            report: draft.report.without_repetition(),
        },
        Err(error) => {
            draft
                .report
                .blocked(Subject::cluster(), error.to_string(), "please report it");
            refused(draft.report)
        }
    }
}

fn refused(report: Report) -> Outcome {
    Outcome {
        plan: None,
        report: report.without_repetition(),
    }
}

impl Draft<'_> {
    fn graph_is_rolling(&self) -> bool {
        matches!(self.request.kind, PlanKind::Restart | PlanKind::Reboot)
    }
}

/// The gates that people open at the end of such a plan: after everything else is through, and not only begun.
fn add_gates(draft: &mut Draft<'_>) {
    let ends = draft.graph.unawaited();
    if ends.is_empty() {
        return;
    }
    for (name, gate) in &draft.spec.gates {
        if gate.at_end_of.contains(&draft.request.kind) {
            let approve = draft.graph.add(steps::gate(name, gate));
            for (step, end) in &ends {
                draft.graph.after(approve, *step, *end);
            }
        }
    }
}

/// How long each leased service of the plan would have no primary if the machine of that one was lost.
fn recoveries(draft: &mut Draft<'_>, steps: &[Step]) {
    for service in draft.spec.services.values() {
        let touched = steps
            .iter()
            .any(|step| step.service.as_ref() == Some(&service.name));
        let recovery = draft.spec.recovery(service).filter(|_| touched);
        if let Some(Recovery { typical, worst }) = recovery {
            draft.report.add(Entry::Recovery {
                service: service.name.clone(),
                typical,
                worst,
            });
        }
    }
}

/// The plan in numbers, from the graph in its final order.
fn limits(graph: &Graph, order: &[Handle]) -> Entry {
    let mut reached = vec![(0_u32, Duration::ZERO); graph.len()];
    let mut people = Vec::new();
    for handle in order {
        let before = graph.edges(*handle).keys().map(|on| reached[*on]);
        let (stage, time) = before.fold((0, Duration::ZERO), |(stage, time), other| {
            (stage.max(other.0), time.max(other.1))
        });
        let step = graph.step(*handle);
        reached[*handle] = (stage + 1, time.saturating_add(longest(step)));
        if matches!(step.action, Action::Approve { .. }) {
            people.push(step.id.clone());
        }
    }
    Entry::Limits {
        steps: order.len(),
        stages: reached.iter().map(|(stage, _)| *stage).max().unwrap_or(0),
        at_most: reached
            .iter()
            .map(|(_, time)| *time)
            .max()
            .unwrap_or_default(),
        people,
    }
}

/// The longest that a step can take: its limit, and once more for its checks. A person's time is not counted.
fn longest(step: &Step) -> Duration {
    match step.action {
        Action::Approve { .. } => Duration::ZERO,
        _ if step.action.only_looks() => step.timeout,
        _ if step.healthy.is_empty() => step.timeout,
        _ => step.timeout.saturating_mul(2),
    }
}
