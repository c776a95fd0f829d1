//! Processes that die.

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use interlock_proto::v1::dispatch::Command;
use rustix::process::Signal;

use crate::lab::{Lab, pid_of, signal};
use crate::scripted::{Session, id, process};

const WEB: &str = "[allow.services]\nweb = { process = \"web\" }\n[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n";

async fn started(session: &mut Session, budget: u32) -> u32 {
    session.assign(&[process("web")], budget).await;
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    pid_of(
        &session
            .instance("web", |seen| seen.state() == InstanceState::Running)
            .await,
    )
}

#[tokio::test]
async fn a_killed_process_is_restarted_within_its_budget_and_then_given_up_with_the_reason() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut pid = started(&mut session, 2).await;
    for restarts in 1..=2 {
        signal(pid, Signal::KILL);
        let back = |seen: &v1::Instance| {
            seen.state() == InstanceState::Running && seen.restarts == restarts
        };
        let seen = session.instance("web", back).await;
        assert_ne!(pid_of(&seen), pid);
        pid = pid_of(&seen);
    }
    signal(pid, Signal::KILL);
    let given_up = session
        .instance("web", |seen| seen.reason.contains("given up"))
        .await;
    assert_eq!(
        (given_up.state(), given_up.given_up),
        (InstanceState::Failed, true)
    );
    assert!(
        given_up.reason.contains("SIGKILL") && given_up.reason.contains("2 restarts"),
        "{}",
        given_up.reason
    );

    session
        .dispatch(id("start", 2), Command::Start(process("web")))
        .await;
    assert_eq!(
        session.outcome(&id("start", 2)).await.state(),
        v1::AttemptState::Done
    );
    let seen = session
        .instance("web", |seen| seen.state() == InstanceState::Running)
        .await;
    assert_eq!(
        (seen.restarts, seen.given_up),
        (0, false),
        "an operation fills the budget again"
    );
}

#[tokio::test]
async fn a_clean_stop_by_somebody_else_is_reported_and_left_alone() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let pid = started(&mut session, 5).await;
    signal(pid, Signal::TERM);
    let seen = session
        .instance("web", |seen| seen.state() == InstanceState::Stopped)
        .await;
    assert_eq!((seen.restarts, seen.wanted()), (0, v1::Wanted::Running));
    // The guard has decided by the time that the state is told, and told that it waits for nothing.
    assert!(!seen.reason.contains("restarted"), "{}", seen.reason);
}

#[tokio::test]
async fn silence_from_above_stops_nothing_and_the_guard_goes_on_also_in_a_new_agent() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let pid = started(&mut session, 5).await;
    drop(session);
    coordinator.vanish().await;
    let alone = |node: &v1::Node| node.coordinators.iter().all(|link| !link.connected);
    let node = lab.node(&agent, alone).await;
    assert_eq!(pid_of(&node.instances[0]), pid, "untouched");

    agent.kill().await;
    signal(pid, Signal::KILL);
    let agent = lab.start().await;
    let back = |node: &v1::Node| {
        node.instances
            .iter()
            .any(|web| web.state() == InstanceState::Running && pid_of(web) != pid)
    };
    let node = lab.node(&agent, back).await;
    assert_eq!(
        node.generation, 1,
        "it works by the assignment that it kept"
    );
    let detail = &node.coordinators[0].detail;
    assert!(
        detail.contains("is the program running"),
        "it says what to do: {detail}"
    );
}

#[tokio::test]
async fn what_the_guard_has_spent_stays_spent_when_the_agent_dies_with_the_process() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let mut agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut pid = started(&mut session, 2).await;
    for restarts in 1..=2 {
        agent.kill().await;
        signal(pid, Signal::KILL);
        lab.runs_have_ended().await;
        agent = lab.start().await;
        session = coordinator.session(1).await;
        let back = |seen: &v1::Instance| {
            seen.state() == InstanceState::Running && seen.restarts == restarts
        };
        pid = pid_of(&session.instance("web", back).await);
    }
    agent.kill().await;
    signal(pid, Signal::KILL);
    lab.runs_have_ended().await;
    for _ in 0..2 {
        let agent = lab.start().await;
        let mut session = coordinator.session(1).await;
        let given_up = session
            .instance("web", |seen| seen.reason.contains("given up"))
            .await;
        assert_eq!(
            (given_up.state(), given_up.restarts),
            (InstanceState::Failed, 2)
        );
        agent.kill().await;
    }
    // Another boot: whoever started the machine anew has looked.
    std::fs::write(lab.path("boot_id"), "boot-2\n").unwrap();
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let fresh = session
        .instance("web", |seen| seen.state() == InstanceState::Stopped)
        .await;
    assert_eq!(fresh.restarts, 0);
}

#[tokio::test]
async fn what_nobody_guards_says_so_when_it_dies() {
    const NEVER_READY: &str = "[allow.services]\nweb = { process = \"web\" }\n[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\nready = { tcp = \"127.0.0.1:1\" }\n";
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, NEVER_READY);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web")], 2).await;
    session
        .dispatch_within(id("start", 1), Command::Start(process("web")), 500)
        .await;
    let late = session.outcome(&id("start", 1)).await;
    assert_eq!(late.state(), v1::AttemptState::Unknown, "{late:?}");
    let starting = |seen: &v1::Instance| seen.state() == InstanceState::Starting;
    signal(
        pid_of(&session.instance("web", starting).await),
        Signal::KILL,
    );
    let failed = |seen: &v1::Instance| seen.state() == InstanceState::Failed;
    let seen = session.instance("web", failed).await;
    assert!(
        seen.reason
            .contains("not restarted: no operation has proven that it runs"),
        "{}",
        seen.reason
    );
}
