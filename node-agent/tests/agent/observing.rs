//! What the agent sees.

use interlock_proto::v1;
use interlock_proto::v1::Verdict;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::assigned_check::Kind;
use interlock_proto::v1::coordinator_message::Message as Order;
use tokio::net::TcpListener;

use crate::lab::Lab;
use crate::scripted::process;

fn check(name: &str, kind: Kind, every_ms: u64) -> v1::AssignedCheck {
    v1::AssignedCheck {
        service: "web".into(),
        check: name.into(),
        every_ms,
        timeout_ms: 1000,
        fail: 1,
        pass: 1,
        fresh_ms: 3 * every_ms,
        fail_of: 0,
        pass_of: 0,
        kind: Some(kind),
    }
}

#[tokio::test]
async fn checks_run_are_told_and_can_be_asked_for_at_once() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(
        &coordinator.endpoint,
        "[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n",
    );
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let tcp = Kind::Tcp(v1::TcpCheck { target });
    let checks = vec![
        check("often", tcp.clone(), 50),
        check("hourly", tcp, 3_600_000),
        check(
            "forbidden",
            Kind::Marker(v1::MarkerCheck {
                path: "/etc/shadow".into(),
                content: None,
                write: false,
            }),
            50,
        ),
    ];
    session
        .assign_with(&[process("web")], 0, checks, false)
        .await;
    session
        .check("often", |seen| seen.verdict() == Verdict::Ok)
        .await;
    let forbidden = lab
        .node(&agent, |node| {
            node.checks.iter().any(|seen| seen.check == "forbidden")
        })
        .await;
    let forbidden = forbidden
        .checks
        .iter()
        .find(|seen| seen.check == "forbidden")
        .unwrap();
    assert_eq!(forbidden.verdict(), Verdict::Unknown);
    assert!(
        forbidden.evidence.contains("marker_paths"),
        "{}",
        forbidden.evidence
    );

    lab.node(&agent, |node| {
        node.checks
            .iter()
            .any(|seen| seen.check == "hourly" && seen.verdict() == Verdict::Ok)
    })
    .await;
    drop(listener);
    session
        .check("often", |seen| seen.verdict() == Verdict::Bad)
        .await;
    let names = vec![v1::CheckName {
        service: "web".into(),
        check: "hourly".into(),
    }];
    session
        .order(Order::ProbeNow(v1::ProbeNow {
            checks: names,
            ask: 7,
        }))
        .await;
    session
        .check("hourly", |seen| {
            seen.verdict() == Verdict::Bad && seen.after == 7
        })
        .await;
}

#[tokio::test]
async fn an_idle_agent_is_heard_and_tells_everything_again_after_a_reconnect() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(
        &coordinator.endpoint,
        "[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n",
    );
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web")], 0).await;
    session
        .instance("web", |seen| seen.state() == v1::InstanceState::Stopped)
        .await;
    let mut beats = Vec::new();
    while beats.len() < 2 {
        if let v1::agent_message::Message::Heartbeat(beat) = session.next().await {
            beats.push(beat.sequence);
        }
    }
    assert_eq!(beats[1], beats[0] + 1);
    drop(session);
    let mut session = coordinator.session(1).await;
    assert_eq!(session.hello.generation, 1);
    loop {
        if let v1::agent_message::Message::Observed(observed) = session.next().await {
            assert!(
                observed.full && observed.instances.len() == 1,
                "{observed:?}"
            );
            return;
        }
    }
}

#[tokio::test]
async fn what_it_has_seen_is_told_before_an_assignment_that_lets_go_of_it_is_heard() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(
        &coordinator.endpoint,
        "[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n",
    );
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web")], 0).await;
    session
        .instance("web", |seen| seen.state() == v1::InstanceState::Stopped)
        .await;
    drop(session);
    // Behind the welcome at once: what is not told by then is forgotten.
    let mut session = coordinator.session(1).await;
    session.assign(&[], 0).await;
    loop {
        if let Said::Observed(observed) = session.next().await {
            assert!(observed.full, "{observed:?}");
            let web = &observed.instances[0];
            assert_eq!(web.state(), v1::InstanceState::Stopped, "{observed:?}");
            return;
        }
    }
}

#[tokio::test]
async fn many_results_that_say_nothing_new_are_few_messages() {
    const CHECKS: usize = 300;
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, "");
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let names: Vec<String> = (0..CHECKS).map(|number| format!("c{number}")).collect();
    let tcp = || {
        Kind::Tcp(v1::TcpCheck {
            target: target.clone(),
        })
    };
    let checks = names.iter().map(|name| check(name, tcp(), 1_000));
    session.assign_with(&[], 0, checks.collect(), false).await;
    for name in &names {
        session
            .check(name, |seen| seen.verdict() == Verdict::Ok)
            .await;
    }
    let (mut messages, mut results) = (0, 0);
    while results < 3 * CHECKS {
        if let Said::Observed(observed) = session.next().await {
            messages += 1;
            results += observed.checks.len();
        }
    }
    assert!(messages * 5 < results, "{messages} messages for {results}");
}
