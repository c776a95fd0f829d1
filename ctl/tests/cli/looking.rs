//! Looking: at operations, at nodes, at what happens, at the spec.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use interlock_proto::v1;

use crate::following::{response_for, script, web, word};
use crate::scripted::{Script, Scripted};
use crate::support::SPEC;

fn node(name: &str, liveness: v1::Liveness, heard_ms: u64) -> v1::NodeStatus {
    v1::NodeStatus {
        node: name.into(),
        liveness: liveness.into(),
        heard_ms: Some(heard_ms),
        ..Default::default()
    }
}

#[test]
fn a_step_whose_agent_is_lost_says_so_with_its_time_and_its_limit() {
    let mut stuck = word("running", "running", "");
    stuck.possible = ["pause", "abort", "unwind"].map(String::from).to_vec();
    stuck.steps[0].waits_for = "stop sent to web1".into();
    let mut lost = script(vec![]);
    lost.operations = [("op-7".to_owned(), stuck)].into();
    lost.status = v1::Status {
        at_ms: 1_700_000_065_500,
        nodes: vec![
            node("web1", v1::Liveness::Lost, 42_000),
            node("web2", v1::Liveness::Alive, 300),
        ],
        ..Default::default()
    };
    let coordinator = Scripted::start(lost, "reader");
    let ran = coordinator.place.run("operation show op-7").exits(0);
    let line = |step: &str| {
        let found = ran.stdout.lines().find(|line| line.starts_with(step));
        found.unwrap_or_else(|| panic!("{}", ran.stdout)).to_owned()
    };
    let one = line("stop:web@web1");
    assert!(
        one.contains("its agent on web1 is lost, last heard 42s ago; waits for stop sent to web1"),
        "{one}"
    );
    let limit = response_limit("stop:web@web1");
    assert!(one.contains(&format!("1m 05s of {limit}")), "{one}");
    assert!(!line("stop:web@web2").contains("its agent"));
    assert!(
        ran.stdout
            .contains("possible now: pause, abort, abort --unwind"),
        "what is possible is what can be typed:\n{}",
        ran.stdout
    );
    let value = coordinator.place.run("operation show op-7 -o json").json();
    assert!(
        value["steps"][0]["agent"]
            .as_str()
            .unwrap()
            .contains("lost")
    );
    assert!(value["steps"][0]["limit_ms"].as_u64().unwrap() > 0);
}

/// The limit of a step of the plan that `word` has, as people read it.
fn response_limit(step: &str) -> String {
    use interlock_model::plan::{PlanKind, SealedPlan};
    let plan = response_for(PlanKind::Shutdown, web(), "db1").plan_json;
    let sealed = SealedPlan::open(plan.into_bytes()).unwrap();
    let mut steps = sealed.plan().steps.iter();
    let found = steps.find(|it| it.id.as_str() == step).unwrap();
    interlock_model::time::human::text(found.timeout)
}

#[test]
fn the_power_of_a_node_that_speaks_is_known_by_that() {
    let mut speaking = node("web1", v1::Liveness::Alive, 10);
    speaking.power = v1::Power::On.into();
    speaking.power_verified = "alias".into();
    let mut asked = node("web2", v1::Liveness::Lost, 90_000);
    asked.power = v1::Power::Off.into();
    asked.power_age_ms = Some(5_000);
    asked.power_verified = "alias".into();
    let mut known = Script::default();
    known.status.nodes = vec![speaking, asked];
    let coordinator = Scripted::start(known, "reader");
    let ran = coordinator.place.run("node show web1").exits(0);
    assert!(
        ran.stdout
            .contains("on (its agent speaks, its source was not asked)"),
        "{}",
        ran.stdout
    );
    let ran = coordinator.place.run("node show web2").exits(0);
    assert!(
        ran.stdout.contains("off (its source was asked 5s ago)"),
        "{}",
        ran.stdout
    );
}

#[test]
fn all_is_well_only_where_nothing_is_the_matter_for_people_and_programs_alike() {
    let ok = v1::ServiceStatus {
        service: "web".into(),
        state: "ok".into(),
        ..Default::default()
    };
    let well = v1::Status {
        generation: 3,
        services: vec![ok],
        ..Default::default()
    };
    let mut silent = well.clone();
    silent.causes = vec![v1::RootCause {
        subject: "mgmt1".into(),
        what: "lost: its agent was last heard 75s ago".into(),
        dependants: vec!["power device kvm".into()],
    }];
    let mut doubtful = well.clone();
    doubtful.services[0].state = "unknown".into();
    for (status, is_well) in [(well, true), (silent, false), (doubtful, false)] {
        let known = Script {
            status,
            ..Script::default()
        };
        let coordinator = Scripted::start(known, "reader");
        let said = coordinator.place.run("status").exits(0).stdout;
        let claim = "everything is as it shall be";
        assert_eq!(said.contains(claim), is_well, "{said}");
        let value = coordinator.place.run("status -o json").exits(0).json();
        assert_eq!(value["well"], is_well, "{value}");
    }
}

#[test]
fn an_operation_in_single_steps_is_shown_as_one() {
    for single_step in [true, false] {
        let mut running = word("running", "waiting", "");
        running.single_step = single_step;
        let mut known = script(vec![]);
        known.operations.insert("op-7".into(), running);
        let coordinator = Scripted::start(known, "operator");
        let said = coordinator.place.run("operation show op-7").exits(0).stdout;
        assert_eq!(said.contains("in single steps"), single_step, "{said}");
        let value = coordinator
            .place
            .run("operation show op-7 -o json")
            .exits(0)
            .json();
        assert_eq!(value["single_step"], single_step, "{value}");
    }
}

#[test]
fn what_an_operation_has_left_down_is_named_with_the_command_that_brings_it_back() {
    let mut aborted = word("aborted", "done", "is stopped");
    aborted.left_down = [("web1", "web", false), ("web2", "", true)]
        .map(|(node, service, perhaps)| v1::LeftDown {
            node: node.into(),
            service: service.into(),
            way: if service.is_empty() { "off" } else { "stopped" }.into(),
            perhaps,
        })
        .to_vec();
    aborted.bring_back = "interlockctl startup --node web1,web2".into();
    let mut known = script(vec![vec![aborted.clone()]]);
    known.operations.insert("op-7".into(), aborted);
    let coordinator = Scripted::start(known, "operator");
    let line = "left down web on web1 (stopped), the machine web2 (off, perhaps); `interlockctl startup --node web1,web2` \
                brings back what is left down";
    for (command, code) in [("operation show op-7", 0), ("operation watch op-7", 6)] {
        let said = coordinator.place.run(command).exits(code).stdout;
        assert!(said.contains(line), "{command}: {said}");
    }
    let shown = coordinator.place.run("operation show op-7 -o json");
    let value = shown.exits(0).json();
    assert_eq!(value["left_down"][0]["service"], "web", "{value}");
    assert_eq!(value["left_down"][1]["service"], serde_json::Value::Null);
    assert_eq!(value["left_down"][1]["way"], "off");
    assert_eq!(value["bring_back"], "interlockctl startup --node web1,web2");
}

#[test]
fn a_plan_that_cannot_be_made_names_who_is_at_work() {
    let mut busy = script(vec![]);
    busy.plan.digest.clear();
    busy.plan.plan_json.clear();
    let mut running = word("running", "running", "").summary.unwrap();
    running.ended_ms = 0;
    running.started_by = "berta".into();
    busy.status.operations = vec![running];
    let coordinator = Scripted::start(busy, "reader");
    let ran = coordinator
        .place
        .run("plan shutdown --service web")
        .exits(5);
    assert!(
        ran.stderr.contains("op-7") && ran.stderr.contains("started by berta"),
        "{}",
        ran.stderr
    );
    // For programs that is before the error, which is the last line.
    for line in [
        "plan shutdown --service web -o json",
        "startup --service web -o json",
    ] {
        let ran = coordinator.place.run(line).exits(5);
        assert!(ran.stderr.contains("started by berta"), "{}", ran.stderr);
        let last = ran.stderr.lines().last().unwrap();
        let value: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!(value["error"]["code"], "no-plan", "{line}: {value}");
        assert_eq!(value["error"]["exit"], 5, "{line}: {value}");
    }
}

#[test]
fn before_the_first_spec_there_is_no_node_and_that_is_said() {
    let coordinator = Scripted::start(Script::default(), "reader");
    let ran = coordinator.place.run("node show db1").exits(2);
    assert!(
        ran.stderr
            .contains("there is no node db1: no spec is applied yet"),
        "{}",
        ran.stderr
    );
}

#[test]
fn events_that_are_followed_in_a_quiet_cluster_end_with_their_reader() {
    let mut quiet = Script {
        events: vec![v1::Event {
            revision: 1,
            kind: "spec-applied".into(),
            ..Default::default()
        }],
        ..Script::default()
    };
    quiet.status.generation = 1;
    let coordinator = Scripted::start(quiet, "reader");
    for line in [
        ["events", "--follow", "--tail", "2"].as_slice(),
        ["status", "--watch"].as_slice(),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_interlockctl"))
            .args(line)
            .env_clear()
            .env("INTERLOCK_CONFIG", coordinator.place.path("config.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // As head -1 does: a line, and it is gone.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().is_ok());
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line:?}");
    }
}

/// The input of a test is no terminal.
#[test]
fn where_nobody_can_be_asked_a_spec_is_applied_on_yes_alone() {
    let mut older = Script::default();
    older.status.generation = 4;
    let coordinator = Scripted::start(older, "admin");
    let place = &coordinator.place;
    place.write("shop.yaml", SPEC);
    for line in ["spec apply shop.yaml", "spec apply shop.yaml --base 4"] {
        let ran = place.run(line).exits(2);
        assert!(
            ran.stderr.contains("~ what would change") && ran.stderr.contains("say --yes"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr
                .contains("warning: web on web3 is running and goes on"),
            "before anybody agrees: {}",
            ran.stderr
        );
    }
    place.run("spec apply shop.yaml --dry-run").exits(0);
    assert!(coordinator.script.applied.lock().unwrap().is_empty());
    place
        .run("spec apply shop.yaml --yes --reason sold")
        .exits(0);
    let applied = coordinator.script.applied.lock().unwrap();
    let reasons: Vec<&str> = applied.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(reasons, ["sold"]);
}

/// A comparison applies nothing; what it cannot tell, it says in its own words.
#[test]
fn a_spec_that_is_compared_while_an_operation_runs_is_not_said_to_be_applied() {
    let mut busy = Script {
        spec_refusal: Some("op-16 is running: a spec is applied only while no operation runs"),
        ..Script::default()
    };
    busy.status.generation = 4;
    busy.spec = v1::GetSpecResponse {
        generation: 4,
        source: SPEC.into(),
        ..Default::default()
    };
    let coordinator = Scripted::start(busy, "admin");
    let place = &coordinator.place;
    let changed = SPEC.replace("unit: mariadb.service", "unit: maria.service");
    place.write("shop.yaml", &changed);
    let ran = place.run("spec diff shop.yaml").exits(0);
    assert!(
        ran.stderr.contains(
            "warning: cannot tell what goes on running and is nobody's then: op-16 is running"
        ),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("cannot apply"), "{}", ran.stderr);
    let ran = place.run("spec apply shop.yaml --yes").exits(2);
    assert!(ran.stderr.contains("cannot apply the spec: op-16"));
}

#[test]
fn a_file_that_is_applied_already_makes_no_generation() {
    let mut same = Script::default();
    same.status.generation = 4;
    same.spec = v1::GetSpecResponse {
        generation: 4,
        source: SPEC.into(),
        ..Default::default()
    };
    let coordinator = Scripted::start(same, "admin");
    let place = &coordinator.place;
    place.write("shop.yaml", SPEC);
    for line in ["spec apply shop.yaml", "spec apply shop.yaml --base 4"] {
        let ran = place.run(line).exits(0);
        assert!(
            ran.stderr.contains("no difference to generation 4"),
            "{}",
            ran.stderr
        );
    }
    let value = place.run("spec apply shop.yaml -o json").exits(0).json();
    assert_eq!(value["generation"], 4);
    assert_eq!(value["unchanged"], true);
    assert!(coordinator.script.applied.lock().unwrap().is_empty());

    // A base that is not the current one is for the coordinator to judge, and so is any other text.
    place.run("spec apply shop.yaml --base 3 --yes").exits(0);
    place.write("shop.yaml", &format!("{SPEC}# more\n"));
    place.run("spec apply shop.yaml -y").exits(0);
    let applied = coordinator.script.applied.lock().unwrap();
    assert_eq!(applied.iter().map(|it| it.base).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_pause_of_what_is_pausing_says_so_and_is_no_error() {
    for state in ["pausing", "paused"] {
        let mut known = script(vec![]);
        known.operations = [("op-7".to_owned(), word(state, "running", ""))].into();
        let coordinator = Scripted::start(known, "operator");
        let ran = coordinator.place.run("operation pause op-7").exits(0);
        let line = format!("op-7 is {state} already, ");
        assert!(ran.stdout.starts_with(&line), "{}", ran.stdout);
    }
}
