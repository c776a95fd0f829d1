//! Every kind of check that a spec can have arrives at an agent as it was declared.

use std::collections::BTreeSet;

use interlock_model::check::{Check, CheckFrom, CheckId};
use interlock_model::spec::Spec;
use interlock_proto::convert::{check_from_wire, check_to_wire};
use interlock_proto::v1::AssignedCheck;
use interlock_proto::v1::assigned_check::Kind;
use prost::Message as _;

/// The spec in which every key stands.
const EVERYTHING: &str = include_str!("../../core/model/tests/specs/everything.yaml");

#[test]
fn a_check_of_each_kind_survives_the_wire() {
    let spec = Spec::parse(EVERYTHING.as_bytes(), "everything.yaml")
        .unwrap()
        .spec;
    let (mut kinds, mut tls) = (BTreeSet::new(), BTreeSet::new());
    for (service, declared) in &spec.services {
        for (check, declared) in &declared.checks {
            let id = CheckId {
                service: service.clone(),
                check: check.clone(),
            };
            let bytes = check_to_wire(&id, declared).encode_to_vec();
            let wire = AssignedCheck::decode(&*bytes).unwrap();
            // Where it runs has been decided by then.
            let arrived = Check {
                from: CheckFrom::Own,
                ..declared.clone()
            };
            assert_eq!(check_from_wire(&wire).unwrap(), (id, arrived));
            kinds.insert(declared.kind.word());
            if declared.kind.tls().is_some() {
                tls.insert(declared.kind.word());
                // An agent that knows nothing of TLS does not know this kind, and runs nothing in clear text.
                assert!(matches!(wire.kind, Some(Kind::OverTls(_))), "{wire:?}");
            }
        }
    }
    assert!(tls.iter().eq(&["mariadb", "postgres", "redis"]), "{tls:?}");
    let all = [
        "address",
        "clock",
        "exec",
        "haproxy",
        "http",
        "mariadb",
        "marker",
        "mount",
        "postgres",
        "redis",
        "same",
        "tcp",
        "unit",
        "websocket",
    ];
    assert!(kinds.iter().eq(&all), "{kinds:?}");
}
