//! What no operation has proven to run is not the guard's, and an assignment runs nothing.

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use interlock_proto::v1::dispatch::Command;

use crate::lab::{Lab, content};
use crate::scripted::{Session, exec, id, process};

/// The service as a process, and as commands that leave a trace of each kind.
fn both(lab: &Lab, permitted: &str) -> String {
    let here = lab.here();
    format!(
        "[allow.services]\nweb = {{ process = \"web\"{permitted} }}\n[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n\
         [exec.web]\nstart = [\"/bin/touch\", \"{here}/started\"]\nstop = [\"/bin/true\"]\n\
         check = [\"/bin/sh\", \"-c\", \"touch {here}/asked; exit 1\"]\n"
    )
}

async fn started(session: &mut Session) {
    session.assign(&[process("web")], 5).await;
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    session
        .instance("web", |seen| seen.state() == InstanceState::Running)
        .await;
}

#[tokio::test]
async fn an_assignment_runs_no_command_that_the_agents_own_file_does_not_permit() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &both(&lab, ""));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    started(&mut session).await;
    session.assign(&[exec("web")], 5).await;
    let seen = session
        .instance("web", |seen| seen.state() == InstanceState::Unknown)
        .await;
    assert!(
        seen.reason.contains("exec = \"web\""),
        "it says what to add: {}",
        seen.reason
    );
    assert!(!lab.path("asked").exists() && !lab.path("started").exists());
}

#[tokio::test]
async fn a_changed_manager_is_no_death_and_starts_nothing_before_an_operation_has() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &both(&lab, ", exec = \"web\""));
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    started(&mut session).await;
    session.assign(&[exec("web")], 5).await;
    // The guard has decided by the time that the state is told.
    let failed = |seen: &v1::Instance| seen.state() == InstanceState::Failed;
    let seen = session.instance("web", failed).await;
    assert!(seen.reason.contains("not restarted"), "{}", seen.reason);
    agent.kill().await;
    let _agent = lab.start().await;
    let mut session = coordinator.session(2).await;
    let seen = session.instance("web", failed).await;
    assert!(seen.reason.contains("not restarted"), "{}", seen.reason);
    assert!(!lab.path("started").exists());
}

#[tokio::test]
async fn a_start_that_failed_is_not_repeated_by_the_next_agent() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let file = format!(
        "[allow.services]\nweb = {{ process = \"web\" }}\n[process.web]\nready = {{ after = \"1h\" }}\n\
         command = [\"/bin/sh\", \"-c\", \"echo x >> {}/count; echo no port; exit 1\"]\n",
        lab.here()
    );
    lab.configure(&coordinator.endpoint, &file);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web")], 5).await;
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let outcome = session.outcome(&id("start", 1)).await;
    assert_eq!(outcome.state(), v1::AttemptState::Failed, "{outcome:?}");
    let log = lab.path("state/logs/web.log").display().to_string();
    assert!(
        outcome.evidence.contains(&log) && outcome.evidence.ends_with("no port"),
        "{outcome:?}"
    );
    agent.kill().await;
    let _agent = lab.start().await;
    let mut session = coordinator.session(2).await;
    let seen = session
        .instance("web", |seen| seen.state() == InstanceState::Failed)
        .await;
    assert!(seen.reason.contains("not restarted"), "{}", seen.reason);
    content(&lab.path("count"), |text| text == "x\n").await;
}
