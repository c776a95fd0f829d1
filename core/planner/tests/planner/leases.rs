//! Leased services: their primary is made in a step of its own, and moved by a switchover.

use std::time::Duration;

use interlock_model::action::{Action, Part};
use interlock_model::address::FloatingAddress;
use interlock_model::check::{CheckFrom, Verdict};
use interlock_model::lease::{ControlLoss, Epoch, Shortfall, Timings, VmPause};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Fitness, InstanceState, Liveness, RoleObservation, Side};
use interlock_model::plan::{PlanKind, Wait};
use interlock_model::spec::{Budget, Clients, Failover, Fence};
use interlock_planner::{Entry, Report, Scope};

use crate::support::{
    Ask, Cluster, Seen, after, ask, checks, ids, name, nodes, precedes, services,
};

/// A leased database, and who needs it.
fn cluster() -> Cluster {
    leased(Cluster::new().exclusive("db", &["a", "b"]), "db")
        .check("db", "login", CheckFrom::Own)
        .service("web", &["w"])
        .requires("web", &["db"])
}

/// Gives an exclusive service a lease in place of its checks.
pub(crate) fn leased(cluster: Cluster, service: &str) -> Cluster {
    cluster.with(service, |it| {
        it.active_when.clear();
        it.checks.clear();
        it.primary_parts = vec![Part::Process {
            name: name("writer"),
        }];
        it.failover = Some(Failover {
            automatic: false,
            timings: Timings::default(),
            on_control_loss: ControlLoss::Hold,
            vm_pause: VmPause::Possible,
            max_lag: 0,
            clients: Clients::Any,
            fence: Fence::Never,
            budget: Budget::default(),
            boot_dead: Duration::from_secs(60),
        });
    })
}

pub(crate) trait Sides: Sized {
    fn side_of(self, service: &str, node: &str, side: Side) -> Self;
    /// The leader of the lease says that it could not take the role.
    fn unfit(self, service: &str, node: &str, why: &str) -> Self;
    /// The leader of the lease says that it would lose so much.
    fn lacks(self, node: &str, lost: Shortfall) -> Self;
    fn side(self, node: &str, side: Side) -> Self {
        self.side_of("db", node, side)
    }
}

impl Sides for Seen {
    fn side_of(mut self, service: &str, node: &str, side: Side) -> Self {
        let instances = &mut self.node(node).instances;
        let instance = instances.get_mut(&name::<ServiceName>(service)).unwrap();
        instance.role = Some(RoleObservation {
            side,
            epoch: Epoch(3),
            detail: String::new(),
            lost: None,
            fitness: Fitness::Fit,
        });
        self
    }
    fn unfit(mut self, service: &str, node: &str, why: &str) -> Self {
        let instances = &mut self.node(node).instances;
        let instance = instances.get_mut(&name::<ServiceName>(service)).unwrap();
        instance.role.as_mut().unwrap().fitness = Fitness::Unfit(why.to_owned());
        self
    }
    fn lacks(mut self, node: &str, lost: Shortfall) -> Self {
        let instances = &mut self.node(node).instances;
        let instance = instances.get_mut(&name::<ServiceName>("db")).unwrap();
        let why = "it is 7 behind, more than 0".to_owned();
        instance.role.as_mut().unwrap().fitness = Fitness::Lacks(lost, why);
        self
    }
}

fn up(cluster: &Cluster) -> Seen {
    let seen = cluster.all_up(&[]);
    seen.side("a", Side::Primary).side("b", Side::Standby)
}

fn switchover(cluster: &Cluster) -> Ask<'_> {
    ask(cluster, PlanKind::Switchover, services(&["db"]))
}

#[test]
fn the_instances_start_as_standbys_and_who_needs_the_service_waits_for_the_one_that_is_promoted() {
    let cluster = cluster();
    let seen = cluster.all_down();
    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&seen)
        .remembering("db", "b")
        .plan();
    assert_eq!(after(&plan, "promote:db@b"), ["start:db@b up"]);
    assert_eq!(checks(&plan, "start:db@b").1, Vec::<String>::new());
    assert_eq!(checks(&plan, "start:db@a").1, Vec::<String>::new());
    assert_eq!(checks(&plan, "promote:db@b").1, ["db.login@b"]);
    assert!(precedes(
        &plan,
        "promote:db@b",
        Wait::Healthy,
        "start:web@w"
    ));
    assert!(!ids(&plan).contains(&"promote:db@a"));
    let promote = plan.steps.iter().find(|it| it.action == Action::Promote);
    assert_eq!(promote.map(|it| it.undo.is_none()), Some(true));
}

#[test]
fn what_runs_without_a_primary_gets_one_and_what_has_one_is_left_alone() {
    let cluster = cluster();
    let nobody = up(&cluster).side("a", Side::Standby);
    let startup = |seen| ask(&cluster, PlanKind::Startup, services(&["db"])).seeing(seen);
    let plan = startup(&nobody).remembering("db", "b").plan();
    assert_eq!(ids(&plan), ["promote:db@b"]);
    let has_one = up(&cluster);
    assert_eq!(ids(&startup(&has_one).plan()), Vec::<&str>::new());
    let other_is_down = up(&cluster)
        .state("db", "b", InstanceState::Stopped)
        .side("a", Side::Standby);
    let plan = startup(&other_is_down).remembering("db", "a").plan();
    assert_eq!(ids(&plan), ["promote:db@a", "start:db@b"]);
}

#[test]
fn the_standby_stops_before_the_primary_and_nobody_is_asked_about_checks() {
    let cluster = cluster();
    let plan = ask(&cluster, PlanKind::Shutdown, services(&["db"]))
        .seeing(&up(&cluster))
        .plan();
    assert_eq!(ids(&plan), ["stop:web@w", "stop:db@b", "stop:db@a"]);
    assert_eq!(
        after(&plan, "stop:db@a"),
        ["stop:web@w down", "stop:db@b down"]
    );
    let nobody = up(&cluster).side("a", Side::Standby);
    let plan = ask(&cluster, PlanKind::Shutdown, services(&["db"]))
        .seeing(&nobody)
        .plan();
    assert_eq!(plan.steps.len(), 3);
}

#[test]
fn what_restarts_the_primary_makes_it_primary_again() {
    let cluster = cluster();
    let seen = up(&cluster);
    let plan = ask(&cluster, PlanKind::Restart, services(&["db"]))
        .seeing(&seen)
        .plan();
    let expected = [
        "stop:db@b",
        "start:db@b",
        "stop:db@a",
        "start:db@a",
        "promote:db@a",
    ];
    assert_eq!(ids(&plan), expected);
    let plan = ask(&cluster, PlanKind::Reboot, nodes(&["a"]))
        .seeing(&seen)
        .plan();
    let expected = ["stop:db@a", "reboot:a", "start:db@a", "promote:db@a"];
    assert_eq!(ids(&plan), expected);
}

#[test]
fn a_switchover_is_one_promotion_of_the_only_standby_that_could_take_it_and_is_made_sure_of() {
    let cluster = cluster();
    let seen = up(&cluster);
    let plan = switchover(&cluster).seeing(&seen).plan();
    assert_eq!(ids(&plan), ["promote:db@b", "verify-role:db@b"]);
    assert_eq!(checks(&plan, "promote:db@b").1, ["db.login@b"]);
    assert_eq!(after(&plan, "verify-role:db@b"), ["promote:db@b healthy"]);
    let to = switchover(&cluster).to("b").seeing(&seen).plan();
    assert_eq!(ids(&to), ["promote:db@b", "verify-role:db@b"]);
    let there = switchover(&cluster).to("a").seeing(&seen).plan();
    assert_eq!(ids(&there), Vec::<&str>::new());
}

#[test]
fn a_switchover_to_where_the_role_cannot_go_says_why() {
    let cluster = cluster();
    let refused = |seen: Seen, expected: &str| {
        let lines = switchover(&cluster).seeing(&seen).refusal();
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{expected} is not in {lines:?}"
        );
    };
    refused(
        up(&cluster).state("db", "b", InstanceState::Stopped),
        "no node can take its role: b: it is down",
    );
    let mut late = up(&cluster);
    late.node("b").liveness = Liveness::Late;
    refused(late, "b: its agent is late");
    refused(
        up(&cluster).lose("a"),
        "which side is primary: a: the agent of a is lost",
    );
    refused(
        up(&cluster).side("b", Side::Primary),
        "a and b both say to be primary",
    );
    refused(
        up(&cluster).side("b", Side::Changing),
        "b is changing its side",
    );
    let lines = switchover(&cluster).to("w").seeing(&up(&cluster)).refusal();
    assert!(lines[0].contains("w is none of its nodes"), "{lines:?}");
    let seen = up(&cluster);
    let lines = ask(&cluster, PlanKind::Switchover, services(&["web"]))
        .seeing(&seen)
        .refusal();
    assert!(lines[0].contains("has no `failover`"), "{lines:?}");
}

#[test]
fn a_standby_is_not_asked_what_only_a_primary_can_answer() {
    let cluster = cluster();
    let seen = up(&cluster).saying("db.login", "b", Verdict::Bad);
    let plan = ask(&cluster, PlanKind::Startup, services(&["web", "db"]))
        .seeing(&seen)
        .plan();
    assert_eq!(ids(&plan), Vec::<&str>::new());
}

#[test]
fn a_failover_rests_on_a_word_that_no_agent_contradicts() {
    let cluster = cluster();
    let failover = |seen: &Seen, down: &[&str]| {
        ask(&cluster, PlanKind::Failover, services(&["db"]))
            .attesting(down)
            .seeing(seen)
            .outcome()
    };
    let refused = |seen: &Seen, down: &[&str], expected: &str| {
        let outcome = failover(seen, down);
        assert!(outcome.plan.is_none(), "{}", outcome.report);
        let report = outcome.report.to_string();
        assert!(report.contains(expected), "{report}");
    };
    let lost = up(&cluster).lose("a");
    let plan = failover(&lost, &["a"]).plan.expect("a plan");
    assert_eq!(ids(plan.plan()), ["promote:db@b", "verify-role:db@b"]);
    refused(
        &lost,
        &[],
        "which side is primary: a: the agent of a is lost",
    );
    refused(&lost, &[], "say with --attest-down NODE");
    refused(&lost, &["w"], "which side is primary");
    refused(&lost, &["a", "w"], "w is none of its nodes");
    refused(
        &up(&cluster),
        &["b"],
        "a is its primary, and its agent is heard",
    );
    refused(&up(&cluster), &["a"], "the agent of a is heard");
    let other_is_down = lost.clone().state("db", "b", InstanceState::Stopped);
    refused(&other_is_down, &["a"], "b: it is down");
}

#[test]
fn a_failover_loses_writes_only_where_that_is_accepted_and_says_how_many() {
    let cluster = cluster();
    let lost = up(&cluster).lose("a").lacks("b", Shortfall::AtLeast(7));
    let failover = |seen: &Seen, accepts: bool| {
        let asked = ask(&cluster, PlanKind::Failover, services(&["db"]))
            .attesting(&["a"])
            .seeing(seen);
        let asked = if accepts {
            asked.accepting_loss()
        } else {
            asked
        };
        asked.outcome()
    };
    let refused = failover(&lost, false);
    assert!(refused.plan.is_none(), "{}", refused.report);
    let report = refused.report.to_string();
    for part in [
        "writes would be lost: at least 7",
        "7 behind",
        "--accept-loss",
    ] {
        assert!(report.contains(part), "{report}");
    }

    let accepted = failover(&lost, true);
    let report = accepted.report.to_string();
    assert!(
        report.contains("writes are lost, as you accept: at least 7"),
        "{report}"
    );
    let plan = accepted.plan.expect("a plan");
    assert_eq!(ids(plan.plan()), ["promote:db@b", "verify-role:db@b"]);
    let service: ServiceName = name("db");
    assert_eq!(
        plan.plan().accepted,
        [(service, Shortfall::AtLeast(7))].into()
    );

    // Who lacks nothing loses nothing, whatever was accepted; and what nobody has said cannot be accepted.
    let fit = failover(&up(&cluster).lose("a"), true);
    assert_eq!(fit.plan.expect("a plan").plan().accepted, [].into());
    let mut unknown = up(&cluster).lose("a");
    let instance = unknown
        .node("b")
        .instances
        .get_mut(&name::<ServiceName>("db"));
    instance.unwrap().role.as_mut().unwrap().fitness = Fitness::Unknown;
    let report = failover(&unknown, true).report.to_string();
    assert!(report.contains("has not said what it lacks"), "{report}");
    assert!(failover(&unknown, false).plan.is_some());
    let unread = up(&cluster)
        .lose("a")
        .unfit("db", "b", "its lease was not read lately");
    let outcome = failover(&unread, true);
    assert!(outcome.plan.is_none(), "{}", outcome.report);
    let report = outcome.report.to_string();
    assert!(
        report.contains("it is no loss that could be accepted"),
        "{report}"
    );
}

#[test]
fn a_role_that_nobody_has_needs_no_word_that_a_machine_is_down_but_that_writes_are_lost() {
    let cluster = cluster();
    let free = cluster.all_up(&[]);
    let free = free.side("a", Side::Standby).side("b", Side::Standby);
    let failover = |seen: &Seen, accepts: bool| {
        let asked = ask(&cluster, PlanKind::Failover, services(&["db"])).seeing(seen);
        if accepts {
            asked.accepting_loss()
        } else {
            asked
        }
        .outcome()
    };
    let one = free.clone().lacks("a", Shortfall::Unknown);
    assert!(failover(&one, false).plan.is_none());
    // b has everything.
    let plan = failover(&one, true).plan.expect("a plan");
    assert_eq!(ids(plan.plan()), ["promote:db@b", "verify-role:db@b"]);
    assert_eq!(plan.plan().accepted, [].into());
    let both = one.lacks("b", Shortfall::Unknown);
    let report = failover(&both, true).report.to_string();
    assert!(report.contains("say which one with --to NODE"), "{report}");
    // Nobody's machine is down.
    let asked = ask(&cluster, PlanKind::Failover, services(&["db"])).seeing(&free);
    let report = asked.attesting(&["a"]).outcome().report.to_string();
    assert!(report.contains("leave --attest-down out"), "{report}");
}

/// The pre-checks of a report, as `SUBJECT: CHECK: VERDICT`.
fn looked_at(report: &Report) -> Vec<String> {
    let entries = report.entries().iter();
    let texts = entries.filter_map(|entry| match entry {
        Entry::PreCheck {
            subject,
            check,
            verdict,
            ..
        } => Some(format!("{subject}: {check}: {verdict}")),
        _ => None,
    });
    texts.collect()
}

#[test]
fn what_is_looked_at_before_a_move_is_listed_whether_or_not_it_stands_in_the_way() {
    let cluster = cluster().with("db", |db| {
        let address = FloatingAddress {
            ip: "10.1.0.9".parse().unwrap(),
            prefix: 24,
            interface: "eth0".into(),
            whole_interface: false,
        };
        db.primary_parts.push(Part::Address(address));
    });
    let seen = up(&cluster);
    let listed = |seen: &Seen| looked_at(&switchover(&cluster).seeing(seen).outcome().report);
    let expected = [
        "service db: primary: pass",
        "db@b: standby: pass",
        "db@b: caught-up: pass",
        "service db: third-machine: pass",
    ];
    assert_eq!(listed(&seen), expected);
    let behind = seen.clone().unfit("db", "b", "it is 9 behind");
    let outcome = switchover(&cluster).seeing(&behind).outcome();
    assert!(
        outcome.plan.is_some(),
        "the move itself waits: {}",
        outcome.report
    );
    assert!(looked_at(&outcome.report).contains(&"db@b: caught-up: fail".to_owned()));
    let alone = seen.clone().lose("w").lose("mgmt1");
    assert!(listed(&alone).contains(&"service db: third-machine: fail".to_owned()));
    let plan = switchover(&cluster).seeing(&seen).plan();
    let Action::VerifyRole { addresses, from } = &plan.steps[1].action else {
        panic!("{:?}", plan.steps[1]);
    };
    assert_eq!(addresses.iter().collect::<Vec<_>>(), ["10.1.0.9"]);
    // Whoever needs it tries it first.
    assert_eq!(*from, [name::<NodeName>("w"), name("mgmt1")]);
    let down = seen.state("db", "b", InstanceState::Stopped);
    assert!(listed(&down).contains(&"db@b: standby: fail".to_owned()));
}

#[test]
fn a_failback_goes_to_the_first_node_of_the_spec_if_that_could_take_the_role() {
    let cluster = cluster();
    let failback = || ask(&cluster, PlanKind::Failback, services(&["db"]));
    let away = up(&cluster)
        .side("a", Side::Standby)
        .side("b", Side::Primary);
    let plan = failback().seeing(&away).plan();
    assert_eq!(ids(&plan), ["promote:db@a", "verify-role:db@a"]);
    let refused = |seen: &Seen, expected: &str| {
        let lines = failback().seeing(seen).refusal();
        assert!(lines[0].contains(expected), "{lines:?}");
    };
    refused(&up(&cluster), "its role is on a already");
    let behind = away.clone().unfit("db", "a", "it is 9 behind");
    refused(
        &behind,
        "a, the first of its nodes in the spec, cannot take its role: it is 9 behind",
    );
    let down = away.clone().state("db", "a", InstanceState::Stopped);
    refused(&down, "it is down");
    let mut untold = away;
    let instances = &mut untold.node("a").instances;
    let role = instances.get_mut(&name::<ServiceName>("db")).unwrap();
    role.role.as_mut().unwrap().fitness = Fitness::Unknown;
    refused(&untold, "has not said");
}
