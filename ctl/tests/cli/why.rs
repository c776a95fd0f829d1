//! `why`: what a person is told of a move of a role.

use interlock_proto::v1;
use serde_json::json;

use crate::scripted::{Script, Scripted};

const AT: u64 = 1_700_000_000_000;

fn moved(epoch: u64, at: u64) -> v1::Decision {
    v1::Decision {
        service: "db".into(),
        epoch,
        node: "db2".into(),
        cause: "automatic failover".into(),
        before: "db1".into(),
        over: vec![v1::EpochOver {
            epoch: epoch - 1,
            how: "expired".into(),
            why: "the lease of db1 expired at revision 11".into(),
        }],
        evidence: vec![
            "db1 has not renewed for 2.5s".into(),
            "its agent is not heard".into(),
        ],
        candidates: [("db1", "it holds the role"), ("db2", "")]
            .map(|(node, unfit)| v1::Candidate {
                node: node.into(),
                unfit: unfit.into(),
            })
            .to_vec(),
        last_renewed_ms: at,
        suspected_ms: 0,
        decided_ms: at + 2500,
        held_ms: at + 2600,
        primary_ms: at + 3100,
    }
}

fn coordinator() -> Scripted {
    let event = |revision, kind: &str, service: &str, at_ms| v1::Event {
        revision,
        at_ms,
        kind: kind.into(),
        service: service.into(),
        text: "it happened".into(),
        ..Default::default()
    };
    let leased = v1::ServiceStatus {
        service: "db".into(),
        lease: Some(v1::LeaseStatus::default()),
        ..Default::default()
    };
    let plain = v1::ServiceStatus {
        service: "web".into(),
        ..Default::default()
    };
    let script = Script {
        decisions: vec![moved(3, AT + 60_000), moved(2, AT)],
        events: vec![
            event(41, "lease-promoted", "db", AT + 3200),
            event(42, "spec-applied", "", AT),
        ],
        status: v1::Status {
            services: vec![leased, plain],
            ..Default::default()
        },
        ..Script::default()
    };
    Scripted::start(script, "reader")
}

#[test]
fn the_newest_decision_tells_evidence_proof_candidates_and_where_the_time_went() {
    let coordinator = coordinator();
    for command in ["why", "why db", "why db --epoch 3"] {
        let shown = coordinator.place.run(command).exits(0).stdout;
        let tells = [
            "db epoch 3: db2 was made the primary, by automatic failover",
            "  before      db1\n",
            "  over        epoch 2: the lease of db1 expired at revision 11\n",
            "  seen        db1 has not renewed for 2.5s\n",
            "              its agent is not heard\n",
            "  candidates  db1: it holds the role\n",
            "              db2: taken\n",
            "+2.5s decided\n",
            "+3.1s it is primary\n",
        ];
        for part in tells {
            assert!(
                shown.contains(part),
                "{command}: {part:?} is not in\n{shown}"
            );
        }
        assert!(
            !shown.contains("epoch 2: db2") && !shown.contains("suspected"),
            "{shown}"
        );
    }
    let all = coordinator.place.run("why db --last 5 -o json").json();
    let epochs: Vec<_> = all["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["epoch"])
        .collect();
    assert_eq!(epochs, [&json!(3), &json!(2)]);
    let newest = &all["decisions"][0];
    assert_eq!(newest["over"][0]["how"], "expired");
    assert_eq!(
        newest["candidates"][1],
        json!({ "node": "db2", "unfit": null })
    );
    assert_eq!(newest["times"]["suspected"], json!(null));
    assert!(newest["times"]["decided"].is_string(), "{newest}");
}

#[test]
fn an_event_leads_to_the_decision_that_its_service_was_under() {
    let coordinator = coordinator();
    let shown = coordinator.place.run("why 41").exits(0).stdout;
    assert!(shown.contains("it happened"), "{shown}");
    assert!(
        shown.contains("db epoch 2: db2") && !shown.contains("epoch 3"),
        "{shown}"
    );

    let ran = coordinator.place.run("why 42").exits(0);
    assert!(
        ran.stderr
            .contains("no decision over a role stands behind this event"),
        "{}",
        ran.stderr
    );
    let ran = coordinator.place.run("why 7").exits(2);
    assert!(ran.stderr.contains("there is no event 7"), "{}", ran.stderr);
    let ran = coordinator.place.run("why web").exits(0);
    assert!(ran.stderr.contains("web has no lease"), "{}", ran.stderr);
}

#[test]
fn what_has_no_decision_is_told_with_how_it_is_and_what_is_no_service_is_refused() {
    let mut script = Script {
        status: v1::Status {
            services: vec![v1::ServiceStatus {
                service: "web".into(),
                state: "degraded".into(),
                reason: "web.page on web2 is bad: refused".into(),
                ..Default::default()
            }],
            ..Default::default()
        },
        ..Script::default()
    };
    script.status.nodes = vec![v1::NodeStatus {
        node: "web2".into(),
        ..Default::default()
    }];
    let coordinator = Scripted::start(script, "reader");
    let said = coordinator.place.run("why web").exits(0).stderr;
    assert!(
        said.contains("web has no lease")
            && said.contains("it is degraded: web.page on web2 is bad"),
        "{said}"
    );
    for (about, told) in [
        (
            "wev",
            "the spec has no service wev: did you mean web? It has web",
        ),
        ("op-3", "`interlockctl operation show op-3`"),
        ("web2", "`interlockctl node show web2`"),
    ] {
        let said = coordinator
            .place
            .run(&format!("why {about}"))
            .exits(2)
            .stderr;
        assert!(said.contains(told), "{said}");
    }
}
