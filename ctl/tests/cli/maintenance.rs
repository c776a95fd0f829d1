//! `maintenance`.

use interlock_proto::v1;
use interlock_proto::v1::maintenance_scope::Of;
use serde_json::json;

use crate::scripted::{Script, Scripted};

fn of(of: Of, reason: &str) -> v1::Maintenance {
    v1::Maintenance {
        scope: Some(v1::MaintenanceScope { of: Some(of) }),
        owner: "bert".to_owned(),
        reason: reason.to_owned(),
        since_ms: 1_700_000_000_000,
        until_ms: 1_700_003_600_000,
    }
}

fn cluster() -> Scripted {
    let script = Script {
        status: v1::Status {
            generation: 1,
            maintenance: vec![
                of(Of::Node("db1".to_owned()), "new disks"),
                of(Of::Service("web".to_owned()), "\u{1b}[31mred"),
            ],
            ..Default::default()
        },
        ..Script::default()
    };
    Scripted::start(script, "operator")
}

#[test]
fn what_is_in_maintenance_is_listed_and_shown_in_the_status() {
    let cluster = cluster();
    for command in ["maintenance list", "status"] {
        let shown = cluster.place.run(command).exits(0).stdout;
        let lines: Vec<&str> = shown.lines().collect();
        let line = lines.iter().find(|line| line.contains("node db1"));
        let line = line.unwrap_or_else(|| panic!("{command}: {shown}"));
        assert!(
            line.contains("bert") && line.contains("new disks"),
            "{line}"
        );
        assert!(!shown.contains('\u{1b}'), "{command}: {shown:?}");
    }
    let listed = cluster.place.run("maintenance list -o json").json();
    assert_eq!(listed[0]["node"], "db1");
    assert_eq!(listed[0]["until"], "2023-11-14T23:13:20.000Z");
    let status = cluster.place.run("status -o json").json();
    assert_eq!(status["maintenance"][1]["service"], "web");
}

#[test]
fn it_is_entered_with_a_reason_and_an_end_for_one_thing() {
    let cluster = cluster();
    let place = &cluster.place;
    for (wrong, says) in [
        ("maintenance enter --node db1 --reason x", "--for"),
        ("maintenance enter --node db1 --for 2h", "--reason"),
        ("maintenance enter --for 2h --reason x", "--node"),
        (
            "maintenance enter --node db1 --service web --for 2h --reason x",
            "--service",
        ),
    ] {
        let said = place.run(wrong).exits(64).stderr;
        assert!(said.contains(says), "{wrong}: {said}");
    }
    let entered = place
        .run("maintenance enter --service db --for 2h --reason disks -o json")
        .json();
    assert_eq!(
        entered[0],
        json!({ "node": null, "service": "db", "owner": "anna", "reason": "disks",
                "since": "1970-01-01T00:00:01.000Z", "until": "1970-01-01T02:00:01.000Z" })
    );
    place.run("maintenance leave --node db1").exits(0);
    let said = place.run("maintenance leave --node db2").exits(2).stderr;
    assert!(said.contains("not in maintenance"), "{said}");
}
