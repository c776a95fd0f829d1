//! Restore: a VM host is taken into service again.
//!
//! ```text
//! power-on ──► start:db@db1 ──up──► catch-up:db@db1 ──► admit:db@db1:lb@lb1
//!                                        └──► promote:db@db1 ──► verify-role:db@db1      (only with --failback)
//! ```
//!
//! A startup of the host's machines and of what is on them. The standbys of leased services follow their primary, and a load
//! balancer gets none of them before it has what the primary has. Roles stay where they are. Asked for, each goes back to the
//! first node of its service in the spec if that is on this host, one after the other, when everything else is through.

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{PlanKind, Wait};

use crate::draft::Draft;
use crate::evacuate;
use crate::graph::Handle;
use crate::members;
use crate::report::{PreVerdict, Subject};
use crate::select::Selection;
use crate::startup;
use crate::steps;
use crate::world::Presence;

pub(crate) fn build(draft: &mut Draft<'_>, selection: &Selection) {
    if !evacuate::is_about_a_host(draft) {
        return;
    }
    startup::build(draft, selection);
    members::readmit(draft, selection);
    for start in 0..draft.graph.len() {
        catch_up(draft, start);
    }
    if draft.request.failback {
        fail_back(draft, selection);
    }
}

/// A standby that is started has something to catch up with.
fn catch_up(draft: &mut Draft<'_>, start: Handle) -> Option<Handle> {
    let step = draft.graph.step(start);
    if !matches!(step.action, Action::Start | Action::Verify) {
        return None;
    }
    let (name, node) = (step.service.clone()?, step.node.clone()?);
    let service = draft.service(&name).filter(|it| it.is_leased())?;
    if draft
        .active_side(service)
        .is_none_or(|active| active == node)
    {
        return None;
    }
    let step = draft
        .graph
        .add_beside(steps::catch_up(service, &node), start);
    draft.graph.after(step, start, Wait::Up);
    Some(step)
}

/// Moves the roles back that belong on this host, when all else is done.
fn fail_back(draft: &mut Draft<'_>, selection: &Selection) {
    let before = draft.graph.unawaited();
    let mut last: Option<Handle> = None;
    let mut first = None;
    for service in draft.by_rank(selection.instances.keys()).into_iter().rev() {
        let Some(to) = service.nodes.first().filter(|_| service.is_leased()) else {
            continue;
        };
        if !selection.nodes.contains(to) {
            continue;
        }
        let subject = Subject::service(&service.name);
        match draft.active_side(service) {
            Some(active) if active == *to => {
                let text = format!("its role is on {to} already, or goes there");
                draft.pre_check(subject, "primary", PreVerdict::Pass, text);
                continue;
            }
            Some(active) => {
                let text = format!("it is {active}");
                draft.pre_check(subject, "primary", PreVerdict::Pass, text);
            }
            None => continue,
        }
        let ready = match of(draft, &service.name, to, |it| *it == Action::CatchUp) {
            Some(ready) => ready,
            // It runs already.
            None if draft.world.instance(&service.name, to) == Presence::Up => {
                draft.graph.add(steps::catch_up(service, to))
            }
            None => continue,
        };
        let made = draft.move_role(service, to);
        first.get_or_insert(made.promote);
        draft.graph.after(made.promote, ready, Wait::Healthy);
        match last {
            Some(last) => draft.graph.after(made.promote, last, Wait::Healthy),
            None => before
                .iter()
                .for_each(|(step, end)| draft.graph.after(made.promote, *step, *end)),
        }
        last = Some(made.verify);
    }
    if let Some(first) = first {
        draft.tell_no_return(first);
    }
}

fn of(
    draft: &Draft<'_>,
    service: &ServiceName,
    node: &NodeName,
    is_it: impl Fn(&Action) -> bool,
) -> Option<Handle> {
    (0..draft.graph.len()).find(|step| {
        let step = draft.graph.step(*step);
        step.service.as_ref() == Some(service)
            && step.node.as_ref() == Some(node)
            && is_it(&step.action)
    })
}

/// Of a restore: no load balancer is given a standby that has not caught up, and no role goes back before all are admitted.
pub(crate) fn hold_back(draft: &mut Draft<'_>) {
    if draft.request.kind != PlanKind::Restore {
        return;
    }
    let steps = 0..draft.graph.len();
    let promotes: Vec<Handle> = steps
        .clone()
        .filter(|step| {
            let step = draft.graph.step(*step);
            let (Some(service), Some(node)) = (&step.service, &step.node) else {
                return false;
            };
            let assumed = draft.assumptions.get(service);
            step.action == Action::Promote && assumed.is_some_and(|it| it.active != *node)
        })
        .collect();
    for admit in steps {
        let Action::Admit { member } = &draft.graph.step(admit).action else {
            continue;
        };
        let ready = of(draft, &member.service, &member.node, |it| {
            *it == Action::CatchUp
        });
        if let Some(ready) = ready {
            draft.graph.after(admit, ready, Wait::Healthy);
        }
        for promote in &promotes {
            draft.graph.after(*promote, admit, Wait::Up);
        }
    }
}
