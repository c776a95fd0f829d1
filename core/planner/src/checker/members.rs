//! Members of load balancers: told before the stop and after the start, wherever the balancer runs by then.
//!
//! A startup may admit what it does not start. A plan does not say what is in its scope, so that cannot be missed here, but
//! it must be out of a balancer that runs, or in one that starts, and healthy by then. A plan may leave out who is known to be
//! down and stays so, in a balancer that it starts.

use std::collections::BTreeSet;

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind};
use interlock_model::member::{Member, MemberState};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceState, Observations, Wanted};
use interlock_model::plan::{Plan, Step, StepId, Wait};
use interlock_model::spec::{Service, Spec};

use super::Violation;
use super::paths::Paths;

/// How the spec has this member drained and admitted; none if it is no member, or told otherwise.
pub(super) fn declared(
    spec: &Spec,
    balancer: &Service,
    member: &Member,
) -> Option<(Action, Action)> {
    let service = spec.services.get(&member.service)?;
    let node = spec.nodes.get(&member.node)?;
    let how = service.member_of.get(&balancer.name)?;
    let as_declared = service.nodes.contains(&member.node)
        && Some(&member.by) == balancer.balancer.as_ref()
        && member.backends == how.backends
        && member.server == how.server_on(node);
    let drain = Action::Drain {
        member: member.clone(),
        within: how.drain,
        then: how.then,
    };
    let admit = Action::Admit {
        member: member.clone(),
    };
    as_declared.then_some((drain, admit))
}

/// What takes an admission back: the drain of that member.
pub(super) fn opposite(spec: &Spec, step: &Step) -> Option<Action> {
    let balancer = spec.services.get(step.service.as_ref()?)?;
    declared(spec, balancer, step.action.member()?).map(|(drain, _)| drain)
}

/// A balancer on one of its nodes, and when the plan has it running there.
struct Place {
    up: bool,
    stop: Option<usize>,
    start: Option<usize>,
}

impl Place {
    fn new<'a>(
        plan: &Plan,
        paths: &Paths<'a>,
        balancer: &'a Service,
        on: &'a NodeName,
        observations: Option<&Observations>,
    ) -> Self {
        let starting = plan.kind.comes_up();
        let up = match observations.map(|seen| seen.instance(on, &balancer.name)) {
            None => !starting,
            Some(InstanceState::Stopping) => !starting,
            Some(InstanceState::Starting | InstanceState::Running | InstanceState::Paused) => true,
            Some(InstanceState::Stopped | InstanceState::Failed | InstanceState::Unknown) => false,
        };
        Self {
            up,
            stop: paths.stop(&balancer.name, on, false),
            start: begins(paths, balancer, on),
        }
    }

    /// Does it run while an instance is away, which stops and starts by these steps?
    fn runs_during(&self, paths: &Paths<'_>, first: Option<usize>, last: Option<usize>) -> bool {
        let leads = |from: Option<usize>, to: Option<usize>| {
            from.zip(to)
                .is_some_and(|(from, to)| paths.leads_to(from, to))
        };
        match (self.stop, self.start) {
            (None, None) => self.up,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (stop, start) => leads(start, first.or(last)) || self.up && leads(last.or(first), stop),
        }
    }
}

/// The step that starts an instance; not one that only waits for its health.
fn begins<'a>(paths: &Paths<'a>, service: &'a Service, node: &'a NodeName) -> Option<usize> {
    paths
        .start(&service.name, node)
        .filter(|step| paths.steps[*step].action != Action::Check)
}

pub(super) fn check(
    spec: &Spec,
    plan: &Plan,
    paths: &Paths<'_>,
    observations: Option<&Observations>,
    found: &mut Vec<Violation>,
) {
    let mut expected: BTreeSet<StepId> = BTreeSet::new();
    for service in spec.services.values() {
        for balancer in service
            .member_of
            .keys()
            .filter_map(|name| spec.services.get(name))
        {
            for on in &balancer.nodes {
                let place = Place::new(plan, paths, balancer, on, observations);
                let begins_turn = |node| {
                    let drain = format!("drain:{}@{node}:{}@{on}", service.name, balancer.name);
                    let stop = paths.stop(&service.name, node, false)?;
                    paths.id(&drain).or(Some(stop))
                };
                let others: Vec<usize> = service.nodes.iter().filter_map(begins_turn).collect();
                for node in &service.nodes {
                    let id = |word: &str| {
                        format!("{word}:{}@{node}:{}@{on}", service.name, balancer.name)
                    };
                    let stop = paths.stop(&service.name, node, false);
                    let start = begins(paths, service, node);
                    if stop.is_none() && start.is_none() {
                        let id = id("admit");
                        let back = brought_back(
                            plan,
                            paths,
                            (service, node),
                            observations,
                            (&place, balancer, on),
                            &id,
                        );
                        if back {
                            expected.insert(StepId::new(&id));
                        }
                        let drain = format!("drain:{}@{node}:{}@{on}", service.name, balancer.name);
                        let asks = looks_at_servers(plan, balancer);
                        let out = || left_out(paths, (service, node), observations, &place, &drain);
                        if asks && !is_agentless(spec, node) && out() {
                            expected.insert(StepId::new(&drain));
                        }
                        continue;
                    }
                    if !place.runs_during(paths, stop, start) {
                        continue;
                    }
                    if let Some(stop) = stop {
                        let id = id("drain");
                        expected.insert(StepId::new(&id));
                        drained(paths, stop, &id, found);
                    }
                    if let Some(start) = start {
                        let id = id("admit");
                        expected.insert(StepId::new(&id));
                        admitted(paths, &place, start, &others, &id, found);
                    }
                }
            }
        }
    }
    let switches = plan.steps.iter().filter(|it| it.action.member().is_some());
    let idle = switches.filter(|step| !expected.contains(&step.id));
    found.extend(idle.map(|step| Violation::WrongAction {
        step: step.id.clone(),
    }));
}

/// May a startup admit an instance that runs already, and does the admission wait for its health?
fn brought_back(
    plan: &Plan,
    paths: &Paths<'_>,
    (service, node): (&Service, &NodeName),
    observations: Option<&Observations>,
    (place, balancer, on): (&Place, &Service, &NodeName),
    id: &str,
) -> bool {
    let (Some(seen), Some(admit)) = (observations, paths.id(id)) else {
        return false;
    };
    let there = seen
        .node(on)
        .and_then(|it| it.instances.get(&balancer.name));
    let member = there.and_then(|it| it.member(&service.name, node));
    let out = member.is_some_and(|it| matches!(it.state, MemberState::Drain | MemberState::Maint));
    let own = service.checks.iter().filter(|(name, check)| {
        let id = CheckId {
            service: service.name.clone(),
            check: (*name).clone(),
        };
        check.from == CheckFrom::Own
            && !matches!(check.kind, CheckKind::Same { .. })
            && !plan.forced.contains(&id)
    });
    let check = paths.id(&format!("check:{}@{node}", service.name));
    let healthy = match check {
        Some(check) => paths.awaits(admit, check, Wait::Healthy),
        None => own.count() == 0,
    };
    let told = place.start;
    let there = told.is_none_or(|start| paths.awaits(admit, start, Wait::Healthy));
    // How it is in a balancer that does not run yet, nobody can see.
    let due = told.is_some() || place.up && out;
    plan.kind.comes_up() && due && healthy && there
}

fn is_agentless(spec: &Spec, node: &NodeName) -> bool {
    let node = spec.nodes.get(node);
    node.is_none_or(|node| node.agentless.is_some())
}

/// Is a balancer healthy only when its HAProxy finds none of its servers down? For another one nobody need be left out.
fn looks_at_servers(plan: &Plan, balancer: &Service) -> bool {
    balancer.checks.iter().any(|(name, check)| {
        let id = CheckId {
            service: balancer.name.clone(),
            check: name.clone(),
        };
        matches!(check.kind, CheckKind::Haproxy(_))
            && check.from != CheckFrom::Consumers
            && !plan.forced.contains(&id)
    })
}

/// May an instance be left out of a balancer that starts, and does that wait for the balancer? Only one that is known to be
/// down, and that its guard does not start again either.
fn left_out(
    paths: &Paths<'_>,
    (service, node): (&Service, &NodeName),
    observations: Option<&Observations>,
    place: &Place,
    id: &str,
) -> bool {
    let (Some(seen), Some(drain), Some(start)) = (observations, paths.id(id), place.start) else {
        return false;
    };
    let known = seen
        .node(node)
        .and_then(|it| it.instances.get(&service.name));
    let stays_down = match seen.instance(node, &service.name) {
        InstanceState::Stopped => true,
        InstanceState::Failed => {
            known.is_some_and(|it| it.given_up || it.wanted != Some(Wanted::Running))
        }
        _ => false,
    };
    stays_down && paths.awaits(drain, start, Wait::Up)
}

fn not_switched(paths: &Paths<'_>, step: usize, expected: &str) -> Violation {
    Violation::NotSwitched {
        step: paths.steps[step].id.clone(),
        expected: expected.to_owned(),
    }
}

/// The stop waits for the drain, which begins no sooner than the stop itself would: a member that is drained is away.
fn drained(paths: &Paths<'_>, stop: usize, id: &str, found: &mut Vec<Violation>) {
    let Some(drain) = paths.id(id) else {
        found.push(not_switched(paths, stop, id));
        return;
    };
    let edges = paths.steps[stop].after.iter();
    let early = edges
        .filter_map(|after| Some((paths.id(after.step.as_str())?, after.until)))
        .filter(|(on, _)| !matches!(paths.steps[*on].action, Action::Drain { .. }))
        .any(|(on, until)| !paths.awaits(drain, on, until));
    if early || !paths.awaits(stop, drain, Wait::Down) {
        found.push(not_switched(paths, stop, id));
    }
}

/// The admission waits for the member to be healthy, and for its balancer. The other members whose turn comes only when
/// this one is healthy again (`others`: what begins their turns) wait for its admission too.
fn admitted(
    paths: &Paths<'_>,
    place: &Place,
    start: usize,
    others: &[usize],
    id: &str,
    found: &mut Vec<Violation>,
) {
    let Some(admit) = paths.id(id) else {
        found.push(not_switched(paths, start, id));
        return;
    };
    let there = match (place.stop, place.start) {
        (None, Some(balancer)) => paths.awaits(admit, balancer, Wait::Healthy),
        _ => true,
    };
    let healthy = paths.beyond(start, Wait::Healthy);
    let back = paths.beyond(admit, Wait::Up);
    let too_soon = others
        .iter()
        .any(|other| healthy.contains(*other) && !back.contains(*other));
    if !there || too_soon || !paths.awaits(admit, start, Wait::Healthy) {
        found.push(not_switched(paths, start, id));
    }
}
