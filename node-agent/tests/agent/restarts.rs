//! The agent itself stops and starts.

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use interlock_proto::v1::dispatch::Command;

use crate::lab::{Lab, pid_of};
use crate::scripted::{id, process};

const WEB: &str = "[allow.services]\nweb = { process = \"web\" }\n[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n";

#[tokio::test]
async fn a_stopped_or_killed_agent_leaves_what_it_manages_running_and_the_next_one_adopts_it() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web")], 5).await;
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let running = |seen: &v1::Instance| seen.state() == InstanceState::Running;
    let pid = pid_of(&session.instance("web", running).await);

    let (goodbye, ()) = tokio::join!(session.goodbye(), agent.stop());
    assert_eq!(goodbye.as_deref(), Some("the agent was told to end"));
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    assert_eq!(pid_of(&session.instance("web", running).await), pid);
    agent.kill().await;
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = session.instance("web", running).await;
    assert_eq!(
        (pid_of(&seen), seen.restarts, seen.wanted()),
        (pid, 0, v1::Wanted::Running)
    );
}

#[tokio::test]
async fn a_certificate_of_another_node_is_told_before_anything_starts() {
    let lab = Lab::new();
    lab.configure("https://127.0.0.1:9", "");
    let text = std::fs::read_to_string(lab.path("agent.toml")).unwrap();
    std::fs::write(
        lab.path("agent.toml"),
        text.replace("name = \"n1\"", "name = \"n2\""),
    )
    .unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_interlock-agent"))
        .args(["run", "--config"])
        .arg(lab.path("agent.toml"))
        .output()
        .await
        .unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(
        talk.contains("agent n1") && talk.contains("called n2") && talk.contains("pki issue"),
        "{talk}"
    );
}

#[tokio::test]
async fn a_coordinator_of_another_authority_is_named_with_what_to_do() {
    let (lab, other) = (Lab::new(), Lab::new());
    let coordinator = other.coordinator().await;
    lab.configure(&coordinator.endpoint, "");
    let agent = lab.start().await;
    let told = |node: &v1::Node| node.coordinators[0].detail != "not tried yet";
    let detail = lab.node(&agent, told).await.coordinators[0].detail.clone();
    assert!(
        detail.contains("another authority") && detail.contains("ca.crt"),
        "{detail}"
    );
}
