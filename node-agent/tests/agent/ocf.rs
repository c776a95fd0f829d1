//! OCF resource agents of the package `resource-agents`, run as they are.

use std::fs;
use std::path::Path;

use interlock_proto::v1;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::{AttemptState, InstanceState};

use crate::lab::Lab;
use crate::scripted::{Session, id, ocf};

/// Where the package puts its agents.
const AGENTS: &str = "/usr/lib/ocf/resource.d/heartbeat";

/// Is this one here? A machine without the package runs the other tests.
fn is_here(agent: &str) -> bool {
    let here = Path::new(AGENTS).join(agent).exists();
    if !here {
        eprintln!("skipped: {AGENTS}/{agent} is not installed (package resource-agents)");
    }
    here
}

/// A file that permits a Dummy to be given these parameters.
fn permit(lab: &Lab, parameters: &str) -> String {
    format!(
        "[ocf]\nstate = \"{}/ocf\"\n[allow.services]\nprobe = {{ ocf = [{{ agent = \"heartbeat:Dummy\", parameters = {{ {parameters} }} }}] }}\n",
        lab.here()
    )
}

fn dummy(lab: &Lab) -> v1::InstanceCommand {
    ocf(
        "probe",
        "heartbeat:Dummy",
        &[("state", &format!("{}/dummy", lab.here()))],
    )
}

async fn does(session: &mut Session, step: &str, command: Command) -> v1::AttemptReport {
    session.dispatch(id(step, 1), command).await;
    session.outcome(&id(step, 1)).await
}

#[tokio::test]
async fn a_resource_is_started_observed_and_stopped() {
    if !is_here("Dummy") {
        return;
    }
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &permit(&lab, "state = true"));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[dummy(&lab)], 0).await;
    session
        .instance("probe", |seen| seen.state() == InstanceState::Stopped)
        .await;
    let done = does(&mut session, "start", Command::Start(dummy(&lab))).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(lab.path("dummy").exists(), "the agent has worked");
    session
        .instance("probe", |seen| seen.state() == InstanceState::Running)
        .await;

    let again = does(&mut session, "again", Command::Start(dummy(&lab))).await;
    assert!(
        again.state() == AttemptState::Done && again.evidence.contains("already"),
        "{again:?}"
    );

    let done = does(&mut session, "stop", Command::Stop(dummy(&lab))).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(!lab.path("dummy").exists());
    session
        .instance("probe", |seen| seen.state() == InstanceState::Stopped)
        .await;
    let again = does(&mut session, "stop-again", Command::Stop(dummy(&lab))).await;
    assert!(
        again.state() == AttemptState::Done && again.evidence.contains("already"),
        "{again:?}"
    );
    assert!(
        fs::read_dir(lab.path("ocf")).is_ok(),
        "its directory of state files is made"
    );
}
