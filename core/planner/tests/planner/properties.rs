//! Random clusters: every plan respects every dependency.

use std::collections::BTreeMap;

use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::names::NodeName;
use interlock_model::observation::{Active, Wanted};
use interlock_model::plan::{Known, Plan, PlanKind, Step, Wait};
use interlock_model::spec::{Boot, Sequence, Service};
use interlock_planner::{Scope, checker};
use proptest::prelude::*;

use crate::support::{Ask, Cluster, Seen, ask, name, precedes};

/// A service of a random cluster: its nodes, whether it is exclusive, its dependencies on services before it.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    nodes: Vec<usize>,
    exclusive: bool,
    autostart: bool,
    sequence: (Wait, Wait),
    dependencies: Vec<(usize, bool, Wait, Wait)>,
    /// The service that it is a member of; itself stands for none.
    member_of: Option<usize>,
}

fn start_wait() -> impl Strategy<Value = Wait> {
    prop_oneof![4 => Just(Wait::Healthy), 1 => Just(Wait::Up), 1 => Just(Wait::Issued), 1 => Just(Wait::None)]
}

fn stop_wait() -> impl Strategy<Value = Wait> {
    prop_oneof![4 => Just(Wait::Down), 1 => Just(Wait::GoingDown), 1 => Just(Wait::Issued), 1 => Just(Wait::None)]
}

fn shape(defaults: bool) -> impl Strategy<Value = Shape> {
    let edge = (
        0..100_usize,
        prop::bool::weighted(0.8),
        start_wait(),
        stop_wait(),
    )
        .prop_map(move |edge| {
            if defaults {
                (edge.0, true, Wait::Healthy, Wait::Down)
            } else {
                edge
            }
        });
    (
        prop::collection::vec(0..8_usize, 1..4),
        any::<bool>(),
        any::<bool>(),
        (
            prop_oneof![Just(Wait::None), Just(Wait::Up)],
            prop_oneof![Just(Wait::None), Just(Wait::Issued), Just(Wait::Down)],
        ),
        prop::collection::vec(edge, 0..3),
        prop::option::of(0..8_usize),
    )
        .prop_map(
            |(nodes, exclusive, autostart, sequence, dependencies, member_of)| Shape {
                nodes,
                exclusive,
                autostart,
                sequence,
                dependencies,
                member_of,
            },
        )
}

pub(crate) fn shapes(defaults: bool) -> impl Strategy<Value = Vec<Shape>> {
    prop::collection::vec(shape(defaults), 1..8)
}

pub(crate) fn cluster(shapes: &[Shape]) -> Cluster {
    use interlock_model::check::CheckFrom;
    let mut cluster = Cluster::new();
    for (index, shape) in shapes.iter().enumerate() {
        let service = format!("s{index}");
        let mut nodes: Vec<String> = Vec::new();
        for node in &shape.nodes {
            let node = format!("n{node}");
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        cluster = if shape.exclusive {
            cluster.exclusive(&service, &nodes)
        } else {
            cluster.service(&service, &nodes)
        };
        cluster = cluster
            .check(&service, "seen", CheckFrom::Consumers)
            .check(&service, "own", CheckFrom::Own)
            .with(&service, |service| {
                service.boot = if shape.autostart {
                    Boot::Autostart
                } else {
                    Boot::Manual
                };
                if !shape.exclusive {
                    service.sequence = Sequence {
                        start: shape.sequence.0,
                        stop: shape.sequence.1,
                    };
                }
            });
        for (other, needed, start, stop) in shape.dependencies.iter().filter(|_| index > 0) {
            cluster = cluster.edge(
                &service,
                &format!("s{}", other % index),
                *needed,
                *start,
                *stop,
            );
        }
    }
    for (index, shape) in shapes.iter().enumerate() {
        let balancer = shape.member_of.map(|other| other % shapes.len());
        if let Some(balancer) = balancer.filter(|balancer| *balancer != index) {
            cluster = cluster.member_of(&format!("s{index}"), &format!("s{balancer}"));
        }
    }
    cluster
}

/// The request, with the first listed node of each exclusive service as its active side.
pub(crate) fn ask_all(cluster: &Cluster, kind: PlanKind) -> Ask<'_> {
    let exclusive = cluster
        .0
        .services
        .values()
        .filter(|service| service.is_exclusive());
    exclusive.fold(ask(cluster, kind, Scope::All), |ask, service| {
        ask.assuming(
            service.name.as_str(),
            service.nodes.last().unwrap().as_str(),
        )
    })
}

fn steps_of<'a>(plan: &'a Plan, words: &[&str], service: &str) -> Vec<&'a str> {
    let about = |step: &&interlock_model::plan::Step| {
        step.node.is_some()
            && step
                .service
                .as_ref()
                .is_some_and(|name| name.as_str() == service)
            && words.contains(&step.action.word())
    };
    plan.steps
        .iter()
        .filter(about)
        .map(|step| step.id.as_str())
        .collect()
}

/// Is the instance up, and what does its agent want of it?
fn instance(seen: &Seen, service: &Service, node: &NodeName) -> (bool, Option<Wanted>) {
    let wanted = seen.0.nodes[node].instances[&service.name].wanted;
    (!seen.0.instance(node, &service.name).is_down(), wanted)
}

/// An instance of an exclusive service is started beside the side that is seen to be active, or by the memory of a
/// service that was stopped as a whole.
fn starts_know_the_active_side(
    cluster: &Cluster,
    seen: &Seen,
    plan: &Plan,
) -> Result<(), TestCaseError> {
    let several = |service: &&Service| service.is_exclusive() && service.nodes.len() > 1;
    for service in cluster.0.services.values().filter(several) {
        if steps_of(plan, &["start", "verify"], service.name.as_str()).is_empty() {
            continue;
        }
        let assumption = &plan.assumptions[&service.name];
        let is_seen = seen.0.active(service) == Active::On(assumption.active.clone());
        let was_stopped = service.nodes.iter().all(|node| {
            let (is_up, wanted) = instance(seen, service, node);
            !is_up || (plan.kind == PlanKind::Startup && wanted == Some(Wanted::Stopped))
        });
        match assumption.known {
            Known::Observed => prop_assert!(is_seen, "{}", service.name),
            Known::Remembered => prop_assert!(was_stopped, "{}", service.name),
            Known::Assumed => prop_assert!(false, "nobody said anything of {}", service.name),
        }
    }
    Ok(())
}

/// Before a machine goes, and in a restart of everything, nothing is left that runs or that its agent may start.
fn what_may_run_is_stopped(
    cluster: &Cluster,
    seen: &Seen,
    plan: &Plan,
) -> Result<(), TestCaseError> {
    for service in cluster.0.services.values() {
        for node in &service.nodes {
            let (is_up, wanted) = instance(seen, service, node);
            if !is_up && wanted != Some(Wanted::Running) {
                continue;
            }
            let stop = format!("stop:{}@{node}", service.name);
            for step in &plan.steps {
                let goes = matches!(step.action, Action::PowerOff { .. } | Action::Reboot);
                if goes && step.node.as_ref() == Some(node) {
                    prop_assert!(
                        precedes(plan, &stop, Wait::Down, step.id.as_str()),
                        "{stop}"
                    );
                }
            }
            if matches!(plan.kind, PlanKind::Restart | PlanKind::Reboot) {
                let again = steps_of(plan, &["start", "verify"], service.name.as_str());
                let again = again.iter().find(|id| id.ends_with(&format!("@{node}")));
                prop_assert!(
                    again.is_some_and(|id| precedes(plan, &stop, Wait::Down, id)),
                    "{stop} and nothing after it"
                );
            }
        }
    }
    Ok(())
}

/// A start is taken back by a stop, unless the plan itself stopped the instance before: then it only runs as it did.
fn what_runs_again_is_not_taken_back(plan: &Plan) -> Result<(), TestCaseError> {
    for start in plan
        .steps
        .iter()
        .filter(|step| step.action == Action::Start)
    {
        let stops = |step: &Step| {
            step.action == Action::Stop
                && (&step.service, &step.node) == (&start.service, &start.node)
        };
        let undo = start.undo.as_ref().map(|undo| &*undo.0);
        let expected = (!plan.steps.iter().any(stops)).then_some(&Action::Stop);
        prop_assert_eq!(undo, expected, "{}", start.id);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_dependency_is_respected(shapes in shapes(false)) {
        let cluster = cluster(&shapes);
        let down = ask_all(&cluster, PlanKind::Shutdown).plan();
        let up = ask_all(&cluster, PlanKind::Startup).plan();
        for service in cluster.0.services.values() {
            for (other, dependency) in &service.dependencies {
                let (own, required) = (service.name.as_str(), other.as_str());
                if dependency.stop != Wait::None {
                    for first in steps_of(&down, &["stop"], own) {
                        for then in steps_of(&down, &["stop"], required) {
                            prop_assert!(precedes(&down, first, dependency.stop, then), "{first} {then}");
                        }
                    }
                }
                if dependency.start != Wait::None {
                    for first in steps_of(&up, &["start", "verify"], required) {
                        for then in steps_of(&up, &["start", "verify"], own) {
                            let at_least = dependency.start.min(Wait::Up);
                            prop_assert!(precedes(&up, first, at_least, then), "{first} {then}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn with_default_edges_shutdown_is_the_reverse_of_startup(shapes in shapes(true)) {
        let cluster = cluster(&shapes);
        let down = ask_all(&cluster, PlanKind::Shutdown).plan();
        let up = ask_all(&cluster, PlanKind::Startup).plan();
        for service in cluster.0.services.values() {
            for other in service.dependencies.keys() {
                for one in &service.nodes {
                    for two in &cluster.0.services[other].nodes {
                        let stops = (format!("stop:{}@{one}", service.name), format!("stop:{other}@{two}"));
                        let word = |service: &interlock_model::spec::Service| match service.boot {
                            Boot::Autostart => "verify",
                            Boot::Manual => "start",
                        };
                        let required = &cluster.0.services[other];
                        let starts = (
                            format!("{}:{other}@{two}", word(required)),
                            format!("{}:{}@{one}", word(service), service.name),
                        );
                        prop_assert!(precedes(&down, &stops.0, Wait::Down, &stops.1), "{stops:?}");
                        prop_assert!(precedes(&up, &starts.0, Wait::Up, &starts.1), "{starts:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_checker_finds_nothing_in_any_kind_of_plan(
        shapes in shapes(false), batch in 1..4_u32, serial in any::<bool>(),
    ) {
        let cluster = cluster(&shapes);
        for kind in [PlanKind::Shutdown, PlanKind::Startup, PlanKind::Restart, PlanKind::Reboot] {
            let mut ask = ask_all(&cluster, kind).batch(batch);
            if serial {
                ask = ask.serial();
            }
            let outcome = ask.outcome();
            match &outcome.plan {
                Some(sealed) => prop_assert_eq!(checker::check(&cluster.0, sealed.plan(), None), []),
                // The only reason to refuse here is capacity.
                None => prop_assert!(
                    outcome.report.refusals().all(|entry| entry.to_string().starts_with("capacity")),
                    "{}", outcome.report
                ),
            }
        }
    }

}

proptest! {
    // What makes the builder and the checker differ is a rare mixture: most of these cases are refused for good reasons.
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_observed_a_plan_passes_the_checker_or_is_refused_with_reasons(
        shapes in shapes(false), states in prop::collection::vec(0..24_usize, 64), kind in 0..4_usize,
        wishes in prop::collection::vec(prop::option::of(any::<bool>()), 64),
        looks in prop::collection::vec(0..12_usize, 64),
    ) {
        use interlock_model::observation::InstanceState as State;
        let cluster = cluster(&shapes);
        let kind = [PlanKind::Shutdown, PlanKind::Startup, PlanKind::Restart, PlanKind::Reboot][kind];
        let active: BTreeMap<String, String> = cluster.0.services.values()
            .map(|service| (service.name.to_string(), service.nodes.last().unwrap().to_string())).collect();
        let pairs: Vec<(&str, &str)> = active.iter().map(|(s, n)| (s.as_str(), n.as_str())).collect();
        let mut seen = cluster.all_up(&pairs);
        let (mut states, mut wishes) = (states.into_iter().cycle(), wishes.into_iter().cycle());
        let mut looks = looks.into_iter().cycle();
        for service in cluster.0.services.values() {
            for node in &service.nodes {
                // Rarely unknown: one is enough to refuse the whole plan.
                let state = match states.next().unwrap() {
                    0 => State::Unknown,
                    1..4 => State::Failed,
                    4..12 => State::Stopped,
                    _ => State::Running,
                };
                seen.set(service.name.as_str(), node.as_str(), state);
                if let Some(runs) = wishes.next().unwrap() {
                    let wanted = if runs { Wanted::Running } else { Wanted::Stopped };
                    seen = seen.wanted(service.name.as_str(), node.as_str(), wanted);
                }
                let tells = service.active_when.first().filter(|_| looks.next().unwrap() == 0);
                if let Some(check) = tells {
                    seen.verdict(&format!("{}.{check}", service.name), node.as_str(), Verdict::Unknown);
                }
            }
        }
        let memory = pairs.iter().fold(ask(&cluster, kind, Scope::All).seeing(&seen), |ask, (service, node)| {
            if cluster.0.services[&name::<interlock_model::names::ServiceName>(service)].is_exclusive() {
                ask.remembering(service, node)
            } else {
                ask
            }
        });
        let outcome = memory.outcome();
        let internal = outcome.report.refusals().find(|entry| matches!(entry, interlock_planner::Entry::Internal { .. }));
        prop_assert!(internal.is_none(), "{}", outcome.report);
        prop_assert_eq!(outcome.plan.is_none(), outcome.report.refuses());
        if let Some(sealed) = &outcome.plan {
            starts_know_the_active_side(&cluster, &seen, sealed.plan())?;
            what_may_run_is_stopped(&cluster, &seen, sealed.plan())?;
            what_runs_again_is_not_taken_back(sealed.plan())?;
        }
    }
}
