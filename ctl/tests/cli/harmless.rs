//! What comes from elsewhere reaches no terminal as it came, and reasons are bounded.

use interlock_proto::v1;

use crate::following::{script, word};
use crate::scripted::{Script, Scripted};
use crate::support::Ran;

/// A text that would clear the screen, forge a line, and turn the rest around.
const NASTY: &str = "why\u{1b}[2J\nforged\r\u{9b}31m\u{202e}";

#[track_caller]
fn is_harmless(ran: &Ran) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains("why"), "it is shown at all: {all:?}");
    let obeyed = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
    assert!(!all.contains(obeyed), "{all:?}");
    assert!(
        !all.lines().any(|line| line.starts_with("forged")),
        "{all:?}"
    );
}

fn nasty_operation(state: &str) -> v1::Operation {
    let mut operation = word(state, "failed", NASTY);
    operation.attention = NASTY.into();
    let summary = operation.summary.as_mut().unwrap();
    summary.reason = NASTY.into();
    summary.started_by = NASTY.into();
    operation
}

fn everything_nasty() -> Script {
    let standing = nasty_operation("needs-attention");
    let mut nasty = script(vec![vec![standing.clone()]]);
    nasty.events = vec![v1::Event {
        revision: 1,
        at_ms: 1_700_000_000_000,
        kind: "operation-started".into(),
        who: NASTY.into(),
        text: NASTY.into(),
        ..Default::default()
    }];
    nasty.status = v1::Status {
        cluster: "shop".into(),
        generation: 1,
        causes: vec![v1::RootCause {
            subject: "db".into(),
            what: NASTY.into(),
            dependants: vec![NASTY.into()],
        }],
        nodes: vec![v1::NodeStatus {
            node: "db1".into(),
            agent_version: NASTY.into(),
            boot_id: NASTY.into(),
            power_verified: NASTY.into(),
            ..Default::default()
        }],
        operations: standing.summary.iter().cloned().collect(),
        ..Default::default()
    };
    nasty.operations = [("op-7".to_owned(), standing)].into();
    nasty.matches = vec![v1::PowerMatch {
        node: "db1".into(),
        device: "kvm".into(),
        plug: NASTY.into(),
        proof: v1::PlugProof::Contradicted.into(),
        expected: NASTY.into(),
        found: NASTY.into(),
        detail: NASTY.into(),
        ..Default::default()
    }];
    nasty.refusal = Some(NASTY.to_owned());
    nasty
}

#[test]
fn whatever_is_printed_for_people_obeys_nobody_else() {
    let coordinator = Scripted::start(everything_nasty(), "operator");
    for (line, code) in [
        ("events", 0),
        ("status", 0),
        ("node show db1", 0),
        ("operation show op-7", 0),
        ("operation watch op-7", 4),
        ("power verify", 2),
        ("shutdown --service web --yes", 2),
    ] {
        is_harmless(&coordinator.place.run(line).exits(code));
    }
}

#[test]
fn a_reason_is_bounded_before_anything_is_asked() {
    let coordinator = Scripted::start(script(vec![]), "operator");
    let long = "x".repeat(301);
    for line in [
        "operation pause op-7 --reason",
        "spec apply shop.yaml --reason",
        "operation skip op-7 s --reason",
        "approve op-7 look --reason",
        "shutdown --service web --yes --reason",
        "node stop web --node web1 --reason",
    ] {
        let ran = coordinator.place.run(&format!("{line} {long}")).exits(64);
        assert!(ran.stderr.contains("300 bytes"), "{}", ran.stderr);
    }
    let script = &coordinator.script;
    assert!(script.started.lock().unwrap().is_empty());
    assert!(script.controlled.lock().unwrap().is_empty());
}

#[test]
fn an_approval_and_an_act_by_hand_say_why() {
    let coordinator = Scripted::start(script(vec![]), "operator");
    let place = &coordinator.place;
    for blank in ["", "  "] {
        for line in [
            "approve op-7 look --reason",
            "node start web --node web1 --reason",
        ] {
            let mut command = place.command(line);
            let ran = Ran::of(command.arg(blank).output().unwrap()).exits(64);
            assert!(ran.stderr.contains("say why"), "{}", ran.stderr);
        }
    }
    place.run("node start web --node web1").exits(64);
    assert!(coordinator.script.controlled.lock().unwrap().is_empty());
    place.run("approve op-7 look --reason heard").exits(0);
    let controlled = coordinator.script.controlled.lock().unwrap();
    assert_eq!(controlled[0].reason, "heard");
}
