//! `unblock`.

use interlock_proto::v1;

use crate::scripted::{Script, Scripted};

fn block(service: &str) -> v1::FailoverBlock {
    v1::FailoverBlock {
        service: service.to_owned(),
        since_ms: 1_700_000_000_000,
        times: 3,
        window_ms: 3_600_000,
        command: format!("interlockctl unblock --service {service} --reason TEXT"),
    }
}

#[test]
fn what_has_moved_too_often_is_shown_with_the_command_that_ends_it() {
    let script = Script {
        status: v1::Status {
            generation: 1,
            blocks: vec![block("db")],
            ..Default::default()
        },
        ..Script::default()
    };
    let cluster = Scripted::start(script, "operator");
    let place = &cluster.place;
    let shown = place.run("status").exits(0).stdout;
    let line = shown.lines().find(|line| line.contains("service db"));
    let line = line.unwrap_or_else(|| panic!("{shown}"));
    for part in ["3 failovers within 1h", "interlockctl unblock --service db"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!shown.contains("everything is as it shall be"), "{shown}");
    for (wrong, says) in [
        ("unblock --service db", "--reason"),
        ("unblock --reason x", "--service"),
        ("unblock --service db --all --reason x", "--all"),
    ] {
        let said = place.run(wrong).exits(64).stderr;
        assert!(said.contains(says), "{wrong}: {said}");
    }
    let ended = place.run("unblock --service db --reason x -o json").json();
    assert_eq!(ended[0]["service"], "db");
    assert_eq!(ended[0]["window_ms"], 3_600_000);
    let said = place
        .run("unblock --service web --reason x")
        .exits(2)
        .stderr;
    assert!(said.contains("not blocked"), "{said}");
}
