//! Units of a real systemd under the agent. Where these run, and why not elsewhere: `tests/systemd.rs`.

use std::path::PathBuf;
use std::process::Command as Program;

use interlock_proto::v1;
use interlock_proto::v1::assigned_check::Kind;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::{InstanceState, Verdict};

use crate::lab::{Agent, Lab, skip};
use crate::scripted::{Coordinator, Session, id, unit};

/// A node with one unit, which is the service `db`. The unit is removed at the end.
struct Node {
    name: String,
    lab: Lab,
    coordinator: Coordinator,
    session: Session,
    agent: Option<Agent>,
}

impl Node {
    /// A unit of this name and `[Service]` section, guarded with this budget; none where there is no systemd.
    async fn with(name: &str, section: &str, budget: u32) -> Option<Self> {
        if std::env::var("INTERLOCK_TEST_SYSTEMD").as_deref() != Ok("1") {
            skip(
                "units of systemd",
                "not a machine for tests of systemd (INTERLOCK_TEST_SYSTEMD=1)",
            );
            return None;
        }
        let name = format!("interlock-agent-test-{name}.service");
        std::fs::write(path(&name), format!("[Service]\n{section}\n")).unwrap();
        systemctl(&["daemon-reload"]);
        let lab = Lab::new();
        let mut coordinator = lab.coordinator().await;
        let allow = format!("[allow.services]\ndb = {{ systemd = [\"{name}\"] }}\n");
        lab.configure(&coordinator.endpoint, &allow);
        let agent = Some(lab.start().await);
        let session = coordinator.session(1).await;
        session.assign(&[unit("db", &name)], budget).await;
        Some(Self {
            name,
            lab,
            coordinator,
            session,
            agent,
        })
    }

    async fn start(&mut self) {
        self.session
            .dispatch(id("start", 1), Command::Start(unit("db", &self.name)))
            .await;
        let done = self.session.outcome(&id("start", 1)).await;
        assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
        self.is(|seen| seen.state() == InstanceState::Running).await;
    }

    async fn is(&mut self, wanted: impl Fn(&v1::Instance) -> bool) -> v1::Instance {
        self.session.instance("db", wanted).await
    }

    fn crash(&self) {
        systemctl(&["kill", "--signal=KILL", &self.name]);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.agent.take());
        for verb in [&["kill", "--signal=KILL"][..], &["stop"], &["reset-failed"]] {
            systemctl(&[verb, &[self.name.as_str()]].concat());
        }
        let _ = std::fs::remove_file(path(&self.name));
        systemctl(&["daemon-reload"]);
    }
}

fn path(unit: &str) -> PathBuf {
    PathBuf::from("/run/systemd/system").join(unit)
}

fn systemctl(arguments: &[&str]) -> String {
    let output = Program::new("systemctl").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The main process of the unit, as the agent tells it; none while systemd is bringing it back.
fn pid(seen: &v1::Instance) -> Option<&str> {
    let (_, pid) = seen.reason.rsplit_once("pid ")?;
    (seen.state() == InstanceState::Running).then_some(pid)
}

#[tokio::test]
async fn a_unit_that_systemd_does_not_restart_is_restarted_within_its_budget() {
    let section = "ExecStart=/bin/sleep infinity\nRestart=no";
    let Some(mut node) = Node::with("guarded", section, 2).await else {
        return;
    };
    node.start().await;
    for restarts in 1..=2 {
        node.crash();
        node.is(|seen| seen.state() == InstanceState::Running && seen.restarts == restarts)
            .await;
    }
    node.crash();
    let given_up = node.is(|seen| seen.reason.contains("given up")).await;
    assert_eq!(given_up.state(), InstanceState::Failed);
    assert!(given_up.reason.contains("signal"), "{}", given_up.reason);
}

#[tokio::test]
async fn a_unit_that_was_stopped_by_hand_is_left_alone_however_it_ended() {
    let section = "Type=notify\nNotifyAccess=all\nRestart=no\nExecStart=/bin/sh -c 'trap \"exit 143\" TERM; \
                   systemd-notify --ready; while :; do sleep 0.05; done'";
    let Some(mut node) = Node::with("by-hand", section, 5).await else {
        return;
    };
    node.start().await;
    systemctl(&["stop", &node.name]);
    let stopped = node.is(|seen| seen.state() == InstanceState::Failed).await;
    assert!(
        stopped.reason.contains("status 143") && stopped.reason.contains("told to stop"),
        "{}",
        stopped.reason
    );
    // The guard has decided by the time that the state is told. The next agent decides the same.
    assert_eq!(
        (stopped.restarts, stopped.wanted()),
        (0, v1::Wanted::Running)
    );
    node.agent.take().unwrap().kill().await;
    node.agent = Some(node.lab.start().await);
    node.session = node.coordinator.session(1).await;
    let seen = node.is(|seen| seen.state() == InstanceState::Failed).await;
    assert!(!seen.reason.contains("restarted"), "{}", seen.reason);
    assert!(!node.lab.log().contains("restarting"));
}

#[tokio::test]
async fn a_unit_with_a_restart_of_its_own_is_watched_until_systemd_gives_up() {
    let section = "ExecStart=/bin/sleep infinity\nRestart=on-failure\nRestartSec=100ms\n\
                   [Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1h";
    let Some(mut node) = Node::with("its-own", section, 5).await else {
        return;
    };
    node.start().await;
    let first = node.is(|seen| pid(seen).is_some()).await;
    node.crash();
    let back = node
        .is(|seen| pid(seen).is_some_and(|pid| Some(pid) != self::pid(&first)))
        .await;
    assert_eq!(back.restarts, 0, "it was systemd");
    node.crash();
    let given_up = node.is(|seen| seen.state() == InstanceState::Failed).await;
    assert!(
        given_up.reason.contains("does not restart it any more"),
        "{}",
        given_up.reason
    );
    assert_eq!(given_up.restarts, 0);
    assert!(!node.lab.log().contains("restarting"));
    assert!(node.lab.log().contains("it stays down"));
}

#[tokio::test]
async fn a_start_that_still_waits_at_its_limit_or_when_it_is_cancelled_has_not_begun() {
    let section = "ExecStart=/bin/sleep infinity\n[Unit]\nAfter=interlock-agent-test-first.service";
    let Some(mut node) = Node::with("waits", section, 5).await else {
        return;
    };
    let first = "interlock-agent-test-first.service";
    std::fs::write(
        path(first),
        "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n",
    )
    .unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", "--no-block", first]);
    let start = || Command::Start(unit("db", &node.name));
    node.session
        .dispatch_within(id("start", 1), start(), 300)
        .await;
    let late = node.session.outcome(&id("start", 1)).await;
    node.session
        .dispatch(id("start", 2), Command::Start(unit("db", &node.name)))
        .await;
    while !systemctl(&["list-jobs", "--full", "--no-legend"]).contains(&node.name) {
        tokio::task::yield_now().await;
    }
    let cancel = v1::Cancel {
        term: node.session.term,
        id: Some(id("start", 2)),
    };
    node.session
        .order(v1::coordinator_message::Message::Cancel(cancel))
        .await;
    let cancelled = node.session.outcome(&id("start", 2)).await;
    let jobs = systemctl(&["list-jobs", "--full", "--no-legend"]);
    systemctl(&["kill", "--signal=KILL", first]);
    systemctl(&["reset-failed", first]);
    std::fs::remove_file(path(first)).unwrap();
    for report in [late, cancelled] {
        assert_eq!(report.state(), v1::AttemptState::Failed, "{report:?}");
        assert!(report.evidence.contains("nothing was begun"), "{report:?}");
    }
    assert!(!jobs.contains(&node.name), "{jobs}");
}

/// What the guard of an agent that was killed, or a person, has left in systemd's queue comes up when its turn comes. A
/// stop that called the unit down until then would be overtaken by it.
#[tokio::test]
async fn a_stop_withdraws_a_start_that_waits_in_the_queue_whoever_has_put_it_there() {
    let section = "ExecStart=/bin/sleep infinity\n[Unit]\nAfter=interlock-agent-test-turn.service";
    let Some(mut node) = Node::with("queued", section, 5).await else {
        return;
    };
    let first = "interlock-agent-test-turn.service";
    let slow = "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n";
    std::fs::write(path(first), slow).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", "--no-block", first]);
    systemctl(&["start", "--no-block", &node.name]);
    let waits = node
        .is(|seen| seen.state() == InstanceState::Starting)
        .await;
    node.session
        .dispatch(id("stop", 1), Command::Stop(unit("db", &node.name)))
        .await;
    let stopped = node.session.outcome(&id("stop", 1)).await;
    let jobs = systemctl(&["list-jobs", "--full", "--no-legend"]);
    systemctl(&["kill", "--signal=KILL", first]);
    systemctl(&["reset-failed", first]);
    std::fs::remove_file(path(first)).unwrap();
    assert!(waits.reason.contains("systemd's queue"), "{waits:?}");
    assert_eq!(stopped.state(), v1::AttemptState::Done, "{stopped:?}");
    assert!(!jobs.contains(&node.name), "{jobs}");
    node.is(|seen| seen.state() == InstanceState::Stopped).await;
}

/// Seen to fail with a unit that has failed taken for an active one.
#[tokio::test]
async fn a_check_of_a_unit_is_good_while_systemd_calls_it_active_and_bad_when_it_is_not() {
    let section = "ExecStart=/bin/sleep infinity\nRestart=no";
    let Some(mut node) = Node::with("checked", section, 0).await else {
        return;
    };
    let check = |name: &str, unit: &str| v1::AssignedCheck {
        service: "db".into(),
        check: name.into(),
        every_ms: 50,
        timeout_ms: 5_000,
        fail: 1,
        pass: 1,
        fresh_ms: 10_000,
        kind: Some(Kind::Unit(unit.into())),
        ..v1::AssignedCheck::default()
    };
    let absent = "interlock-agent-test-absent.service";
    let checks = vec![check("up", &node.name), check("absent", absent)];
    let instances = [unit("db", &node.name)];
    node.session.assign_with(&instances, 0, checks, false).await;
    let is = |verdict: Verdict, says: &'static str| {
        move |seen: &v1::CheckResult| seen.verdict() == verdict && seen.evidence.contains(says)
    };
    node.session
        .check("absent", is(Verdict::Bad, "does not exist"))
        .await;
    node.session.check("up", is(Verdict::Bad, "stopped")).await;
    node.start().await;
    node.session.check("up", is(Verdict::Ok, "active")).await;
    node.crash();
    node.session.check("up", is(Verdict::Bad, "failed")).await;
    systemctl(&["start", &node.name]);
    node.session.check("up", is(Verdict::Ok, "active")).await;
    systemctl(&["stop", &node.name]);
    node.session.check("up", is(Verdict::Bad, "is ")).await;
}
