//! Whether those who run on under a restart or a reboot reach again what was restarted.
//!
//! A start waits for what it requires to be reached from its node. A restart and a reboot leave the dependants running, so
//! nothing of the plan asks from where they are; and the service's own checks are green on a machine whose firewall came
//! up with it. So at the end the checks `from: consumers` of what was started are asked on each node where a dependant
//! runs, and what counts was probed since. A dependant needs its time to connect anew: what is not green is waited for,
//! as long as an end waits for a word, and then needs attention.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind, Verdict};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Gate, PlanKind};

use super::gates::Readiness;
use super::{Ctx, Operation, Phase};

impl Operation {
    /// Is what was restarted reached by those who run and require it?
    pub(super) fn is_reached(&self, ctx: &Ctx<'_>) -> Readiness {
        let asked = self.asked_of_dependants(ctx).into_iter();
        let mut closed = asked.filter_map(|(gate, since)| {
            let seen = ctx
                .view
                .check_since(ctx.spec, &gate.on, &gate.check, ctx.now, since);
            (seen.verdict != Verdict::Ok).then(|| {
                let (check, on) = (&gate.check, &gate.on);
                format!("{check} on {on} is {}: {}", seen.verdict, seen.evidence)
            })
        });
        let Some(first) = closed.next() else {
            return Readiness::Yes;
        };
        let more = match closed.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Readiness::NotYet(format!(
            "{first}{more}, after {} was restarted",
            self.plan().scope
        ))
    }

    /// The checks, each with the moment since when it counts: the last start of its service.
    pub(super) fn asked_of_dependants(&self, ctx: &Ctx<'_>) -> Vec<(Gate, Duration)> {
        if !matches!(self.plan().kind, PlanKind::Restart | PlanKind::Reboot) {
            return Vec::new();
        }
        let mut started: BTreeMap<&ServiceName, Duration> = BTreeMap::new();
        for (at, (step, state)) in self.steps().enumerate() {
            let starts = matches!(step.action, Action::Start | Action::Verify);
            if let (true, Phase::Done, Some(service)) = (starts, state.phase, &step.service) {
                // Who has taken the operation over does not know when: what was seen before now is no word of it.
                let ending = self.ending.as_ref().map(|ending| ending.since);
                let proven = self.live[at].proven.or(ending).unwrap_or(ctx.now.mono);
                let last = started.entry(service).or_default();
                *last = proven.max(*last);
            }
        }
        let mut asked = Vec::new();
        for (name, since) in started {
            let Some(service) = ctx.spec.services.get(name) else {
                continue;
            };
            let checks = service.checks.iter().filter(|(_, check)| {
                check.from == CheckFrom::Consumers && !matches!(check.kind, CheckKind::Same { .. })
            });
            let ids = checks.map(|(check, _)| CheckId {
                service: name.clone(),
                check: check.clone(),
            });
            for check in ids.filter(|id| !self.plan().forced.contains(id)) {
                let places = dependants(name, ctx).into_iter();
                asked.extend(places.map(|on| {
                    let check = check.clone();
                    (Gate { check, on }, since)
                }));
            }
        }
        asked
    }
}

/// The nodes where something is seen running that requires a service.
fn dependants(name: &ServiceName, ctx: &Ctx<'_>) -> Vec<NodeName> {
    let services = ctx.spec.services.values();
    let dependants = services.filter(|other| {
        let edge = other.dependencies.get(name);
        edge.is_some_and(|edge| edge.needed)
    });
    let runs = dependants.flat_map(|other| {
        let nodes = other.nodes.iter();
        nodes.filter(|node| {
            ctx.view.alive(node)
                && ctx.view.state(ctx.spec, node, &other.name) == InstanceState::Running
        })
    });
    let mut on: Vec<NodeName> = runs.cloned().collect();
    on.sort_unstable();
    on.dedup();
    on
}
