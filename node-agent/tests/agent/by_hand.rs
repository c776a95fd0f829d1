//! The agent's own service.

use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use interlock_proto::v1::coordinator_message::Message as Order;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::lab::Lab;
use crate::scripted::{exec, id, process};

const WEB: &str = "[allow.services]\nweb = { process = \"web\" }\ndb = { process = \"db\" }\n[process.web]\ncommand = \
                   [\"/bin/sleep\", \"1000\"]\n[process.db]\ncommand = [\"/bin/sleep\", \"1000\"]\n";

const OPERATOR: &str = "interlock://lab/operator/anna?role=operator";

fn control(service: &str, verb: &str, reason: &str) -> v1::ControlInstanceRequest {
    v1::ControlInstanceRequest {
        service: service.into(),
        verb: verb.into(),
        reason: reason.into(),
        override_operations: Vec::new(),
    }
}

/// Operation 7 holds `web`, say coordinators.
fn claimed(term: u64) -> Order {
    let claim = v1::Claim {
        operation: 7,
        what: "shutdown --all, started by bert".into(),
        services: vec!["web".into()],
    };
    Order::Claims(v1::Claims {
        term,
        claims: vec![claim],
    })
}

/// A question that is answered when everything before it is understood.
fn query(term: u64) -> v1::Query {
    v1::Query {
        term,
        id: Some(id("none", 1)),
    }
}

/// A file whose `web` is there as long as the file `there`, and stops only when the pipe `gate` has had a writer.
fn gated(lab: &Lab) -> String {
    let made = std::process::Command::new("mkfifo")
        .arg(lab.path("gate"))
        .status();
    assert!(made.unwrap().success());
    let here = lab.here();
    let shell = |line: &str| format!("[\"/bin/sh\", \"-c\", \"cd {here}; {line}\"]");
    format!(
        "[allow.services]\nweb = {{ exec = \"web\" }}\n[exec.web]\nstart = {}\nstop = {}\ncheck = {}\n",
        shell("touch there"),
        shell("cat gate; rm there"),
        shell("test -e there || exit 3"),
    )
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

    let nowhere = client
        .control_instance(control("wbe", "start", "a slip"))
        .await
        .unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
    assert!(
        nowhere
            .message()
            .contains("`interlockctl node show --node n1`"),
        "{}",
        nowhere.message()
    );
    let mut reader = lab
        .node_service(&agent, "interlock://lab/operator/rita?role=reader")
        .await;
    let denied = reader
        .control_instance(control("web", "start", "x"))
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

/// Whoever goes by the code must not take it for one that changed nothing.
#[tokio::test]
async fn a_person_is_told_how_an_instance_is_after_the_act_and_not_in_the_middle_of_it() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    let shell = |line: &str| format!("[\"/bin/sh\", \"-c\", \"cd {here}; {line}\"]");
    // The look that follows an act takes longer than its answer.
    let slow = format!(
        "[allow.services]\nweb = {{ exec = \"web\" }}\n[exec.web]\nstart = {}\nstop = {}\ncheck = {}\n",
        shell("touch there"),
        shell("rm there"),
        shell("sleep 0.3; test -e there || exit 3"),
    );
    lab.configure(&coordinator.endpoint, &slow);
    let agent = lab.start().await;
    let session = coordinator.session(1).await;
    session.assign(&[exec("web")], 0).await;
    lab.node(&agent, |node| {
        let mut seen = node.instances.iter();
        seen.any(|seen| seen.state() == InstanceState::Stopped)
    })
    .await;
    let mut client = lab.node_service(&agent, OPERATOR).await;
    for (verb, state) in [
        ("start", InstanceState::Running),
        ("stop", InstanceState::Stopped),
        ("start", InstanceState::Running),
    ] {
        let done = client
            .control_instance(control("web", verb, "a test"))
            .await;
        let seen = done.unwrap().into_inner().instance.unwrap();
        assert_eq!(seen.state(), state, "{verb}: {seen:?}");
    }
}

#[tokio::test]
async fn an_act_by_hand_that_was_begun_and_failed_is_not_told_as_a_refusal() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    // Ready by the clock alone, so that the end always comes first.
    let fails = "[allow.services]\nweb = { process = \"web\" }\n[process.web]\ncommand = [\"/bin/false\"]\n\
                 ready = { after = \"1h\" }\n";
    lab.configure(&coordinator.endpoint, fails);
    let agent = lab.start().await;
    let session = coordinator.session(1).await;
    session.assign(&[process("web")], 0).await;
    lab.node(&agent, |node| !node.instances.is_empty()).await;
    let mut client = lab.node_service(&agent, OPERATOR).await;
    let failed = client
        .control_instance(control("web", "start", "disk replaced"))
        .await
        .unwrap_err();
    assert_eq!(failed.code(), Code::Unknown, "{}", failed.message());
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
    for service in [
        "",
        "interlock.v1.NodeService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        let service = service.to_owned();
        let asked = health.check(HealthCheckRequest { service }).await;
        assert_eq!(asked.unwrap().into_inner().status(), ServingStatus::Serving);
    }
    let service = "interlock.v1.ClusterService".to_owned();
    let asked = health.check(HealthCheckRequest { service }).await;
    assert_eq!(
        asked.unwrap_err().code(),
        Code::NotFound,
        "it is no coordinator"
    );
}

#[tokio::test]
async fn what_an_operation_holds_is_left_alone_by_hand_unless_the_operation_is_named() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let agent = lab.start().await;
    let session = coordinator.session(3).await;
    session.assign(&[process("web"), process("db")], 0).await;
    session.order(claimed(3)).await;
    lab.node(&agent, |node| {
        node.instances.len() == 2 && node.claims.len() == 1
    })
    .await;
    let mut client = lab.node_service(&agent, OPERATOR).await;
    let refused = client
        .control_instance(control("web", "start", "in a hurry"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for word in [
        "held by op-7",
        "started by bert",
        "interlockctl operation abort op-7",
        "--override-operation op-7",
    ] {
        assert!(refused.message().contains(word), "{}", refused.message());
    }
    let mut wrong = control("web", "start", "in a hurry");
    wrong.override_operations = vec!["op-6".into()];
    let refused = client.control_instance(wrong).await.unwrap_err();
    assert!(refused.message().contains("op-7"), "{}", refused.message());
    client
        .control_instance(control("db", "start", "not held"))
        .await
        .unwrap();

    // Another assignment changes nothing of that.
    session.assign(&[process("web"), process("db")], 1).await;
    session.order(Order::Query(query(3))).await;
    let mut session = session;
    session.outcome(&id("none", 1)).await;

    // Every coordinator is dead, and the agent has another process: what was held is still held.
    coordinator.vanish().await;
    agent.stop().await;
    let agent = lab.start().await;
    let node = lab.node(&agent, |_| true).await;
    assert_eq!(node.claims.len(), 1, "{node:?}");
    let mut client = lab.node_service(&agent, OPERATOR).await;
    let refused = client
        .control_instance(control("web", "start", "nobody answers"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let mut named = control("web", "start", "nobody answers");
    named.override_operations = vec!["op-7".into()];
    client.control_instance(named).await.unwrap();
    let listed = client
        .list_attempts(v1::ListAttemptsRequest { limit: 10 })
        .await
        .unwrap()
        .into_inner()
        .entries;
    let commands: Vec<&str> = listed.iter().map(|entry| entry.command.as_str()).collect();
    assert!(
        commands
            .contains(&"start web by operator anna (operator) (nobody answers, overriding op-7)"),
        "{commands:?}"
    );
}

#[tokio::test]
async fn nothing_is_held_any_more_when_a_coordinator_of_this_term_says_so() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let agent = lab.start().await;
    let session = coordinator.session(3).await;
    session.assign(&[process("web")], 0).await;
    session.order(claimed(3)).await;
    lab.node(&agent, |node| node.claims.len() == 1).await;
    let nothing = |term| {
        Order::Claims(v1::Claims {
            term,
            claims: Vec::new(),
        })
    };
    // The assignment comes again with each hello; and an earlier leader has nothing to say here.
    session.order(nothing(2)).await;
    session.assign(&[process("web")], 1).await;
    session.order(Order::Query(query(3))).await;
    let mut session = session;
    session.outcome(&id("none", 1)).await;
    assert_eq!(lab.node(&agent, |_| true).await.claims.len(), 1);
    session.order(nothing(3)).await;
    lab.node(&agent, |node| node.claims.is_empty()).await;
    // That the operation is over is enough, from whomever.
    session.order(claimed(3)).await;
    lab.node(&agent, |node| node.claims.len() == 1).await;
    session
        .order(Order::Close(v1::CloseOperations { term: 3, below: 8 }))
        .await;
    lab.node(&agent, |node| node.claims.is_empty()).await;
    let mut client = lab.node_service(&agent, OPERATOR).await;
    client
        .control_instance(control("web", "start", "free again"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_operation_is_told_what_a_person_has_begun_before_it() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let file = gated(&lab);
    lab.configure(&coordinator.endpoint, &file);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[exec("web")], 0).await;
    lab.node(&agent, |node| node.instances.len() == 1).await;
    std::fs::write(lab.path("there"), "").unwrap();
    let mut client = lab.node_service(&agent, OPERATOR).await;
    let by_hand = tokio::spawn(async move {
        client
            .control_instance(control("web", "stop", "disk is full"))
            .await
    });
    let mut reader = lab.node_service(&agent, OPERATOR).await;
    let begun = async {
        loop {
            let request = v1::ListAttemptsRequest { limit: 10 };
            let listed = reader.list_attempts(request).await.unwrap().into_inner();
            if !listed.entries.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::scripted::PATIENCE, begun)
        .await
        .expect("the act by hand is in the ledger");
    // Only now the operation begins.
    session.order(claimed(1)).await;
    session
        .dispatch(id("start", 1), v1::dispatch::Command::Start(exec("web")))
        .await;
    let refused = session.outcome(&id("start", 1)).await;
    assert_eq!(refused.state(), v1::AttemptState::Refused);
    assert_eq!(
        refused.evidence,
        "what a person began on this node is not over: stop web by operator anna (operator) (disk is full)"
    );
    std::fs::write(lab.path("gate"), "").unwrap();
    by_hand.await.unwrap().unwrap();
    session
        .dispatch(id("start", 2), v1::dispatch::Command::Start(exec("web")))
        .await;
    let done = session.outcome(&id("start", 2)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
}

/// No event tells of it, and the operation would go on as if it were down.
#[tokio::test]
async fn what_an_operation_holds_is_looked_at_every_few_seconds() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let file = gated(&lab);
    lab.configure(&coordinator.endpoint, &file);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[exec("web")], 0).await;
    let is = |state: InstanceState| move |seen: &v1::Instance| seen.state() == state;
    session.instance("web", is(InstanceState::Stopped)).await;
    session.order(claimed(1)).await;
    // The look that comes with the claim has been.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (there, state) in [
        (true, InstanceState::Running),
        (false, InstanceState::Stopped),
    ] {
        match there {
            true => std::fs::write(lab.path("there"), "").unwrap(),
            false => std::fs::remove_file(lab.path("there")).unwrap(),
        }
        let told = session.instance("web", is(state));
        tokio::time::timeout(Duration::from_secs(6), told)
            .await
            .expect("long before the look that comes without an operation");
    }
}
