//! The agent's disk takes nothing more.

use std::fs;
use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use interlock_proto::v1::dispatch::Command;
use rustix::process::{Resource, Rlimit, Signal, prlimit};

use crate::lab::{Agent, Lab, pid_of, signal};
use crate::scripted::{Session, id, process};

const TWO: &str = "[allow.services]\nweb = { process = \"web\" }\nother = { process = \"other\" }\n\
                   [process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n\
                   [process.other]\ncommand = [\"/bin/sleep\", \"1000\"]\n";

/// Lets no file of the agent grow, or be written at all (setrlimit(2), `RLIMIT_FSIZE`); it ignores the signal that comes
/// with it.
fn fill(agent: &Agent, full: bool) {
    let pid = i32::try_from(agent.pid()).unwrap();
    let limit = Rlimit {
        current: full.then_some(0),
        maximum: None,
    };
    prlimit(rustix::process::Pid::from_raw(pid), Resource::Fsize, limit).unwrap();
}

#[tokio::test]
async fn an_attempt_that_cannot_be_remembered_is_refused_and_the_agent_goes_on_reporting() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, TWO);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web"), process("other")], 0).await;
    let running = |seen: &v1::Instance| seen.state() == InstanceState::Running;
    for service in ["web", "other"] {
        session
            .dispatch(id(service, 1), Command::Start(process(service)))
            .await;
        let done = session.outcome(&id(service, 1)).await;
        assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    }
    let pid = pid_of(&session.instance("web", running).await);

    fill(&agent, true);
    for attempt in 1..=2 {
        session
            .dispatch(id("stop", attempt), Command::Stop(process("web")))
            .await;
        let refused = session.outcome(&id("stop", attempt)).await;
        assert_eq!(refused.state(), v1::AttemptState::Refused, "{refused:?}");
        assert!(
            refused.evidence.contains("nothing was begun")
                && refused.evidence.contains("File too large")
                && refused.evidence.contains("make room"),
            "{refused:?}"
        );
    }
    let web = session.instance("web", running).await;
    assert_eq!(
        (pid_of(&web), web.wanted()),
        (pid, v1::Wanted::Running),
        "nothing was begun, and nothing else is wanted"
    );
    // Health goes on, to whoever listens and to whoever comes.
    let other = pid_of(&session.instance("other", running).await);
    signal(other, Signal::KILL);
    session
        .instance("other", |seen| seen.state() == InstanceState::Failed)
        .await;
    drop(session);
    let mut session = coordinator.session(2).await;
    let stop = id("stop", 1);
    let told = session
        .hello
        .attempts
        .iter()
        .find(|report| report.id.as_ref() == Some(&stop));
    assert_eq!(
        told.map(v1::AttemptReport::state),
        Some(v1::AttemptState::Refused)
    );
    assert_eq!(pid_of(&session.instance("web", running).await), pid);

    fill(&agent, false);
    // Until the disk has been tried again, the answer is the same.
    let mut attempt = 3;
    let done = loop {
        session
            .dispatch(id("stop", attempt), Command::Stop(process("web")))
            .await;
        let outcome = session.outcome(&id("stop", attempt)).await;
        if outcome.state() != v1::AttemptState::Refused {
            break outcome;
        }
        attempt += 1;
        tokio::task::yield_now().await;
    };
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    // What was refused stays refused, for the next agent, too.
    agent.kill().await;
    let _agent = lab.start().await;
    let mut session = coordinator.session(2).await;
    session
        .dispatch(stop.clone(), Command::Stop(process("web")))
        .await;
    let refused = session.outcome(&stop).await;
    assert_eq!(refused.state(), v1::AttemptState::Refused, "{refused:?}");
}

#[tokio::test]
async fn an_agent_whose_disk_refuses_ends_when_it_is_told_to() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, TWO);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web")], 0).await;
    fill(&agent, true);
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let refused = session.outcome(&id("start", 1)).await;
    assert_eq!(refused.state(), v1::AttemptState::Refused, "{refused:?}");
    let (goodbye, ()) = tokio::join!(session.goodbye(), agent.stop());
    assert_eq!(goodbye.as_deref(), Some("the agent was told to end"));
}

/// As somebody does who takes a full disk for a damaged ledger.
#[tokio::test]
async fn a_ledger_that_was_written_over_while_the_disk_was_full_is_told_and_not_gone_on_with() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, TWO);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web"), process("other")], 0).await;
    let ledger = lab.path("state/ledger.redb");
    let mut older = Vec::new();
    for service in ["web", "other"] {
        session
            .dispatch(id(service, 1), Command::Start(process(service)))
            .await;
        let done = session.outcome(&id(service, 1)).await;
        assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
        if older.is_empty() {
            older = fs::read(&ledger).unwrap();
        }
    }

    fill(&agent, true);
    let mut attempt = 0;
    until(&mut session, &mut attempt, |stop| {
        stop.evidence.contains("File too large")
    })
    .await;
    let own = fs::read(&ledger).unwrap();
    // The file itself stays.
    fs::write(&ledger, &older).unwrap();
    fill(&agent, false);
    until(&mut session, &mut attempt, |stop| {
        assert_eq!(stop.state(), v1::AttemptState::Refused, "{stop:?}");
        stop.evidence.contains("replaced under this agent")
            && stop.evidence.contains("nothing was begun")
    })
    .await;
    fs::write(&ledger, &own).unwrap();
    until(&mut session, &mut attempt, |stop| {
        stop.state() == v1::AttemptState::Done
    })
    .await;
}

/// Asks for a stop until the answer is as wanted.
async fn until(
    session: &mut Session,
    attempt: &mut u64,
    wanted: impl Fn(&v1::AttemptReport) -> bool,
) {
    loop {
        *attempt += 1;
        session
            .dispatch(id("stop", *attempt), Command::Stop(process("web")))
            .await;
        if wanted(&session.outcome(&id("stop", *attempt)).await) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
