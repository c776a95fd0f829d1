//! A machine is switched off only if nothing speaks against it, and what was said of it is believed only if it fits.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Applied, By, Coordinator, Event, Fencing, FromAgent, Hello, Loaded, Lost, NotFenced, Output,
    PlugList, Scope, ToAgent,
};
use interlock_engine::lease::Clock;
use interlock_model::action::{FenceAction, Power};
use interlock_model::ids::{BootId, OperationId, Term};
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
control: { coordinators: [mgmt] }
power: { box: { fence: fence_sim, via: [mgmt, a] } }
nodes:
  mgmt: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, networks: { service: 10.1.0.2 }, power: { by: box, plug: p1 } }
  b: { address: 10.0.0.3, power: { by: box, plug: p2 } }
  c: { address: 10.0.0.4 }
services:
  db:
    nodes: [a, b]
    active: one
    parts: [{ address: { ip: 10.1.0.10/24, interface: eth0 } }]
    failover: { automatic: true, fence: off, budget: 2, window: 10m }
";

fn at(millis: u64) -> Now {
    Now {
        mono: Duration::from_millis(millis),
        wall: Timestamp(millis),
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn db() -> ServiceName {
    "db".parse().unwrap()
}

fn parsed(spec: &str) -> Arc<Spec> {
    let parsed = Spec::parse(spec.as_bytes(), "bench.yaml");
    let spec = parsed.map_err(|problems| problems.render(spec.as_bytes()));
    Arc::new(spec.unwrap_or_else(|why| panic!("{why}")).spec)
}

fn hello(coordinator: &mut Coordinator, name: &str, now: Now) {
    let hello = Hello {
        boot: BootId("boot".into()),
        ..Hello::default()
    };
    coordinator.agent(&node(name), FromAgent::Hello(Box::new(hello)), now);
}

/// Everybody was heard at 1 s; a's plug is verified by a person's word.
fn bench(spec: &str) -> Coordinator {
    bench_in(Term(1), spec)
}

fn bench_in(term: Term, spec: &str) -> Coordinator {
    let mut coordinator = Coordinator::recover(term, Loaded::default()).unwrap();
    let spec = parsed(spec);
    coordinator.apply_spec(spec, String::new(), String::new(), "admin", at(1));
    for name in ["mgmt", "a", "b", "c"] {
        hello(&mut coordinator, name, at(1000));
    }
    coordinator
}

fn verify(coordinator: &mut Coordinator) {
    let a = [node("a")];
    coordinator.begin_verification(&a, at(1000));
    let mut sends = VecDeque::from(coordinator.take_output().sends);
    while let Some(send) = sends.pop_front() {
        if let ToAgent::AskPower { ask, call } = send.message {
            let answer = match call.action {
                FenceAction::List => FromAgent::Plugs {
                    ask,
                    list: PlugList::NotOffered,
                },
                _ => power(ask, "a", Power::On),
            };
            coordinator.agent(&node("mgmt"), answer, at(1000));
            sends.extend(coordinator.take_output().sends);
        }
    }
    let looked = Some("seen on the console");
    coordinator.finding(&a[0], Duration::ZERO, true, looked, "anna", at(1000));
    assert!(coordinator.verification(&a[0]).is_some());
    drop(coordinator.take_output());
}

/// The same, and its plug is verified.
fn verified() -> Coordinator {
    let mut coordinator = bench(SPEC);
    verify(&mut coordinator);
    coordinator
}

fn power(ask: u64, about: &str, power: Power) -> FromAgent {
    FromAgent::Power {
        ask,
        node: node(about),
        power,
        detail: "as told".to_owned(),
    }
}

/// The primary of a service on this machine is lost.
fn lost(service: &ServiceName, machine: &str, now: Now) -> Lost {
    Lost {
        service: service.clone(),
        epoch: Epoch(4),
        node: node(machine),
        operation: None,
        asked: Clock {
            boottime: now.mono,
            raw: now.mono,
        },
    }
}

/// What came of the last order to switch a off for db.
fn answer(coordinator: &Coordinator, service: &ServiceName) -> Option<Power> {
    let fencing = coordinator.fencing(&node("a"), service).unwrap();
    fencing.answer.as_ref().map(|(power, _)| *power)
}

/// While everybody else speaks.
fn fence(coordinator: &mut Coordinator, now: Now) -> Result<u64, NotFenced> {
    let fencing = fence_for(coordinator, &db(), now)?;
    Ok(fencing.order)
}

fn fence_for(
    coordinator: &mut Coordinator,
    service: &ServiceName,
    now: Now,
) -> Result<Fencing, NotFenced> {
    for name in ["mgmt", "b", "c"] {
        if coordinator.view().connected(&node(name)) {
            coordinator.agent(&node(name), FromAgent::Heartbeat, now);
        }
    }
    coordinator.fence(&lost(service, "a", now), now)
}

fn events(output: &Output) -> Vec<String> {
    let events = output.writes.iter().filter_map(|it| it.value.as_deref());
    let events = events.filter_map(|it| serde_json::from_slice::<Event>(it).ok());
    events.map(|it| it.kind).collect()
}

/// The order to switch a off, and whom it went to.
fn ordered(output: &Output) -> Option<(String, u64)> {
    output.sends.iter().find_map(|send| match &send.message {
        ToAgent::SwitchOff { order, call } => {
            assert_eq!((call.action, call.plug.as_str()), (FenceAction::Off, "p1"));
            Some((send.to.to_string(), *order))
        }
        _ => None,
    })
}

#[test]
fn it_is_ordered_with_its_event_and_the_answer_is_kept() {
    let mut coordinator = verified();
    let order = fence(&mut coordinator, at(3300)).unwrap();
    let output = coordinator.take_output();
    assert_eq!(ordered(&output), Some(("mgmt".to_owned(), order)));
    assert_eq!(events(&output), ["node-fencing"]);
    assert_eq!(fence(&mut coordinator, at(3400)), Err(NotFenced::UnderWay));

    let via = node("mgmt");
    coordinator.agent(&via, power(order + 7, "a", Power::Off), at(3500));
    assert_eq!(answer(&coordinator, &db()), None);
    coordinator.agent(&via, power(order, "a", Power::Off), at(4000));
    assert_eq!(answer(&coordinator, &db()), Some(Power::Off));
    assert_eq!(events(&coordinator.take_output()), ["node-fenced"]);
    assert!(!coordinator.view().connected(&node("a")));
}

/// The same, with a service more on the same machines.
fn with_two() -> (Coordinator, ServiceName) {
    let (_, service) = SPEC.split_once("  db:\n").unwrap();
    let more = service.replace("10.1.0.10", "10.1.0.11");
    let mut coordinator = bench(&format!("{SPEC}  web:\n{more}"));
    verify(&mut coordinator);
    (coordinator, "web".parse().unwrap())
}

#[test]
fn an_answer_to_a_question_of_another_coordinator_is_none() {
    let mut before = verified();
    let late = fence(&mut before, at(3300)).unwrap();
    let mut coordinator = bench_in(Term(2), SPEC);
    verify(&mut coordinator);
    let order = fence(&mut coordinator, at(3300)).unwrap();
    coordinator.agent(&node("mgmt"), power(late, "a", Power::Off), at(3400));
    assert_eq!(answer(&coordinator, &db()), None);

    // The same process goes on with what the store holds.
    let mut after = bench_in(Term(2), SPEC);
    after.numbers_after(&coordinator);
    verify(&mut after);
    assert!(fence(&mut after, at(3300)).unwrap() > order);
}

#[test]
fn nobody_answers_for_another_one_who_was_asked() {
    let mut coordinator = verified();
    let order = fence(&mut coordinator, at(3300)).unwrap();
    coordinator.agent(&node("b"), power(order, "a", Power::Off), at(3400));
    assert_eq!(answer(&coordinator, &db()), None);

    // What is only asked for is not believed of anybody either.
    let mut asks = bench(SPEC);
    asks.ask_power(&node("b"), at(3000));
    let sends = asks.take_output().sends;
    let ask = sends.iter().find_map(|send| match &send.message {
        ToAgent::AskPower { ask, .. } => Some(*ask),
        _ => None,
    });
    asks.session_closed(&node("b"));
    for (from, off) in [("c", false), ("mgmt", true)] {
        let answer = power(ask.unwrap(), "b", Power::Off);
        asks.agent(&node(from), answer, at(9000));
        assert_eq!(asks.view().is_off(&node("b")), off, "{from}");
    }
}

#[test]
fn a_machine_is_switched_off_once_for_all_whose_primary_it_has() {
    let (mut coordinator, web) = with_two();
    let first = fence_for(&mut coordinator, &db(), at(3300)).unwrap();
    let shared = fence_for(&mut coordinator, &web, at(3500)).unwrap();
    // What is confirmed is so of the boot that was there when it was asked.
    assert_eq!(
        (shared.order, shared.of_leases),
        (first.order, first.of_leases)
    );
    assert_eq!(
        fence_for(&mut coordinator, &web, at(3510)),
        Err(NotFenced::UnderWay)
    );
    let output = coordinator.take_output();
    let orders = output.sends.iter();
    let orders = orders.filter(|it| matches!(it.message, ToAgent::SwitchOff { .. }));
    assert_eq!(orders.count(), 1);
    let off = power(first.order, "a", Power::Off);
    coordinator.agent(&node("mgmt"), off, at(4000));
    for service in [&db(), &web] {
        assert_eq!(answer(&coordinator, service), Some(Power::Off));
    }
    // Who was not helped by it asks anew, and what it was to the other one stays.
    let again = fence_for(&mut coordinator, &db(), at(4100)).unwrap();
    assert!(again.order > first.order);
    assert_eq!(answer(&coordinator, &db()), None);
    assert_eq!(answer(&coordinator, &web), Some(Power::Off));
}

#[test]
fn what_was_confirmed_for_one_service_is_so_for_another_one_until_the_machine_speaks() {
    let (mut coordinator, web) = with_two();
    let first = fence_for(&mut coordinator, &db(), at(3300)).unwrap();
    let off = power(first.order, "a", Power::Off);
    coordinator.agent(&node("mgmt"), off, at(4000));
    let shared = fence_for(&mut coordinator, &web, at(4100)).unwrap();
    assert_eq!(
        (shared.order, shared.of_leases),
        (first.order, first.of_leases)
    );
    assert_eq!(answer(&coordinator, &web), Some(Power::Off));

    for (said, spoke) in [(Power::Unknown, false), (Power::Off, true)] {
        let (mut coordinator, web) = with_two();
        let first = fence_for(&mut coordinator, &db(), at(3300)).unwrap();
        let answered = power(first.order, "a", said);
        coordinator.agent(&node("mgmt"), answered, at(4000));
        if spoke {
            hello(&mut coordinator, "a", at(4050));
        }
        let own = fence_for(&mut coordinator, &web, at(9000)).unwrap();
        assert!(own.order > first.order, "{said:?} {spoke}");
    }
}

#[test]
fn what_speaks_against_it_keeps_it_off() {
    let mut unverified = bench(SPEC);
    let why = fence(&mut unverified, at(3300)).unwrap_err();
    assert_eq!(why, NotFenced::Unverified(node("a")));

    let mut heard = verified();
    heard.agent(&node("a"), FromAgent::Heartbeat, at(1100));
    let why = fence(&mut heard, at(3300)).unwrap_err();
    assert!(matches!(why, NotFenced::Heard { .. }), "{why}");

    let mut maintained = verified();
    let by = By {
        who: "anna",
        why: "disks",
    };
    let hour = Duration::from_secs(3600);
    let entered = maintained.enter_maintenance(Scope::Node(node("a")), hour, by, at(2000));
    entered.unwrap();
    let why = fence(&mut maintained, at(3300)).unwrap_err();
    assert!(matches!(why, NotFenced::Maintenance(_)), "{why}");

    let mut spent = verified();
    for millis in [1000, 1001] {
        spent.failover_counted(&db(), at(millis));
    }
    let why = fence(&mut spent, at(3300)).unwrap_err();
    assert!(matches!(why, NotFenced::Budget(_)), "{why}");

    // Of the nodes that reach its source one is gone, and the other one is itself.
    let mut alone = verified();
    alone.session_closed(&node("mgmt"));
    let why = fence(&mut alone, at(3300)).unwrap_err();
    assert!(matches!(why, NotFenced::NoVia(_)), "{why}");

    for mut coordinator in [unverified, heard, maintained, alone] {
        assert_eq!(ordered(&coordinator.take_output()), None);
    }
}

#[test]
fn who_is_cut_off_with_others_and_who_may_be_starting_is_left_alone() {
    // All were heard within the last period before they were cut off, and this is the first moment for any of them.
    let mut cut = verified();
    for (name, last) in [("mgmt", 3300), ("a", 1050), ("b", 1999), ("c", 1500)] {
        cut.agent(&node(name), FromAgent::Heartbeat, at(last));
    }
    let asked = |it: &mut Coordinator, now| it.fence(&lost(&db(), "a", now), now);
    let why = asked(&mut cut, at(3300)).unwrap_err();
    assert!(matches!(why, NotFenced::Doubted(_)), "{why}");

    // For an operation, too: a person wants the machine left alone.
    let mut maintained = verified();
    let by = By {
        who: "anna",
        why: "disks",
    };
    let hour = Duration::from_secs(3600);
    let entered = maintained.enter_maintenance(Scope::Node(node("a")), hour, by, at(2000));
    entered.unwrap();
    for name in ["mgmt", "b", "c"] {
        maintained.agent(&node(name), FromAgent::Heartbeat, at(3300));
    }
    let wanted = Lost {
        operation: Some(OperationId(7)),
        ..lost(&db(), "a", at(3300))
    };
    let why = maintained.fence(&wanted, at(3300)).unwrap_err();
    assert!(matches!(why, NotFenced::Maintenance(_)), "{why}");

    // Another coordinator takes over, and hears the others.
    let before = verified();
    let loaded = Loaded {
        applied: before.applied().cloned(),
        verified: [(node("a"), before.verification(&node("a")).unwrap().clone())].into(),
        ..Loaded::default()
    };
    let mut other = Coordinator::recover(Term(2), loaded).unwrap();
    hello(&mut other, "mgmt", at(1000));
    hello(&mut other, "b", at(1000));
    for name in ["mgmt", "b"] {
        other.agent(&node(name), FromAgent::Heartbeat, at(9000));
    }
    // Two of four are cut off from it, as far as it knows: no more than half.
    let why = asked(&mut other, at(9000)).unwrap_err();
    assert_eq!(why, NotFenced::NeverHeard(node("a")));
    for name in ["mgmt", "b"] {
        other.agent(&node(name), FromAgent::Heartbeat, at(400_000));
    }
    asked(&mut other, at(400_000)).unwrap();

    let loaded = Loaded {
        applied: before.applied().cloned(),
        verified: [(node("a"), before.verification(&node("a")).unwrap().clone())].into(),
        ..Loaded::default()
    };
    let mut alone = Coordinator::recover(Term(2), loaded).unwrap();
    hello(&mut alone, "mgmt", at(1000));
    alone.agent(&node("mgmt"), FromAgent::Heartbeat, at(400_000));
    let why = asked(&mut alone, at(400_000)).unwrap_err();
    assert!(matches!(why, NotFenced::Doubted(_)), "{why}");
}

#[test]
fn off_of_a_machine_that_spoke_meanwhile_and_silence_of_the_source_are_unknown() {
    let mut spoke = verified();
    let order = fence(&mut spoke, at(3300)).unwrap();
    spoke.agent(&node("a"), FromAgent::Heartbeat, at(3400));
    spoke.agent(&node("mgmt"), power(order, "a", Power::Off), at(3500));

    let mut silent = verified();
    fence(&mut silent, at(3300)).unwrap();
    silent.tick(at(60_000));

    for mut coordinator in [spoke, silent] {
        assert_eq!(answer(&coordinator, &db()), Some(Power::Unknown));
        let told = events(&coordinator.take_output());
        assert!(told.contains(&"fence-failed".to_owned()), "{told:?}");
    }
}

#[test]
fn others_are_asked_at_every_address_and_only_what_they_found_counts() {
    let mut coordinator = verified();
    coordinator.session_closed(&node("a"));
    coordinator.ask_others(&node("a"), at(3000));
    let mut asked = BTreeMap::new();
    for send in coordinator.take_output().sends {
        if let ToAgent::TryToReach { ask, addresses, .. } = send.message {
            let all: Vec<String> = addresses.into_iter().collect();
            assert_eq!(all, ["10.0.0.2", "10.1.0.2"]);
            asked.insert(send.to.to_string(), ask);
        }
    }
    let who: Vec<&String> = asked.keys().collect();
    assert_eq!(who, ["b", "c", "mgmt"]);
    let found = |ask, reached| FromAgent::Tried {
        ask,
        node: node("a"),
        reached,
        detail: String::new(),
    };
    coordinator.agent(&node("b"), found(asked["b"], Some(false)), at(3300));
    coordinator.agent(&node("c"), found(asked["c"], None), at(3300));
    // Not what it was asked.
    coordinator.agent(&node("mgmt"), found(asked["b"], Some(true)), at(3300));
    let tries: Vec<(String, bool, Duration)> = coordinator
        .tries(&node("a"))
        .map(|(who, tried)| (who.to_string(), tried.reached, tried.asked))
        .collect();
    assert_eq!(tries, [("b".to_owned(), false, at(3000).mono)]);
    // Whoever has not answered is not asked again at once.
    coordinator.ask_others(&node("a"), at(3400));
    let again = coordinator.take_output().sends;
    let tries = again
        .iter()
        .filter(|it| matches!(it.message, ToAgent::TryToReach { .. }));
    let again: Vec<String> = tries.map(|send| send.to.to_string()).collect();
    assert_eq!(again, ["b", "c"]);
}

#[test]
fn when_many_fall_silent_at_once_the_coordinator_doubts_itself() {
    let silent = |spec: &str, times: &[(&str, u64)]| {
        let mut coordinator = bench(spec);
        for name in ["mgmt", "a", "b", "c"] {
            let last = times.iter().find(|(silent, _)| *silent == name);
            let last = last.map_or(60_000, |(_, at)| *at);
            coordinator.agent(&node(name), FromAgent::Heartbeat, at(last));
        }
        coordinator.doubts_itself(at(60_500))
    };
    let three = [("a", 50_000), ("b", 52_000), ("c", 57_000)];
    let doubt = silent(SPEC, &three).unwrap();
    assert!(doubt.starts_with("3 of 4 nodes"), "{doubt}");
    // One after the other, few, or with their host: that is what breaks.
    assert_eq!(
        silent(SPEC, &[("a", 2000), ("b", 30_000), ("c", 57_000)]),
        None
    );
    assert_eq!(silent(SPEC, &[("a", 50_000), ("b", 50_000)]), None);
    let hosted = SPEC
        .replace("address: 10.0.0.2,", "address: 10.0.0.2, host: h1,")
        .replace("address: 10.0.0.3,", "address: 10.0.0.3, host: h1,")
        .replace("address: 10.0.0.4 ", "address: 10.0.0.4, host: h1 ")
        .replace("nodes:\n  mgmt", "hosts: { h1: {} }\nnodes:\n  mgmt");
    assert_eq!(silent(&hosted, &three), None);
}

#[test]
fn a_budget_that_is_spent_stays_so_until_a_person_says_otherwise() {
    let mut coordinator = verified();
    let may = |coordinator: &mut Coordinator, millis| coordinator.may_fail_over(&db(), at(millis));
    for millis in [10_000, 20_000] {
        may(&mut coordinator, millis).unwrap();
        coordinator.failover_counted(&db(), at(millis));
    }
    let counts = coordinator.failover_counts(&db(), at(20_001));
    assert_eq!(counts.key, "/failovers/db");
    let block = may(&mut coordinator, 30_000).unwrap_err();
    assert!(
        block
            .to_string()
            .contains("interlockctl unblock --service db --reason TEXT"),
        "{block}"
    );
    assert_eq!(events(&coordinator.take_output()), ["failover-blocked"]);
    // The window slides on; the block does not, and is told once.
    may(&mut coordinator, 10_000_000).unwrap_err();
    assert!(coordinator.take_output().is_empty());

    // Another coordinator takes over what is in the store.
    let applied: Option<Applied> = coordinator.applied().cloned();
    let loaded = Loaded {
        applied,
        blocks: vec![block.clone()],
        counted: [(db(), vec![Timestamp(10_000), Timestamp(20_000)])].into(),
        ..Loaded::default()
    };
    let mut other = Coordinator::recover(Term(2), loaded).unwrap();
    assert_eq!(may(&mut other, 10_000_000), Err(block.clone()));
    let by = |why| By { who: "anna", why };
    assert!(other.unblock(Some(&db()), by(" "), at(1)).is_err());
    let web: ServiceName = "web".parse().unwrap();
    assert!(other.unblock(Some(&web), by("x"), at(1)).is_err());
    assert_eq!(
        other.unblock(Some(&db()), by("a loose cable"), at(30_001)),
        Ok(vec![block])
    );
    assert_eq!(events(&other.take_output()), ["failover-unblocked"]);
    may(&mut other, 30_002).unwrap();
}

#[test]
fn a_budget_slides_and_that_of_the_cluster_holds_for_every_service() {
    let mut sliding = verified();
    for millis in [0, 599_000] {
        sliding.failover_counted(&db(), at(millis));
    }
    sliding.may_fail_over(&db(), at(600_000)).unwrap();

    let storm = SPEC.replace("coordinators: [mgmt]", "coordinators: [mgmt], failovers: 3");
    let mut coordinator = bench(&storm);
    let other: ServiceName = "other".parse().unwrap();
    for millis in [1000, 2000, 3000] {
        coordinator.failover_counted(&other, at(millis));
    }
    let block = coordinator.may_fail_over(&db(), at(4000)).unwrap_err();
    assert!(block.command().contains("--all"), "{block}");
    assert_eq!(coordinator.block_of(&other), Some(&block));
    let by = By {
        who: "anna",
        why: "a switch that came and went",
    };
    coordinator.unblock(None, by, at(5000)).unwrap();
    coordinator.may_fail_over(&db(), at(5001)).unwrap();
}

#[test]
fn askings_count_together_for_as_long_as_a_stop_may_take_and_block_nothing() {
    let storm = SPEC.replace("coordinators: [mgmt]", "coordinators: [mgmt], failovers: 2");
    let mut coordinator = bench(&storm);
    coordinator.take_output();
    let (one, two): (ServiceName, ServiceName) = ("one".parse().unwrap(), "two".parse().unwrap());
    let ask = |coordinator: &mut Coordinator, service: &ServiceName, millis| {
        coordinator.failover_is_prepared(service, Epoch(1), at(millis))
    };
    ask(&mut coordinator, &one, 1000).unwrap();
    ask(&mut coordinator, &two, 1000).unwrap();
    ask(&mut coordinator, &db(), 1100).unwrap_err();
    let waits = coordinator.may_fail_over(&db(), at(1200)).unwrap_err();
    assert!(waits.to_string().contains("waits for 2"), "{waits}");
    assert!(!waits.to_string().contains("unblock"), "{waits}");
    assert_eq!(coordinator.block_of(&db()), None);
    assert!(coordinator.take_output().is_empty());
    // However long their stops last; until the records of their leases say that it came to nothing.
    ask(&mut coordinator, &db(), 600_000).unwrap_err();
    for service in [&one, &two] {
        coordinator.failover_is_under_way(service, None);
    }
    ask(&mut coordinator, &db(), 600_001).unwrap();
}

#[test]
fn a_role_that_was_given_back_moves_also_where_the_budget_was_spent_since() {
    let storm = SPEC.replace("coordinators: [mgmt]", "coordinators: [mgmt], failovers: 1");
    let mut coordinator = bench(&storm);
    let other: ServiceName = "other".parse().unwrap();
    let asked = coordinator.failover_is_prepared(&db(), Epoch(1), at(1000));
    asked.unwrap();
    coordinator.failover_counted(&other, at(1500));
    coordinator.may_fail_over(&other, at(2000)).unwrap_err();
    assert!(coordinator.block_of(&db()).is_some());
    coordinator.may_fail_over(&db(), at(600_000)).unwrap();
    coordinator.failover_is_under_way(&db(), None);
    coordinator.may_fail_over(&db(), at(600_001)).unwrap_err();
}
