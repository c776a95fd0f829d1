//! What views say that scripts and people rely on.

use interlock_proto::v1;
use serde_json::json;

use crate::following::{script, word};
use crate::scripted::{Script, Scripted};
use crate::support::{SPEC, Workplace};

fn asked(verb: &str, step: &str, reason: &str) -> v1::Asked {
    v1::Asked {
        at_ms: 1_700_000_000_000,
        by: "anna".into(),
        verb: verb.into(),
        step: step.into(),
        reason: reason.into(),
    }
}

#[test]
fn what_people_have_asked_of_an_operation_is_shown_with_who_when_and_why() {
    let mut known = script(vec![]);
    let mut running = word("running", "running", "");
    running.asked = (0..9).map(|_| asked("next", "", "")).collect();
    running
        .asked
        .push(asked("retry", "stop:web@web1", "its disk was full"));
    running.asked.push(asked("unwind", "", "a\nb"));
    known.operations.insert("op-7".into(), running);
    let coordinator = Scripted::start(known, "reader");
    let said = coordinator.place.run("operation show op-7").exits(0).stdout;
    for line in [
        "asked 1 times before that: interlockctl operation journal op-7\n",
        "asked 2023-11-14 22:13:20: retry stop:web@web1 by anna: its disk was full\n",
        "asked 2023-11-14 22:13:20: abort --unwind by anna: a b\n",
    ] {
        assert!(said.contains(line), "{line:?} in\n{said}");
    }
    let shown = coordinator.place.run("operation show op-7 -o json");
    let value = shown.exits(0).json();
    assert_eq!(value["asked"].as_array().unwrap().len(), 11);
    assert_eq!(
        value["asked"][9],
        json!({ "at": "2023-11-14T22:13:20.000Z", "by": "anna", "verb": "retry", "step": "stop:web@web1",
            "reason": "its disk was full" })
    );
    assert_eq!(value["asked"][0]["reason"], json!(null));
    // The plan with its gates is there, too.
    let steps = value["plan"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["id"] == "stop:web@web1");
    assert_eq!(step.unwrap()["gates"], json!([]));
}

#[test]
fn an_operation_of_a_store_that_takes_no_writes_says_so() {
    let mut known = script(vec![]);
    let mut running = word("running", "running", "");
    running.store_trouble = "no space left".into();
    known.operations.insert("op-7".into(), running);
    let coordinator = Scripted::start(known, "reader");
    let shown = coordinator.place.run("operation show op-7").exits(0).stdout;
    assert!(
        shown.contains("the store takes no writes (no space left): this is what it holds"),
        "{shown}"
    );
}

#[test]
fn a_node_on_which_no_agent_runs_is_no_silent_one() {
    let mut known = Script::default();
    known.status.generation = 1;
    known.status.nodes = vec![v1::NodeStatus {
        node: "box".into(),
        power: v1::Power::On.into(),
        agentless: Some(v1::Agentless {
            probed_from: vec!["a".into(), "b".into()],
        }),
        instances: vec![v1::Instance {
            service: "pbx".into(),
            state: v1::InstanceState::Running.into(),
            ..Default::default()
        }],
        ..Default::default()
    }];
    let coordinator = Scripted::start(known, "reader");
    let place = &coordinator.place;
    let said = place.run("status").exits(0).stdout;
    let row = said.lines().find(|line| line.starts_with("box ")).unwrap();
    let cells: Vec<&str> = row
        .split("  ")
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    assert_eq!(
        cells,
        [
            "box",
            "none, probed from a, b",
            "-",
            "-",
            "-",
            "-",
            "pbx running, as its machine is taken to be"
        ]
    );
    let said = place.run("node show box").exits(0).stdout;
    assert!(
        said.contains("agent       none, by the spec: probed from a, b\n"),
        "{said}"
    );
    assert!(
        !said.contains("unheard") && !said.contains("never"),
        "{said}"
    );
    let value = place.run("node show box -o json").exits(0).json();
    assert_eq!(value["liveness"], json!(null));
    assert_eq!(value["agentless"]["probed_from"], json!(["a", "b"]));
}

/// Most clusters never ask for a restart of a machine: the plans that would tell it.
#[test]
fn a_bundle_tells_the_refusals_that_the_status_tells() {
    use v1::refusal::Permission;
    let refusal = |permission, why: &str| v1::Refusal {
        permission: Some(permission),
        why: why.to_owned(),
    };
    let mut known = Script::default();
    known.status.generation = 1;
    known.status.nodes = vec![v1::NodeStatus {
        node: "web1".into(),
        liveness: v1::Liveness::Alive.into(),
        refuses: vec![
            refusal(Permission::Reboot(v1::Reboot {}), "it may not be restarted"),
            refusal(Permission::Operate("web".into()), "web is not permitted"),
        ],
        ..Default::default()
    }];
    let coordinator = Scripted::start(known, "reader");
    let place = &coordinator.place;
    let said = place.run("status").exits(0).stdout;
    assert!(
        said.contains("the agent of web1 would refuse 1 of"),
        "{said}"
    );
    let bundle = place.run("support bundle -o json --out b.tar.zst").exits(8);
    let told = bundle.json();
    assert_eq!(told["path"], "b.tar.zst");
    assert!(!place.path("json").exists() && place.path("b.tar.zst").exists());
    let told = told["not_well"].to_string();
    assert!(
        told.contains("agent of web1: web is not permitted"),
        "{told}"
    );
    let said = place.run("support bundle --out c.tar.zst").stderr;
    assert!(
        said.contains("agent of web1: web is not permitted"),
        "{said}"
    );
    assert!(!said.contains("it may not be restarted"), "{said}");
}

#[test]
fn an_event_has_one_decision_and_no_epoch_can_be_asked_of_it() {
    let coordinator = Scripted::start(Script::default(), "reader");
    for option in ["--epoch 3", "--last 2"] {
        let ran = coordinator.place.run(&format!("why 41 {option}")).exits(64);
        assert!(
            ran.stderr
                .contains("41 is an event, which has one decision behind it"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_dry_run_beside_an_operation_shows_what_would_change_and_who_holds_what() {
    let holds = "op-16 (restart --service web, started by berta) is running and holds web, web1";
    let mut busy = Script {
        spec_held: Some(holds),
        ..Script::default()
    };
    busy.status.generation = 4;
    let coordinator = Scripted::start(busy, "admin");
    let place = &coordinator.place;
    place.write("shop.yaml", SPEC);
    let ran = place.run("spec apply shop.yaml --dry-run").exits(0);
    assert!(ran.stdout.contains("~ what would change"), "{}", ran.stdout);
    let told = format!("warning: {holds}: this can be applied when it is over\n");
    assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    // Who would apply it is not asked first.
    let ran = place.run("spec apply shop.yaml").exits(2);
    assert!(
        ran.stderr.contains(holds) && ran.stderr.contains("Nothing was applied"),
        "{}",
        ran.stderr
    );
    assert!(coordinator.script.applied.lock().unwrap().is_empty());
}

#[test]
fn a_process_that_is_given_longer_to_stop_than_its_step_is_warned_of() {
    let place = Workplace::new();
    let spec = SPEC.replace(
        "    requires: [db]\n",
        "    requires: [db]\n    timeouts: { stop: 8s }\n",
    );
    place.write("shop.yaml", &spec);
    let file = |name: &str, process: &str| {
        place.write(name, &format!("[node]\nname = 'web1'\n[process.web]\n{process}\n[process.other]\nstop_grace = '9h'\n"));
    };
    file("long.toml", "stop_grace = '1m'");
    file("silent.toml", "command = ['/bin/web']");
    file("short.toml", "stop_grace = '5s'");
    let said = |name: &str| {
        place
            .run(&format!("spec check shop.yaml --agent-config {name}"))
            .exits(0)
    };
    let long = said("long.toml");
    assert!(
        long.stderr
            .contains("stop_grace of the process web is 1m, and a stop of web has 8s")
            && long.stderr.contains("long.toml:4:"),
        "{}",
        long.stderr
    );
    assert!(long.stdout.contains("valid, 1 warning"), "{}", long.stdout);
    assert!(
        said("silent.toml")
            .stderr
            .contains("web is 10s, which is the default, and a stop of web has 8s")
    );
    assert_eq!(said("short.toml").stderr, "");
    place.write("alien.toml", "[node]\nname = 'zzz'\n");
    assert!(
        said("alien.toml")
            .stderr
            .contains("the spec has no node zzz")
    );
    place.write("bad.toml", "x = 1");
    let ran = place
        .run("spec check shop.yaml --agent-config bad.toml")
        .exits(2);
    assert!(
        ran.stderr.contains("bad.toml: this is no file of an agent"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_error_has_a_stable_word_for_programs() {
    let mut refusing = script(vec![]);
    refusing.refusal = Some("the cluster has changed".to_owned());
    let coordinator = Scripted::start(refusing, "operator");
    let place = &coordinator.place;
    for (line, code, exit) in [
        ("operation show op-9 -o json", "not-found", 2),
        ("shutdown --service web --yes -o json", "plan-stale", 2),
        ("why 3 --epoch 1 -o json", "usage", 64),
        (
            "power verify -o json --endpoint 127.0.0.1:1",
            "unreachable",
            3,
        ),
        ("spec apply nowhere.yaml -o json", "refused", 2),
    ] {
        let ran = place.run(line).exits(exit);
        let last = ran.stderr.lines().last().unwrap();
        let value: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!(value["error"]["code"], code, "{line}: {value}");
        assert_eq!(value["error"]["exit"], exit, "{line}");
        assert!(!value["error"]["message"].as_str().unwrap().is_empty());
    }
    // For people it is a text.
    let ran = place.run("operation show op-9").exits(2);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
}
