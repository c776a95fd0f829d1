//! Completions.

use interlock_model::plan::{PlanKind, SealedPlan};
use interlock_planner::Scope;
use interlock_proto::v1;

use crate::following::response_for;
use crate::scripted::{Script, Scripted};
use crate::support::{SPEC, Workplace};

#[test]
fn each_shell_has_a_script_that_asks_this_program() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&format!("completions {shell}")).exits(0).stdout;
        assert!(
            script.contains("COMPLETE") && script.contains("interlockctl"),
            "{script}"
        );
    }
}

#[test]
fn without_a_cluster_live_names_are_silently_none() {
    let place = Workplace::new();
    let mut command = place.command("-- interlockctl node show");
    let output = command
        .arg("x")
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "3")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

/// What completes is looked at, not how fast: on a machine that has much to do a handshake takes its time.
const UNHURRIED: &str = "1m";

/// The names that a shell is offered for the last word of a line; flags are not among them.
fn offered(place: &Workplace, line: &[&str]) -> Vec<String> {
    let mut command = place.command("-- interlockctl");
    let output = command
        .args(line)
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", line.len().to_string())
        .env("INTERLOCK_COMPLETION_TIMEOUT", UNHURRIED)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text
        .split(['\u{b}', '\n'])
        .filter(|word| !word.is_empty() && !word.starts_with('-'));
    words.map(ToOwned::to_owned).collect()
}

fn applied() -> v1::GetSpecResponse {
    v1::GetSpecResponse {
        generation: 2,
        source: SPEC.into(),
        ..Default::default()
    }
}

/// An operation whose steps are all in one state.
fn operation(kind: PlanKind, state: &str) -> v1::Operation {
    let plan_json = response_for(kind, Scope::All, "db1").plan_json;
    let sealed = SealedPlan::open(plan_json.clone().into_bytes()).unwrap();
    let steps = sealed.plan().steps.iter();
    v1::Operation {
        plan_json,
        steps: steps
            .map(|step| v1::StepStatus {
                step: step.id.to_string(),
                state: state.into(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

#[test]
fn every_name_that_a_cluster_knows_is_offered() {
    let mut known = Script {
        spec: applied(),
        ..Script::default()
    };
    known.status.generation = 2;
    known.status.nodes = ["db1", "web1"]
        .map(|name| v1::NodeStatus {
            node: name.into(),
            ..Default::default()
        })
        .to_vec();
    let coordinator = Scripted::start(known, "reader");
    for (line, names) in [
        (
            ["plan", "shutdown", "--all", "--force", "web."].as_slice(),
            ["web.alive", "web.fit"].as_slice(),
        ),
        (
            &["plan", "shutdown", "--all", "--assume-active", "d"],
            &["db=db1", "db=db2"],
        ),
        (&["plan", "shutdown", "--host", ""], &["vmhost1"]),
        (&["plan", "shutdown", "--label", ""], &["tier=web"]),
        (&["node", "stop", "--node", ""], &["db1", "web1"]),
        (&["spec", "show", "--generation", ""], &["1", "2"]),
    ] {
        assert_eq!(offered(&coordinator.place, line), names, "{line:?}");
    }
}

#[test]
fn steps_and_gates_are_those_of_the_operation_on_the_line() {
    let two = Script {
        operations: [
            ("op-7".to_owned(), operation(PlanKind::Shutdown, "failed")),
            ("op-8".to_owned(), operation(PlanKind::Startup, "gated")),
        ]
        .into(),
        ..Script::default()
    };
    let coordinator = Scripted::start(two, "reader");
    let place = &coordinator.place;
    let standing = offered(place, &["op", "retry", "op-7", "stop:db"]);
    assert_eq!(standing, ["stop:db@db1", "stop:db@db2"]);
    assert_eq!(offered(place, &["op", "retry", "op-8", ""]), [""; 0]);
    assert_eq!(offered(place, &["approve", "op-8", ""]), ["look"]);
    assert_eq!(offered(place, &["approve", "op-7", ""]), [""; 0]);
}

/// What bash inserts for the word at the end of a line, which it breaks as it does by default.
fn inserted(place: &Workplace, line: &str, broken: &[&str], current: &str) -> String {
    let script = place.run("completions bash").exits(0).stdout;
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_interlockctl"));
    let call = format!(
        "{script}\nCOMP_LINE=$1 COMP_POINT=${{#1}}; shift; current=$1; shift; COMP_WORDS=(\"$@\"); \
         COMP_CWORD=$(($# - 1)); _clap_complete_interlockctl interlockctl \"$current\"; echo \"${{COMPREPLY[*]}}\""
    );
    let output = std::process::Command::new("bash")
        .args(["--norc", "-c", &call, "bash", line, current])
        .args(broken)
        .env_clear()
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
        )
        .env("INTERLOCK_CONFIG", place.path("config.toml"))
        .env("INTERLOCK_COMPLETION_TIMEOUT", UNHURRIED)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn bash_completes_names_at_which_it_breaks_words() {
    let mut known = Script {
        spec: applied(),
        ..Script::default()
    };
    known.operations = [("op-7".to_owned(), operation(PlanKind::Shutdown, "failed"))].into();
    let coordinator = Scripted::start(known, "reader");
    let place = &coordinator.place;
    let step = [
        "interlockctl",
        "op",
        "retry",
        "op-7",
        "stop",
        ":",
        "db",
        "@",
        "db",
    ];
    assert_eq!(
        inserted(place, "interlockctl op retry op-7 stop:db@db", &step, "db"),
        "db1 db2"
    );
    let side = [
        "interlockctl",
        "plan",
        "shutdown",
        "--all",
        "--assume-active",
        "db",
        "=",
    ];
    assert_eq!(
        inserted(
            place,
            "interlockctl plan shutdown --all --assume-active db=",
            &side,
            ""
        ),
        "db1 db2"
    );
    let whole = ["interlockctl", "plan", "shutdown", "--label", "ti"];
    assert_eq!(
        inserted(place, "interlockctl plan shutdown --label ti", &whole, "ti"),
        "tier=web"
    );
}
