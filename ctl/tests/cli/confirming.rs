//! Nothing acts unasked: what is shown before, what stands for an answer, and what a program gets if there is none.
//! The input of a test is no terminal, so that nobody can be asked.

use interlock_model::plan::{PlanKind, SealedPlan};
use interlock_planner::Scope;
use interlock_proto::v1;

use crate::following::{response_for, script, web, word};
use crate::scripted::{Script, Scripted};
use crate::support::Ran;

/// `op-7` with this plan: each of its steps was carried out by an agent, but for those that only found something so.
fn acted(kind: PlanKind, scope: Scope, found_so: &[&str]) -> Script {
    let response = response_for(kind, scope, "db1");
    let sealed = SealedPlan::open(response.plan_json.clone().into_bytes()).unwrap();
    let mut operation = word("needs-attention", "done", "");
    operation.plan_json = response.plan_json;
    operation.possible = ["abort", "unwind"].map(String::from).to_vec();
    operation.steps.clear();
    let mut journal = Vec::new();
    for step in &sealed.plan().steps {
        let on = (!found_so.contains(&step.id.as_str())).then_some("mgmt1");
        operation.steps.push(v1::StepStatus {
            step: step.id.to_string(),
            state: "done".into(),
            attempt: 1,
            ..Default::default()
        });
        journal.push(v1::JournalEntry {
            step: step.id.to_string(),
            what: "intent".into(),
            json: serde_json::json!({ "what": "intent", "step": step.id, "on": on, "undo": false })
                .to_string(),
            ..Default::default()
        });
    }
    Script {
        operations: [("op-7".to_owned(), operation)].into(),
        journal,
        ..Script::default()
    }
}

/// Looks at what a run says, and at what it has asked for.
#[track_caller]
fn asked(coordinator: &Scripted, line: &str, code: i32, says: &str) -> (Ran, bool) {
    let ran = coordinator.place.run(line).exits(code);
    assert!(ran.stderr.contains(says), "{says} in:\n{}", ran.stderr);
    (
        ran,
        coordinator.script.controlled.lock().unwrap().len() == 1,
    )
}

/// The name of the cluster that came with the unwinding that was asked for.
#[track_caller]
fn confirmed(coordinator: &Scripted) -> String {
    let mut controlled = coordinator.script.controlled.lock().unwrap();
    assert_eq!(controlled.len(), 1, "{controlled:?}");
    assert_eq!(controlled[0].verb, "unwind");
    controlled.remove(0).confirm_cluster
}

#[test]
fn an_unwinding_that_powers_machines_off_is_shown_and_takes_the_clusters_name() {
    let script = acted(PlanKind::Startup, Scope::All, &["power-on:db2"]);
    let coordinator = Scripted::start(script, "operator");
    let abort = "operation abort op-7 --unwind";
    for (flags, code, says) in [
        ("", 2, "say --yes --cluster shop to unwind it"),
        ("--yes", 64, "--yes needs --cluster shop"),
        ("--yes --cluster shop2", 2, "the coordinator runs shop"),
        ("--cluster shop", 2, "say --yes --cluster shop"),
    ] {
        let (ran, done) = asked(&coordinator, &format!("{abort} {flags}"), code, says);
        assert!(!done, "{flags}");
        assert!(ran.stderr.contains("Nothing was done"), "{}", ran.stderr);
        let line = |what: &str| ran.stdout.lines().position(|line| line.contains(what));
        let (web, db) = (line("stop web on web1"), line("power db1 off"));
        assert!(web.is_some() && web < db, "the reverse:\n{}", ran.stdout);
        assert!(line("power web2 off").is_some(), "{}", ran.stdout);
        assert_eq!(line("power db2 off"), None, "it was on:\n{}", ran.stdout);
        assert_eq!(line("approve"), None, "no undo:\n{}", ran.stdout);
    }
    assert!(
        asked(
            &coordinator,
            &format!("{abort} --yes --cluster shop"),
            0,
            ""
        )
        .1
    );
    assert_eq!(confirmed(&coordinator), "shop");
}

#[test]
fn an_unwinding_that_takes_nothing_down_is_shown_and_takes_a_yes() {
    let coordinator = Scripted::start(acted(PlanKind::Shutdown, web(), &[]), "operator");
    let abort = "operation abort op-7 --unwind";
    let (ran, done) = asked(&coordinator, abort, 2, "say --yes to unwind it");
    assert!(!done && ran.stdout.contains("start web on web1"), "{ran:?}");
    let (ran, done) = asked(&coordinator, &format!("{abort} -o json"), 2, "say --yes");
    assert!(!done);
    let value = ran.json();
    assert_eq!(value["operation"], "op-7");
    let back = value["takes_back"].as_array().unwrap();
    let of = |step: &str| back.iter().find(|it| it["step"] == step).unwrap();
    assert_eq!(of("stop:web@web1")["by"], "start");
    assert!(asked(&coordinator, &format!("{abort} --yes"), 0, "").1);
    // A yes is no name: a machine that would go down by now was not shown.
    assert_eq!(confirmed(&coordinator), "");

    // What a restart stopped and started is not interrupted once more.
    let coordinator = Scripted::start(acted(PlanKind::Restart, web(), &[]), "operator");
    let (ran, _) = asked(&coordinator, abort, 2, "say --yes");
    assert!(!ran.stdout.contains("web on web1"), "{}", ran.stdout);
}

#[test]
fn an_abort_alone_is_not_asked_about_and_what_cannot_be_unwound_is_the_coordinators_to_refuse() {
    let mut script = acted(PlanKind::Shutdown, web(), &[]);
    let operation = script.operations.get_mut("op-7").unwrap();
    operation.possible.clear();
    let coordinator = Scripted::start(script, "operator");
    let abort = "operation abort op-7";
    assert!(asked(&coordinator, &format!("{abort} --unwind"), 0, "").1);
    assert_eq!(confirmed(&coordinator), "");
    asked(&coordinator, &format!("{abort} --yes"), 64, "--unwind");
    coordinator.place.run(abort).exits(0);
    let controlled = coordinator.script.controlled.lock().unwrap();
    assert_eq!(controlled[0].verb, "abort");
}

#[test]
fn a_retry_without_a_step_takes_all_that_failed_as_listed_and_confirmed() {
    let mut standing = word("needs-attention", "failed", "exit code 3");
    let done = v1::StepStatus {
        step: "stop:db@db".into(),
        state: "done".into(),
        ..Default::default()
    };
    standing.steps.push(done);
    let operations = |operation: &v1::Operation| Script {
        operations: [("op-7".to_owned(), operation.clone())].into(),
        ..Script::default()
    };
    let coordinator = Scripted::start(operations(&standing), "operator");
    let retry = "operation retry op-7";
    let (ran, any) = asked(&coordinator, retry, 2, "--all");
    assert!(!any, "nobody was asked, and nothing was done");
    for part in ["2 steps of op-7", "stop:web@web2  failed: exit code 3"] {
        assert!(ran.stdout.contains(part), "{part} in:\n{}", ran.stdout);
    }
    coordinator
        .place
        .run(&format!("{retry} --all --reason patched"))
        .exits(0);
    let controlled = coordinator.script.controlled.lock().unwrap().clone();
    let steps: Vec<_> = controlled
        .iter()
        .map(|it| (it.verb.as_str(), it.step.as_str(), it.reason.as_str()))
        .collect();
    let of = |step| ("retry", step, "patched");
    assert_eq!(steps, [of("stop:web@web1"), of("stop:web@web2")]);

    // One alone is meant without a question, and where none has failed there is nothing to do.
    standing.steps.remove(0);
    let coordinator = Scripted::start(operations(&standing), "operator");
    assert!(asked(&coordinator, retry, 0, "").1);
    standing.steps.remove(0);
    let coordinator = Scripted::start(operations(&standing), "operator");
    assert!(
        !asked(
            &coordinator,
            &format!("{retry} --all"),
            2,
            "no step of op-7 has failed"
        )
        .1
    );
}

#[test]
fn a_program_gets_the_plan_that_was_not_started() {
    let mut all = script(vec![]);
    all.plan = response_for(PlanKind::Shutdown, Scope::All, "db1");
    let coordinator = Scripted::start(all, "operator");
    for (flags, code) in [
        ("", 2),
        ("--yes", 64),
        ("--yes --cluster shop2", 2),
        ("--no-wait", 2),
    ] {
        let line = format!("shutdown --all -o json {flags}");
        let value = coordinator.place.run(&line).exits(code).json();
        assert_eq!(value["kind"], "shutdown", "{line}");
        assert!(!value["steps"].as_array().unwrap().is_empty(), "{line}");
        assert!(value["report"].is_array(), "{line}");
    }
    assert!(coordinator.script.started.lock().unwrap().is_empty());

    // What the coordinator refuses comes to no operation either.
    let mut refusing = script(vec![]);
    refusing.refusal = Some("the cluster has changed".to_owned());
    let coordinator = Scripted::start(refusing, "operator");
    let line = "shutdown --service web --yes -o json";
    let value = coordinator.place.run(line).exits(2).json();
    assert_eq!(value["kind"], "shutdown");
}
