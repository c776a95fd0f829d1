//! Standard output is data, standard error is talk.

use std::process::{Command, Stdio};

use interlock_proto::v1;

use crate::scripted::{Script, Scripted};
use crate::support::Workplace;

#[test]
fn a_reader_that_goes_away_is_success() {
    let place = Workplace::new();
    // A plan of more bytes than a pipe holds, so that a write meets the end of its reader whatever the scheduling.
    place.write(
        "shop.yaml",
        "cluster: shop\n\
         nodes: { \"n[1-900]\": { address: \"n[1-900]\" } }\n\
         services: { web: { nodes: \"n[1-900]\", active: all, manager: { process: { name: web } } } }\n",
    );
    let words = "plan startup --all -f shop.yaml --offline -o json";
    assert!(place.run(words).exits(0).stdout.len() > 1 << 17);
    let mut child = Command::new(env!("CARGO_BIN_EXE_interlockctl"))
        .args(words.split(' '))
        .current_dir(place.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn there_are_no_colours_where_there_is_no_terminal() {
    let place = Workplace::with_spec();
    let ran = place
        .run("plan shutdown --all -f shop.yaml --offline")
        .exits(5);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'));
}

#[test]
fn an_error_is_talk_and_leaves_the_data_empty() {
    let ran = Workplace::new()
        .run("spec agent-config db1 -f no.yaml")
        .exits(2);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.starts_with("error: cannot read"),
        "{}",
        ran.stderr
    );
}

#[test]
fn events_that_are_not_followed_are_one_value() {
    let event = |revision| v1::Event {
        revision,
        kind: "spec-applied".into(),
        ..Default::default()
    };
    for count in [0, 1, 2] {
        let script = Script {
            events: (1..=count).map(event).collect(),
            ..Script::default()
        };
        let coordinator = Scripted::start(script, "reader");
        let value = coordinator.place.run("events -o json").exits(0).json();
        let events = value.as_array().unwrap();
        assert_eq!(events.len() as u64, count, "{value}");
        let text = coordinator.place.run("events").exits(0).stdout;
        assert_eq!(text.lines().count() as u64, count, "{text}");
    }
}
