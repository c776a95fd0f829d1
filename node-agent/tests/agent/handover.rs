//! What the guard has begun, when an attempt takes the instance from it.

use std::fs;

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use interlock_proto::v1::dispatch::Command;
use rustix::process::Signal;

use crate::lab::{Agent, Lab, content, signal};
use crate::scripted::{Coordinator, Session, exec, id};

/// An exec service whose start counts itself, waits to be released, and leaves a process behind that it is.
fn slow(lab: &Lab) -> String {
    let here = lab.here();
    format!(
        "[allow.services]\njob = {{ exec = \"job\" }}\n[exec.job]\nstart = [\"/bin/sh\", \"-c\", \"echo x >> {here}/count; \
         while [ ! -e {here}/release ]; do sleep 0.05; done; sleep 1000 & echo $! > {here}/pid; touch {here}/up\"]\n\
         stop = [\"/bin/rm\", \"-f\", \"{here}/up\"]\ncheck = [\"/bin/sh\", \"-c\", \"[ -e {here}/up ]\"]\n"
    )
}

/// Starts the service, lets it die, and returns when the guard's own start runs, which never comes to an end.
async fn guard_at_work(lab: &Lab) -> (Coordinator, Session, Agent) {
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &slow(lab));
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[exec("job")], 5).await;
    fs::write(lab.path("release"), "").unwrap();
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    session
        .instance("job", |seen| seen.state() == InstanceState::Running)
        .await;
    fs::remove_file(lab.path("release")).unwrap();
    fs::remove_file(lab.path("up")).unwrap();
    let pid = fs::read_to_string(lab.path("pid")).unwrap();
    signal(pid.trim().parse().unwrap(), Signal::KILL);
    content(&lab.path("count"), |text| text == "x\nx\n").await;
    (coordinator, session, agent)
}

async fn stop_is_proven(lab: &Lab, session: &mut Session) {
    session
        .dispatch(id("stop", 1), Command::Stop(exec("job")))
        .await;
    let done = session.outcome(&id("stop", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    assert!(
        !lab.any_run_lives(),
        "a command that starts the service runs after the stop was proven"
    );
    assert!(!lab.path("up").exists());
}

#[tokio::test]
async fn a_stop_is_proven_only_when_a_start_by_the_guard_has_ended() {
    let lab = Lab::new();
    let (_coordinator, mut session, _agent) = guard_at_work(&lab).await;
    stop_is_proven(&lab, &mut session).await;
}

#[tokio::test]
async fn a_stop_ends_what_the_guard_of_a_killed_agent_began() {
    let lab = Lab::new();
    let (mut coordinator, session, agent) = guard_at_work(&lab).await;
    drop(session);
    agent.kill().await;
    assert!(
        lab.any_run_lives(),
        "the guard's command outlives the agent"
    );
    let _agent = lab.start().await;
    let mut session = coordinator.session(2).await;
    stop_is_proven(&lab, &mut session).await;
}
