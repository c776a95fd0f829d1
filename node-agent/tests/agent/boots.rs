//! The machine is booted: what the agent supervises is gone, and what was wanted is remembered.

use std::fs;

use interlock_proto::v1;
use interlock_proto::v1::InstanceState;
use interlock_proto::v1::dispatch::Command;
use rustix::process::Signal;

use crate::lab::{Lab, pid_of, signal};
use crate::scripted::{id, process};

/// What is assigned: the service, and what is said of its instance.
struct Case {
    service: &'static str,
    autostart: bool,
    exclusive: bool,
}

const CASES: [Case; 4] = [
    Case {
        service: "auto",
        autostart: true,
        exclusive: false,
    },
    Case {
        service: "manual",
        autostart: false,
        exclusive: false,
    },
    Case {
        service: "only",
        autostart: true,
        exclusive: true,
    },
    Case {
        service: "stopped",
        autostart: true,
        exclusive: false,
    },
];

fn file() -> String {
    let mut allow = "[allow.services]\n".to_owned();
    let mut processes = String::new();
    for Case { service, .. } in CASES {
        allow.push_str(&format!("{service} = {{ process = \"{service}\" }}\n"));
        processes.push_str(&format!(
            "[process.{service}]\ncommand = [\"/bin/sleep\", \"1000\"]\n"
        ));
    }
    allow + &processes
}

fn set(instance: &mut v1::AssignedInstance) {
    let case = CASES
        .iter()
        .find(|case| case.service == instance.service)
        .unwrap();
    (instance.autostart, instance.exclusive) = (case.autostart, case.exclusive);
}

#[tokio::test]
async fn after_a_boot_only_what_comes_up_with_its_machine_and_is_wanted_is_started() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &file());
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let instances = CASES.map(|case| process(case.service));
    session.assign_all(&instances, 5, Vec::new(), set).await;
    let mut pids = Vec::new();
    for Case { service, .. } in CASES {
        session
            .dispatch(id(service, 1), Command::Start(process(service)))
            .await;
        let done = session.outcome(&id(service, 1)).await;
        assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
        let running = |seen: &v1::Instance| seen.state() == InstanceState::Running;
        pids.push(pid_of(&session.instance(service, running).await));
    }
    session
        .dispatch(id("stopped", 2), Command::Stop(process("stopped")))
        .await;
    session.outcome(&id("stopped", 2)).await;

    // The power goes: first the agent, then everything at once, and another boot.
    agent.kill().await;
    for pid in pids {
        signal(pid, Signal::KILL);
    }
    lab.runs_have_ended().await;
    fs::write(lab.path("boot_id"), "boot-2\n").unwrap();
    // Nobody is there to tell anything: it knows by itself.
    drop(session);
    coordinator.vanish().await;
    let agent = lab.start().await;
    let state = |node: &v1::Node, service: &str| {
        let instance = node.instances.iter().find(|seen| seen.service == service);
        instance.map(v1::Instance::state)
    };
    let up = |node: &v1::Node| state(node, "auto") == Some(InstanceState::Running);
    let node = lab.node(&agent, up).await;
    for service in ["manual", "only", "stopped"] {
        assert_eq!(
            state(&node, service),
            Some(InstanceState::Stopped),
            "{service}"
        );
    }
    let wanted: Vec<_> = node.instances.iter().map(v1::Instance::wanted).collect();
    assert_eq!(wanted.len(), 4);

    // A clean stop by hand is left alone, by the next agent of the same boot, too.
    let auto = node
        .instances
        .iter()
        .find(|seen| seen.service == "auto")
        .unwrap();
    signal(pid_of(auto), Signal::TERM);
    let down = |node: &v1::Node| state(node, "auto") == Some(InstanceState::Stopped);
    lab.node(&agent, down).await;
    agent.kill().await;
    let agent = lab.start().await;
    let node = lab.node(&agent, |node| !node.instances.is_empty()).await;
    assert_eq!(state(&node, "auto"), Some(InstanceState::Stopped));
    assert!(
        !lab.log()
            .contains("starting: it comes up with its machine service=only")
    );
}
