//! A device is asked by one fence agent at a time, also when the agent that began the first was killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use interlock_proto::v1;
use interlock_proto::v1::coordinator_message::Message as Order;
use interlock_proto::v1::dispatch::Command;

use crate::lab::{Lab, content};
use crate::scripted::id;

#[tokio::test]
async fn a_fence_agent_that_a_killed_agent_left_is_ended_before_the_device_is_asked_again() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    // Whoever asks while another one is at the device says so.
    let script = format!(
        "#!/bin/sh\nwhile read line; do case $line in action=*) action=${{line#action=}};; esac; done\n\
         case $action in metadata) cat <<XML\n<resource-agent name=\"fence_test\"><parameters><parameter name=\"plug\"/>\
         </parameters><actions><action name=\"on\"/><action name=\"off\"/><action name=\"status\"/></actions>\
         </resource-agent>\nXML\nexit 0;;\n\
         on) echo $$ > {here}/new; mv {here}/new {here}/switching; sleep 1000;;\n\
         status) if grep -q 'State:.[^ZX]' /proc/$(cat {here}/switching)/status; then touch {here}/beside; fi; exit 2;; esac\n"
    );
    let fence = lab.path("fence_test");
    fs::write(&fence, script).unwrap();
    fs::set_permissions(&fence, fs::Permissions::from_mode(0o755)).unwrap();
    let file = format!("[allow]\npower = [\"fence_test\"]\nfence_dir = [\"{here}\"]\n");
    lab.configure(&coordinator.endpoint, &file);
    let agent = lab.start().await;
    let session = coordinator.session(1).await;
    let call = v1::FenceCall {
        device: "pdu1".into(),
        agent: "fence_test".into(),
        action: "on".into(),
        node: "n2".into(),
        plug: "2".into(),
        options: [].into(),
        limit_ms: 50_000,
    };
    session.dispatch(id("fence", 1), Command::Fence(call)).await;
    content(&lab.path("switching"), |text| text.ends_with('\n')).await;
    agent.kill().await;

    let _agent = lab.start().await;
    let mut session = coordinator.session(2).await;
    session
        .order(Order::Query(v1::Query {
            term: 2,
            id: Some(id("fence", 1)),
        }))
        .await;
    let outcome = session.outcome(&id("fence", 1)).await;
    assert_eq!(outcome.state(), v1::AttemptState::Unknown, "{outcome:?}");
    assert!(outcome.evidence.contains("power is off"), "{outcome:?}");
    assert!(
        !lab.path("beside").exists(),
        "two fence agents were at the device"
    );
}
