//! Members of load balancers: drained before they stop, admitted when they are healthy.

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckKind, HaproxyCheck, Verdict};
use interlock_model::member::MemberState;
use interlock_model::observation::{InstanceState, Wanted};
use interlock_model::plan::{Plan, PlanKind, Undo, Wait};
use interlock_planner::checker::{self, Violation};
use interlock_planner::{Outcome, Scope};

use crate::support::{
    Cluster, Seen, after, ask, check_id, checks, ids, name, nodes, precedes, services,
};

/// Two load balancers that both run, and two servers behind them.
fn web() -> Cluster {
    Cluster::new()
        .service("lb", &["lb1", "lb2"])
        .service("web", &["jb1", "jb2"])
        .check("web", "http", CheckFrom::Own)
        .member_of("web", "lb")
}

fn switches(plan: &Plan) -> Vec<&str> {
    let steps = plan.steps.iter();
    steps
        .filter(|step| step.action.member().is_some())
        .map(|step| step.id.as_str())
        .collect()
}

#[test]
fn a_rolling_restart_drains_before_the_stop_and_admits_before_the_next_batch() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let plan = ask(&cluster, PlanKind::Restart, services(&["web"]))
        .seeing(&seen)
        .plan();
    let waits = |id: &str| {
        let mut waits = after(&plan, id);
        waits.sort();
        waits
    };
    assert_eq!(waits("drain:web@jb1:lb@lb1"), [] as [&str; 0]);
    assert_eq!(
        waits("stop:web@jb1"),
        ["drain:web@jb1:lb@lb1 down", "drain:web@jb1:lb@lb2 down"]
    );
    assert_eq!(waits("start:web@jb1"), ["stop:web@jb1 down"]);
    assert_eq!(waits("admit:web@jb1:lb@lb2"), ["start:web@jb1 healthy"]);
    assert_eq!(
        waits("drain:web@jb2:lb@lb1"),
        [
            "admit:web@jb1:lb@lb1 up",
            "admit:web@jb1:lb@lb2 up",
            "start:web@jb1 healthy"
        ]
    );
    assert_eq!(plan.steps.len(), 12);
}

#[test]
fn a_drain_is_taken_back_by_an_admission_and_not_the_other_way_round_in_one_plan() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let plan = ask(&cluster, PlanKind::Restart, services(&["web"]))
        .seeing(&seen)
        .plan();
    for step in &plan.steps {
        match &step.action {
            Action::Drain { member, .. } => {
                let admit = Action::Admit {
                    member: member.clone(),
                };
                assert_eq!(step.undo, Some(Undo(Box::new(admit))));
            }
            Action::Admit { .. } => assert_eq!(step.undo, None),
            _ => {}
        }
    }
    let down = seen.state("web", "jb1", InstanceState::Stopped).state(
        "web",
        "jb2",
        InstanceState::Stopped,
    );
    let plan = ask(&cluster, PlanKind::Startup, services(&["web"]))
        .seeing(&down)
        .plan();
    for step in plan
        .steps
        .iter()
        .filter(|step| step.action.member().is_some())
    {
        let undo = step.undo.as_ref().map(|undo| undo.0.word());
        assert_eq!((step.action.word(), undo), ("admit", Some("drain")));
    }
}

#[test]
fn a_balancer_that_does_not_run_is_not_told_and_one_of_which_nothing_is_known_refuses() {
    let cluster = web();
    let restart = |seen| ask(&cluster, PlanKind::Restart, services(&["web"])).seeing(seen);
    let one = cluster
        .all_up(&[])
        .state("lb", "lb2", InstanceState::Stopped);
    let plan = restart(&one).plan();
    assert_eq!(
        switches(&plan),
        [
            "drain:web@jb1:lb@lb1",
            "admit:web@jb1:lb@lb1",
            "drain:web@jb2:lb@lb1",
            "admit:web@jb2:lb@lb1"
        ]
    );
    let unknown = cluster
        .all_up(&[])
        .state("lb", "lb2", InstanceState::Unknown);
    let refusal = restart(&unknown).refusal();
    assert!(refusal[0].contains("lb@lb2"), "{refusal:?}");
}

#[test]
fn nothing_is_drained_when_the_balancer_goes_too() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let shutdown = |scope| {
        ask(&cluster, PlanKind::Shutdown, scope)
            .seeing(&seen)
            .plan()
    };
    assert_eq!(switches(&shutdown(Scope::All)), [] as [&str; 0]);
    let plan = shutdown(services(&["web"]));
    assert_eq!(switches(&plan).len(), 4, "{:?}", ids(&plan));
    // The one that goes takes what it balances with it; the one that stays is told.
    let plan = shutdown(nodes(&["jb1", "lb1"]));
    assert_eq!(switches(&plan), ["drain:web@jb1:lb@lb2"]);
}

#[test]
fn a_startup_admits_where_the_balancer_runs_or_is_started() {
    let cluster = web().edge("web", "lb", false, Wait::None, Wait::None);
    let mut seen = cluster
        .all_up(&[])
        .state("lb", "lb1", InstanceState::Stopped);
    for node in ["jb1", "jb2"] {
        seen.set("web", node, InstanceState::Stopped);
    }
    let plan = ask(&cluster, PlanKind::Startup, services(&["web", "lb"]))
        .seeing(&seen)
        .plan();
    assert_eq!(switches(&plan).len(), 4, "{:?}", ids(&plan));
    let admit = "admit:web@jb1:lb@lb1";
    assert!(precedes(&plan, "start:web@jb1", Wait::Healthy, admit));
    assert!(precedes(&plan, "start:lb@lb1", Wait::Healthy, admit));
}

#[test]
fn a_startup_brings_back_what_runs_and_was_left_out_as_soon_as_it_is_healthy() {
    let cluster = web().service("db", &["db1"]).requires("web", &["db"]);
    let mut seen = cluster.all_up(&[]);
    let startup = |seen: &Seen| {
        ask(&cluster, PlanKind::Startup, services(&["web"]))
            .seeing(seen)
            .plan()
    };
    assert_eq!(ids(&startup(&seen)), [] as [&str; 0]);
    for state in [MemberState::Maint, MemberState::Drain] {
        seen.member(("web", "jb1"), ("lb", "lb2"), state);
        let plan = startup(&seen);
        assert_eq!(ids(&plan), ["check:web@jb1", "admit:web@jb1:lb@lb2"]);
        assert_eq!(
            after(&plan, "admit:web@jb1:lb@lb2"),
            ["check:web@jb1 healthy"]
        );
        assert_eq!(checks(&plan, "check:web@jb1").1, ["web.http@jb1"]);
        let undo = plan.steps[1].undo.as_ref().map(|undo| undo.0.word());
        assert_eq!(undo, Some("drain"), "it was out before");
    }
    // Not where nothing is switched, in another scope, or where the balancer itself finds it down.
    let db = ask(&cluster, PlanKind::Startup, services(&["db"])).seeing(&seen);
    assert_eq!(ids(&db.plan()), [] as [&str; 0]);
    seen.set("lb", "lb2", InstanceState::Stopped);
    assert_eq!(ids(&startup(&seen)), [] as [&str; 0]);
    let mut down = cluster.all_up(&[]);
    down.member(("web", "jb1"), ("lb", "lb2"), MemberState::Down);
    assert_eq!(ids(&startup(&down)), [] as [&str; 0]);
}

#[test]
fn what_is_brought_back_waits_for_what_it_requires_and_need_not_be_healthy_before() {
    let cluster = web().service("db", &["db1"]).requires("web", &["db"]);
    let mut seen = cluster
        .all_up(&[])
        .state("db", "db1", InstanceState::Stopped)
        .saying("web.http", "jb1", Verdict::Bad);
    seen.member(("web", "jb1"), ("lb", "lb1"), MemberState::Maint);
    let plan = ask(&cluster, PlanKind::Startup, services(&["web", "db"]))
        .seeing(&seen)
        .plan();
    assert_eq!(
        ids(&plan),
        ["start:db@db1", "check:web@jb1", "admit:web@jb1:lb@lb1"]
    );
    assert_eq!(after(&plan, "check:web@jb1"), ["start:db@db1 healthy"]);
}

#[test]
fn an_admission_of_what_runs_is_caught_where_it_does_not_wait_or_is_not_due() {
    let cluster = web();
    let mut out = cluster.all_up(&[]);
    out.member(("web", "jb1"), ("lb", "lb1"), MemberState::Maint);
    let plan = ask(&cluster, PlanKind::Startup, services(&["web"]))
        .seeing(&out)
        .plan();
    assert_eq!(checker::check(&cluster.0, &plan, Some(&out.0)), []);
    let caught = |plan: &Plan, seen: &Seen| {
        let found = checker::check(&cluster.0, plan, Some(&seen.0));
        let wrong = |it: &Violation| matches!(it, Violation::WrongAction { .. });
        assert!(found.iter().any(wrong), "{found:?}");
    };
    caught(&plan, &cluster.all_up(&[]));
    let mut early = plan.clone();
    step(&mut early, "admit:web@jb1:lb@lb1").after.clear();
    caught(&early, &out);
    let mut unchecked = early;
    unchecked
        .steps
        .retain(|it| it.id.as_str() != "check:web@jb1");
    caught(&unchecked, &out);
}

#[test]
fn a_startup_admits_what_runs_in_a_balancer_that_it_starts() {
    let cluster = web();
    // It is put to what it was put to when it starts, and nobody sees that before.
    let seen = cluster
        .all_up(&[])
        .state("lb", "lb1", InstanceState::Stopped);
    let plan = ask(&cluster, PlanKind::Startup, services(&["lb", "web"]))
        .seeing(&seen)
        .plan();
    assert_eq!(
        switches(&plan),
        ["admit:web@jb1:lb@lb1", "admit:web@jb2:lb@lb1"]
    );
    let admit = "admit:web@jb1:lb@lb1";
    assert!(precedes(&plan, "start:lb@lb1", Wait::Healthy, admit));
    assert!(precedes(&plan, "check:web@jb1", Wait::Healthy, admit));
}

#[test]
fn a_balancer_is_never_restarted_while_its_members_are() {
    for (member_first, edge) in [(false, None), (true, Some(("lb", "web")))] {
        let mut cluster = web();
        if let Some((then, first)) = edge {
            cluster = cluster.requires(then, &[first]);
        }
        let seen = cluster.all_up(&[]);
        let plan = ask(&cluster, PlanKind::Restart, services(&["web", "lb"]))
            .seeing(&seen)
            .plan();
        assert_eq!(switches(&plan).len(), 8);
        let (first, then) = if member_first {
            (("admit:web@jb2:lb@lb1", Wait::Up), "stop:lb@lb1")
        } else {
            (("start:lb@lb2", Wait::Healthy), "drain:web@jb1:lb@lb1")
        };
        assert!(precedes(&plan, first.0, first.1, then), "{:#?}", plan.steps);
    }
}

#[test]
fn machines_that_restart_one_after_the_other_are_drained_where_the_balancer_stays() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let reboot = |batch| {
        ask(&cluster, PlanKind::Reboot, nodes(&["jb1", "lb1"]))
            .seeing(&seen)
            .batch(batch)
            .plan()
    };
    assert_eq!(
        switches(&reboot(1)),
        [
            "drain:web@jb1:lb@lb1",
            "drain:web@jb1:lb@lb2",
            "admit:web@jb1:lb@lb1",
            "admit:web@jb1:lb@lb2"
        ]
    );
    assert_eq!(
        switches(&reboot(2)),
        ["drain:web@jb1:lb@lb2", "admit:web@jb1:lb@lb2"]
    );
}

#[test]
fn a_member_that_is_not_switched_as_the_spec_says_is_caught() {
    type Tamper = fn(&mut Plan);
    let cases: [(&str, Tamper); 6] = [
        ("a drain that nobody waits for", |plan| {
            step(plan, "stop:web@jb1").after.remove(0);
        }),
        ("a next batch that does not wait for an admission", |plan| {
            for id in ["drain:web@jb2:lb@lb1", "stop:web@jb2"] {
                step(plan, id)
                    .after
                    .retain(|after| !after.step.as_str().starts_with("admit"));
            }
        }),
        ("an admission too early", |plan| {
            step(plan, "admit:web@jb1:lb@lb1").after[0].until = Wait::Up;
        }),
        ("another server", |plan| {
            if let Action::Admit { member } = &mut step(plan, "admit:web@jb1:lb@lb1").action {
                member.server = "jb2".into();
            }
        }),
        ("no admission", |plan| {
            plan.steps
                .retain(|step| step.id.as_str() != "admit:web@jb2:lb@lb2");
        }),
        ("no way back", |plan| {
            step(plan, "drain:web@jb1:lb@lb1").undo = None
        }),
    ];
    let cluster = web();
    for (what, tamper) in cases {
        let mut plan = ask(&cluster, PlanKind::Restart, services(&["web"])).plan();
        assert_eq!(
            checker::check(&cluster.0, &plan, None),
            [],
            "before: {what}"
        );
        tamper(&mut plan);
        let found = checker::check(&cluster.0, &plan, None);
        let caught = found.iter().any(|violation| {
            matches!(
                violation,
                Violation::NotSwitched { .. }
                    | Violation::NotInSpec { .. }
                    | Violation::WrongUndo { .. }
            )
        });
        assert!(caught, "{what}: {found:?}");
    }
}

fn step<'p>(plan: &'p mut Plan, id: &str) -> &'p mut interlock_model::plan::Step {
    let mut steps = plan.steps.iter_mut();
    steps.find(|step| step.id.as_str() == id).unwrap()
}

#[test]
fn an_instance_that_is_healthy_and_out_of_a_load_balancer_does_not_count() {
    let cluster = Cluster::new()
        .service("lb", &["lb1", "lb2"])
        .service("web", &["jb1", "jb2", "jb3"])
        .check("web", "http", CheckFrom::Own)
        .with("web", |web| web.at_least = 2)
        .member_of("web", "lb");
    let restart = |seen: &Seen| {
        let asked = ask(&cluster, PlanKind::Restart, services(&["web"]));
        let report = asked.seeing(seen).outcome().report;
        let refusals = report.refusals().map(ToString::to_string);
        refusals.collect::<Vec<String>>()
    };
    let all = cluster.all_up(&[]);
    assert_eq!(restart(&all), [] as [String; 0]);
    let short =
        "capacity: service web has 2 in service, the plan would leave 1, at least 2 must stay";
    // Out of one of two is out, and so is what nobody knows of.
    for state in [
        MemberState::Maint,
        MemberState::Drain,
        MemberState::Down,
        MemberState::Unknown,
    ] {
        let mut seen = all.clone();
        seen.member(("web", "jb2"), ("lb", "lb2"), state);
        assert_eq!(restart(&seen), [short], "{state}");
    }
    // A load balancer that does not run has nobody out.
    let mut seen = all.clone();
    seen.member(("web", "jb2"), ("lb", "lb2"), MemberState::Maint);
    seen.set("lb", "lb2", InstanceState::Stopped);
    assert_eq!(restart(&seen), [] as [String; 0]);
}

#[test]
fn a_balancer_that_starts_leaves_out_who_is_down_and_stays_so() {
    let servers = CheckKind::Haproxy(HaproxyCheck {
        socket: "/run/haproxy.sock".to_owned(),
        backends: Vec::new(),
    });
    let from = CheckFrom::Nodes(vec![name("lb1")]);
    let cluster = Cluster::new()
        .service("lb", &["lb1"])
        .service("web", &["jb1", "jb2", "jb3"])
        .check_of("lb", "servers", from, servers)
        .member_of("web", "lb");
    let startup = |scope, seen: &Seen| {
        ask(&cluster, PlanKind::Startup, scope)
            .seeing(seen)
            .outcome()
    };
    let drains = |outcome: &Outcome| -> Vec<String> {
        let plan = outcome.plan.as_ref().unwrap().plan();
        let switches = switches(plan).into_iter();
        let drains = switches.filter(|id| id.starts_with("drain"));
        drains.map(str::to_owned).collect()
    };
    let stopped = |seen: Seen, service, node| seen.state(service, node, InstanceState::Stopped);
    let down = stopped(stopped(cluster.all_up(&[]), "lb", "lb1"), "web", "jb3");
    let outcome = startup(services(&["lb"]), &down);
    assert_eq!(drains(&outcome), ["drain:web@jb3:lb@lb1"]);
    let plan = outcome.plan.as_ref().unwrap().plan();
    assert_eq!(after(plan, "drain:web@jb3:lb@lb1"), ["start:lb@lb1 up"]);
    let step = plan
        .steps
        .iter()
        .find(|it| it.id.as_str().starts_with("drain"));
    assert!(
        step.unwrap().undo.is_none(),
        "nobody is there to be admitted"
    );
    let told = outcome.report.to_string();
    assert!(told.contains("lb@lb1 is told to leave it out"), "{told}");

    // Also one whose agent has been told that it should run: what has ended cleanly stays down. Of one that failed its guard is
    // waited for, until that gives up.
    let wanted = |state, given_up| {
        let mut seen = stopped(cluster.all_up(&[]), "lb", "lb1").state("web", "jb3", state);
        let web = seen.node("jb3").instances.get_mut("web").unwrap();
        (web.wanted, web.given_up) = (Some(Wanted::Running), given_up);
        drains(&startup(services(&["lb"]), &seen)).len()
    };
    assert_eq!(wanted(InstanceState::Stopped, false), 1);
    assert_eq!(wanted(InstanceState::Failed, false), 0);
    assert_eq!(wanted(InstanceState::Failed, true), 1);

    // Who is started is no such one, nor who may be there, which is told; and one that runs already waits for nobody.
    assert!(drains(&startup(services(&["lb", "web"]), &down)).is_empty());
    let lost = stopped(cluster.all_up(&[]), "lb", "lb1").lose("jb3");
    let outcome = startup(services(&["lb"]), &lost);
    assert!(drains(&outcome).is_empty());
    let told = outcome.report.to_string();
    assert!(told.contains("--force lb.servers"), "{told}");
    let runs = stopped(stopped(cluster.all_up(&[]), "web", "jb2"), "web", "jb3");
    assert!(drains(&startup(nodes(&["jb2"]), &runs)).is_empty());
    let forced = ask(&cluster, PlanKind::Startup, services(&["lb"])).seeing(&down);
    assert!(drains(&forced.forcing("lb.servers").outcome()).is_empty());

    // Others that start with it, and before it, are admitted whenever that one is left out.
    let after_all = Cluster(cluster.0.clone()).requires("lb", &["web"]);
    let more = stopped(down.clone(), "web", "jb2");
    let both = ask(&after_all, PlanKind::Startup, nodes(&["lb1", "jb2"])).seeing(&more);
    assert_eq!(drains(&both.outcome()), ["drain:web@jb3:lb@lb1"]);
    // A restart waits for it in the same way.
    let one_away = stopped(cluster.all_up(&[]), "web", "jb3");
    let restart = ask(&cluster, PlanKind::Restart, services(&["lb"])).seeing(&one_away);
    assert_eq!(drains(&restart.outcome()), ["drain:web@jb3:lb@lb1"]);
    // One after the other it cannot be: that is told.
    let serial = ask(&cluster, PlanKind::Startup, services(&["lb"])).seeing(&down);
    let serial = serial.serial().outcome();
    assert!(drains(&serial).is_empty());
    assert!(serial.report.to_string().contains("--serial"));

    // Only of who is down, and only when the balancer is up.
    let mut early = plan.clone();
    let drain = early
        .steps
        .iter_mut()
        .find(|it| it.id.as_str().starts_with("drain"));
    drain.unwrap().after.clear();
    assert!(!checker::check(&cluster.0, &early, Some(&down.0)).is_empty());
    let up = stopped(cluster.all_up(&[]), "lb", "lb1");
    assert!(!checker::check(&cluster.0, plan, Some(&up.0)).is_empty());
    // Nor of who has failed and is brought back by its guard, nor where nobody looks at the servers.
    let guarded = down.clone().state("web", "jb3", InstanceState::Failed);
    let guarded = guarded.wanted("web", "jb3", Wanted::Running);
    let objects = |plan: &Plan, seen: &Seen| {
        let found = checker::check(&cluster.0, plan, Some(&seen.0));
        found
            .iter()
            .any(|it| matches!(it, Violation::WrongAction { .. }))
    };
    assert!(!objects(plan, &down));
    assert!(objects(plan, &guarded));
    let mut blind = plan.clone();
    blind.forced = [check_id("lb.servers")].into();
    assert!(objects(&blind, &down));
}
