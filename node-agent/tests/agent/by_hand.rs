//! The agent's own service.

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::lab::Lab;
use crate::scripted::process;

const WEB: &str = "[allow.services]\nweb = { process = \"web\" }\ndb = { process = \"db\" }\n[process.web]\ncommand = \
                   [\"/bin/sleep\", \"1000\"]\n[process.db]\ncommand = [\"/bin/sleep\", \"1000\"]\n";

const OPERATOR: &str = "interlock://lab/operator/anna?role=operator";

fn control(service: &str, verb: &str, reason: &str) -> v1::ControlInstanceRequest {
    v1::ControlInstanceRequest {
        service: service.into(),
        verb: verb.into(),
        reason: reason.into(),
    }
}

#[tokio::test]
async fn a_person_starts_an_instance_by_hand_and_it_is_recorded_with_who_and_why() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let agent = lab.start().await;
    let session = coordinator.session(1).await;
    session.assign(&[process("web")], 0).await;
    lab.node(&agent, |node| {
        node.instances
            .iter()
            .any(|seen| seen.state() == InstanceState::Stopped)
    })
    .await;

    let mut client = lab.node_service(&agent, OPERATOR).await;
    let nameless = client
        .control_instance(control("web", "start", " "))
        .await
        .unwrap_err();
    assert_eq!(nameless.code(), Code::InvalidArgument);
    let answer = client
        .control_instance(control("web", "start", "disk replaced"))
        .await
        .unwrap()
        .into_inner();
    assert!(
        answer.evidence.contains("running since"),
        "{}",
        answer.evidence
    );
    let node = lab
        .node(&agent, |node| {
            node.instances[0].state() == InstanceState::Running
        })
        .await;
    assert_eq!(
        node.instances[0].wanted(),
        v1::Wanted::Unspecified,
        "only operations say what is wanted"
    );
    let listed = client
        .list_attempts(v1::ListAttemptsRequest { limit: 10 })
        .await
        .unwrap()
        .into_inner()
        .entries;
    assert_eq!(
        listed[0].command,
        "start web by operator anna (operator) (disk replaced)"
    );
    client
        .control_instance(control("web", "stop", "done"))
        .await
        .unwrap();

    let mut reader = lab
        .node_service(&agent, "interlock://lab/operator/rita?role=reader")
        .await;
    let denied = reader
        .control_instance(control("web", "start", "x"))
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_exclusive_instance_is_never_started_by_hand() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let agent = lab.start().await;
    let session = coordinator.session(1).await;
    session
        .assign_with(&[process("db")], 0, Vec::new(), true)
        .await;
    lab.node(&agent, |node| {
        node.instances.iter().any(|seen| seen.service == "db")
    })
    .await;
    let mut client = lab.node_service(&agent, OPERATOR).await;
    let refused = client
        .control_instance(control("db", "start", "in a hurry"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("exclusive"),
        "{}",
        refused.message()
    );
    assert!(!lab.path("state/runs/service.db").exists());
    let listed = client
        .list_attempts(v1::ListAttemptsRequest { limit: 10 })
        .await
        .unwrap()
        .into_inner()
        .entries;
    assert!(
        listed[0].command.contains("anna") && listed[0].command.contains("in a hurry"),
        "{listed:?}"
    );
}

#[tokio::test]
async fn the_agent_tells_what_it_is_and_what_it_permits_without_a_coordinator() {
    let lab = Lab::new();
    lab.configure("https://127.0.0.1:9", WEB);
    let agent = lab.start().await;
    let node = lab.node(&agent, |_| true).await;
    assert_eq!(
        (
            node.node.as_str(),
            node.cluster.as_str(),
            node.boot_id.as_str()
        ),
        ("n1", "lab", "boot-1")
    );
    assert!(
        node.allowed
            .contains(&"start and stop web: process web".to_owned()),
        "{:?}",
        node.allowed
    );
    let mut health = HealthClient::new(lab.channel(&agent, OPERATOR).await);
    let status = health
        .check(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.status(), ServingStatus::Serving);
}
