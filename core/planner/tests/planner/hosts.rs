//! VM hosts: emptied while service goes on, and taken into service again.

use interlock_model::check::{CheckFrom, Verdict};
use interlock_model::member::MemberState;
use interlock_model::observation::{InstanceState, Liveness, Side, Wanted};
use interlock_model::plan::{PlanKind, Wait};
use interlock_planner::{Entry, Scope, checker};

use crate::leases::{Sides, leased};
use crate::support::{Ask, Cluster, Seen, after, ask, ids, name, precedes};

/// A database of three and a store under leases, web servers in a load balancer; `one` carries what is active.
fn cluster() -> Cluster {
    let on = |cluster: Cluster, node: &str, host: &str| {
        cluster.with_node(node, |node| node.host = Some(name(host)))
    };
    let cluster = leased(Cluster::new().exclusive("store", &["s1", "s2"]), "store");
    let cluster = leased(cluster.exclusive("db", &["d1", "d2"]), "db")
        .requires("db", &["store"])
        .service("lb", &["l1", "l2"])
        .service("web", &["w1", "w2"])
        .check("web", "http", CheckFrom::Own)
        .member_of("web", "lb")
        .requires("web", &["db"]);
    let places = [
        ("s1", "one"),
        ("d1", "one"),
        ("l1", "one"),
        ("w1", "one"),
        ("s2", "two"),
        ("d2", "two"),
        ("l2", "two"),
        ("w2", "two"),
    ];
    places
        .into_iter()
        .fold(cluster, |cluster, (node, host)| on(cluster, node, host))
}

fn host(name_of: &str) -> Scope {
    Scope::Host(name(name_of))
}

/// Everything runs, with the roles on host one.
fn up(cluster: &Cluster) -> Seen {
    cluster
        .all_up(&[])
        .side_of("store", "s1", Side::Primary)
        .side_of("store", "s2", Side::Standby)
        .side_of("db", "d1", Side::Primary)
        .side_of("db", "d2", Side::Standby)
}

fn evacuate(cluster: &Cluster) -> Ask<'_> {
    ask(cluster, PlanKind::Evacuate, host("one"))
}

fn refused(cluster: &Cluster, seen: &Seen, expected: &str) {
    let lines = evacuate(cluster).seeing(seen).refusal();
    assert!(
        lines.iter().any(|line| line.contains(expected)),
        "{expected} is not in {lines:#?}"
    );
}

#[test]
fn roles_move_one_after_the_other_before_anything_is_drained_stopped_or_switched_off() {
    let cluster = cluster();
    let seen = up(&cluster);
    let outcome = evacuate(&cluster).seeing(&seen).outcome();
    let plan = outcome.plan.expect("a plan");
    let plan = plan.plan();
    let moves = [
        "check:evacuate",
        "promote:db@d2",
        "verify-role:db@d2",
        "promote:store@s2",
        "verify-role:store@s2",
    ];
    assert_eq!(ids(plan)[..5], moves);
    for pair in moves.windows(2) {
        assert!(precedes(plan, pair[0], Wait::Healthy, pair[1]), "{pair:?}");
    }
    for step in ids(plan).iter().skip(5) {
        assert!(precedes(plan, moves[4], Wait::Healthy, step), "{step}");
    }
    // Members are drained where their load balancer stays, and machines go off behind what they carried.
    assert!(precedes(
        plan,
        "drain:web@w1:lb@l2",
        Wait::Down,
        "stop:web@w1"
    ));
    assert!(!ids(plan).contains(&"drain:web@w1:lb@l1"));
    for node in ["s1", "d1", "l1", "w1"] {
        assert!(ids(plan).contains(&format!("power-off:{node}").as_str()));
    }
    assert!(
        !ids(plan)
            .iter()
            .any(|id| id.ends_with('2') && id.starts_with("stop"))
    );
    let gates: Vec<String> = plan.steps[0]
        .gates
        .iter()
        .map(|gate| format!("{}@{}", gate.check, gate.on))
        .collect();
    assert_eq!(gates, ["web.http@w1", "web.http@w2"]);
    let entries = outcome.report.entries();
    assert!(
        entries
            .iter()
            .any(|it| matches!(it, Entry::NoReturn { step } if step.as_str() == moves[1]))
    );
    assert_eq!(
        plan.assumptions[&name::<interlock_model::names::ServiceName>("db")].active,
        name("d1")
    );
}

#[test]
fn what_has_no_role_there_is_only_stopped() {
    let cluster = cluster();
    let seen = up(&cluster);
    let plan = ask(&cluster, PlanKind::Evacuate, host("two"))
        .seeing(&seen)
        .plan();
    assert_eq!(ids(&plan)[0], "check:evacuate");
    assert!(!ids(&plan).iter().any(|id| id.starts_with("promote")));
    assert_eq!(after(&plan, "stop:lb@l2").len(), 1);
}

#[test]
fn nothing_begins_while_anything_is_unknown_or_not_as_it_should_be() {
    let cluster = cluster();
    refused(&cluster, &up(&cluster).lose("w2"), "w2");
    refused(
        &cluster,
        &up(&cluster).saying("web.http", "w2", Verdict::Bad),
        "web.http on w2 is bad",
    );
    refused(
        &cluster,
        &up(&cluster).saying("web.http", "w2", Verdict::Unknown),
        "web.http on w2 is unknown",
    );
    let mut late = up(&cluster);
    late.node("mgmt1").liveness = Liveness::Late;
    refused(&cluster, &late, "its agent is late");
    refused(
        &cluster,
        &up(&cluster).unfit("db", "d2", "it is 9 behind"),
        "its role is on d1, and no other node can take it: d2: it is 9 behind",
    );
    refused(
        &cluster,
        &up(&cluster).side_of("db", "d1", Side::Standby),
        "it has no primary",
    );
    refused(
        &cluster,
        &up(&cluster).state("db", "d2", InstanceState::Stopped),
        "d2: it is down",
    );
    // A check is overridden by name, and by that alone.
    let seen = up(&cluster).saying("web.http", "w2", Verdict::Bad);
    let forced = evacuate(&cluster)
        .forcing("web.http")
        .seeing(&seen)
        .outcome();
    assert!(forced.plan.is_some(), "{}", forced.report);
}

#[test]
fn service_goes_on_elsewhere_or_there_is_no_plan() {
    let alone = cluster()
        .service("cache", &["d1"])
        .requires("web", &["cache"]);
    refused(
        &alone,
        &up(&alone),
        "nothing of it is left elsewhere, and web on w2 requires it",
    );
    let nobody_needs_it = cluster().service("cache", &["d1"]);
    let plan = evacuate(&nobody_needs_it)
        .seeing(&up(&nobody_needs_it))
        .plan();
    assert!(ids(&plan).contains(&"stop:cache@d1"));
    let unleased = cluster().exclusive("old", &["d1", "d2"]);
    let seen =
        up(&unleased)
            .saying("old.vip", "d1", Verdict::Ok)
            .saying("old.vip", "d2", Verdict::Bad);
    refused(&unleased, &seen, "its spec has no `failover`");
    let few = cluster().with("web", |web| web.at_least = 2);
    refused(&few, &up(&few), "at least 2 must stay");
}

#[test]
fn what_is_on_its_way_down_elsewhere_is_nothing_that_is_left() {
    let cache = cluster()
        .service("cache", &["d1", "d2"])
        .with("cache", |cache| cache.at_least = 0)
        .requires("web", &["cache"]);
    let plan = evacuate(&cache).seeing(&up(&cache)).plan();
    assert!(ids(&plan).contains(&"stop:cache@d1"));
    refused(
        &cache,
        &up(&cache).state("cache", "d2", InstanceState::Stopping),
        "nothing of it is left elsewhere, and web on w2 requires it",
    );
}

/// An evacuation that was made for one spec, looked at by another one, or changed by hand.
mod objections {
    use interlock_model::action::{Action, Part};
    use interlock_model::address::FloatingAddress;
    use interlock_model::plan::Plan;
    use interlock_planner::checker::Violation;

    use super::*;

    fn found(cluster: &Cluster, plan: &Plan, seen: &Seen) -> Vec<Violation> {
        checker::check(&cluster.0, plan, Some(&seen.0))
    }

    fn made(cluster: &Cluster) -> Plan {
        let plan = evacuate(cluster).seeing(&up(cluster)).plan();
        assert_eq!(found(cluster, &plan, &up(cluster)), []);
        plan
    }

    #[test]
    fn each_check_of_what_runs_is_asked_in_the_first_step() {
        let cluster = cluster();
        let plan = made(&cluster);
        assert_eq!(plan.steps[0].gates.len(), 2);
        for gate in 0..2 {
            let mut bad = plan.clone();
            let dropped = bad.steps[0].gates.remove(gate);
            let objects = found(&cluster, &bad, &up(&cluster));
            let expected = Violation::MissingCheck {
                step: bad.steps[0].id.clone(),
                check: dropped.check.clone(),
                on: dropped.on.clone(),
            };
            assert_eq!(objects, [expected]);
            bad.forced = [dropped.check].into();
            assert_eq!(found(&cluster, &bad, &up(&cluster)), [], "overridden");
        }
    }

    #[test]
    fn somebody_outside_tries_an_address_if_anybody_is_heard_there() {
        let address = FloatingAddress {
            ip: "10.1.0.9".parse().unwrap(),
            prefix: 24,
            interface: "eth0".into(),
            whole_interface: false,
        };
        let cluster = cluster().with("db", |db| db.primary_parts.push(Part::Address(address)));
        let mut plan = made(&cluster);
        let verify = plan
            .steps
            .iter_mut()
            .find_map(|step| match &mut step.action {
                Action::VerifyRole { addresses, from } if !addresses.is_empty() => Some(from),
                _ => None,
            });
        verify.expect("an address").clear();
        let objects = found(&cluster, &plan, &up(&cluster));
        assert!(
            matches!(&objects[..], [Violation::RoleNotSecured { expected, .. }] if expected.starts_with("a try from")),
            "{objects:?}"
        );
        let nobody = cluster.0.nodes.keys().fold(up(&cluster), |mut seen, node| {
            seen.node(node.as_str()).liveness = Liveness::Lost;
            seen
        });
        let objects = found(&cluster, &plan, &nobody);
        let tries = |it: &Violation| matches!(it, Violation::RoleNotSecured { .. });
        assert!(!objects.iter().any(tries), "{objects:?}");
    }

    #[test]
    fn as_many_stay_as_the_spec_wants_also_of_what_goes_as_a_whole() {
        let few = cluster();
        let plan = made(&few);
        let more = few.with("web", |web| web.at_least = 2);
        let objects = found(&more, &plan, &up(&more));
        assert!(
            matches!(
                &objects[..],
                [Violation::Capacity {
                    would_leave: 1,
                    at_least: 2,
                    ..
                }]
            ),
            "{objects:?}"
        );
        let whole = cluster()
            .service("cache", &["d1", "w1"])
            .with("cache", |cache| cache.at_least = 0);
        let plan = made(&whole);
        let wanted = whole.with("cache", |cache| cache.at_least = 1);
        let objects = found(&wanted, &plan, &up(&wanted));
        assert!(
            matches!(
                &objects[..],
                [Violation::Capacity {
                    would_leave: 0,
                    at_least: 1,
                    ..
                }]
            ),
            "{objects:?}"
        );
    }

    #[test]
    fn nobody_elsewhere_loses_what_it_requires() {
        let free = cluster().service("cache", &["d1"]);
        let plan = made(&free);
        let needed = free.requires("web", &["cache"]);
        let objects = found(&needed, &plan, &up(&needed));
        assert!(objects.iter().any(left_behind), "{objects:?}");
    }

    fn left_behind(it: &Violation) -> bool {
        matches!(it, Violation::LeftBehind { service, node, .. } if service.as_str() == "web" && node.as_str() == "w2")
    }

    #[test]
    fn what_is_not_known_to_run_elsewhere_is_nothing_that_is_left() {
        let cache = cluster()
            .service("cache", &["d1", "d2"])
            .with("cache", |cache| cache.at_least = 0)
            .requires("web", &["cache"]);
        let plan = made(&cache);
        for state in [InstanceState::Unknown, InstanceState::Stopping] {
            let objects = found(&cache, &plan, &up(&cache).state("cache", "d2", state));
            assert!(objects.iter().any(left_behind), "{state}: {objects:?}");
        }
    }

    #[test]
    fn what_is_down_and_about_to_be_started_again_elsewhere_requires_it_too() {
        let free = cluster().service("cache", &["d1"]);
        let plan = made(&free);
        let needed = free.requires("web", &["cache"]);
        let failed = up(&needed).state("web", "w2", InstanceState::Failed);
        let objects = found(&needed, &plan, &failed);
        assert!(!objects.iter().any(left_behind), "{objects:?}");
        let guarded = failed.wanted("web", "w2", Wanted::Running);
        let objects = found(&needed, &plan, &guarded);
        assert!(objects.iter().any(left_behind), "{objects:?}");
    }

    #[test]
    fn the_standby_of_an_active_side_that_nothing_moves_is_nothing_that_is_left() {
        let old = cluster().exclusive("old", &["d1", "d2"]);
        let seen = up(&old).state("old", "d2", InstanceState::Stopped);
        let alone = seen.saying("old.vip", "d1", Verdict::Ok);
        let plan = evacuate(&old).seeing(&alone).plan();
        let needed = old.requires("web", &["old"]);
        let both =
            alone
                .state("old", "d2", InstanceState::Running)
                .saying("old.vip", "d2", Verdict::Bad);
        let objects = found(&needed, &plan, &both);
        assert!(objects.iter().any(left_behind), "{objects:?}");
    }
}

/// Host one is off, and the roles are on host two.
fn emptied(cluster: &Cluster) -> Seen {
    let down = cluster.all_down();
    let mut seen =
        up(cluster)
            .side_of("store", "s2", Side::Primary)
            .side_of("db", "d2", Side::Primary);
    for node in ["s1", "d1", "l1", "w1"] {
        *seen.node(node) = down.0.nodes[&name::<interlock_model::names::NodeName>(node)].clone();
    }
    seen.member(("web", "w1"), ("lb", "l2"), MemberState::Maint);
    seen
}

#[test]
fn a_restored_host_catches_up_and_roles_stay_where_they_are() {
    let cluster = cluster();
    let seen = emptied(&cluster);
    let plan = ask(&cluster, PlanKind::Restore, host("one"))
        .seeing(&seen)
        .plan();
    for (node, service) in [("s1", "store"), ("d1", "db")] {
        let start = format!("start:{service}@{node}");
        let ready = format!("catch-up:{service}@{node}");
        assert!(precedes(
            &plan,
            &format!("power-on:{node}"),
            Wait::Up,
            &start
        ));
        assert!(precedes(&plan, &start, Wait::Up, &ready));
    }
    assert!(!ids(&plan).iter().any(|id| id.starts_with("promote")));
    assert!(precedes(
        &plan,
        "start:web@w1",
        Wait::Healthy,
        "admit:web@w1:lb@l2"
    ));
}

#[test]
fn who_is_a_member_of_a_load_balancer_as_a_standby_is_admitted_when_it_has_caught_up() {
    let cluster = cluster().member_of("db", "lb");
    let mut seen = emptied(&cluster);
    seen.member(("db", "d1"), ("lb", "l2"), MemberState::Maint);
    let plan = ask(&cluster, PlanKind::Restore, host("one"))
        .seeing(&seen)
        .plan();
    assert!(precedes(
        &plan,
        "catch-up:db@d1",
        Wait::Healthy,
        "admit:db@d1:lb@l2"
    ));
}

#[test]
fn roles_go_back_only_when_that_is_asked_for_and_last() {
    let cluster = cluster();
    let seen = emptied(&cluster);
    let plan = ask(&cluster, PlanKind::Restore, host("one"))
        .failing_back()
        .seeing(&seen)
        .plan();
    let first = "promote:db@d1";
    for step in ids(&plan) {
        let last = ["promote", "verify-role"]
            .iter()
            .any(|it| step.starts_with(it));
        assert!(last || precedes(&plan, step, Wait::Up, first), "{step}");
    }
    assert!(precedes(&plan, first, Wait::Healthy, "verify-role:db@d1"));
    assert!(precedes(
        &plan,
        "verify-role:db@d1",
        Wait::Healthy,
        "promote:store@s1"
    ));
}

#[test]
fn an_edge_that_is_dropped_is_caught_unless_the_rest_implies_it() {
    let cluster = cluster().member_of("db", "lb");
    let (seen, emptied) = (up(&cluster), emptied(&cluster));
    let away = evacuate(&cluster).seeing(&seen).plan();
    let back = ask(&cluster, PlanKind::Restore, host("one"));
    let back = back.failing_back().seeing(&emptied).plan();
    let mut caught = 0;
    for (plan, seen) in [(away, &seen), (back, &emptied)] {
        let check = |plan: &_| checker::check(&cluster.0, plan, Some(&seen.0));
        assert_eq!(check(&plan), []);
        for step in 0..plan.steps.len() {
            for edge in 0..plan.steps[step].after.len() {
                let mut bad = plan.clone();
                let dropped = bad.steps[step].after.remove(edge);
                let (first, later) = (dropped.step.as_str(), plan.steps[step].id.as_str());
                let implied = precedes(&bad, first, dropped.until, later);
                let objects = !check(&bad).is_empty();
                caught += usize::from(objects);
                assert!(implied || objects, "{later} after {first}");
            }
        }
    }
    assert!(caught > 20, "{caught}");
}
