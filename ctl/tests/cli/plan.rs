//! `plan`, without a cluster.

use crate::support::Workplace;

const SHUTDOWN: &str = "plan shutdown --all -f shop.yaml --offline --assume-active db=db1";

#[test]
fn the_json_of_a_plan_has_the_published_shape() {
    let value = Workplace::with_spec()
        .run(&format!("{SHUTDOWN} -o json"))
        .exits(0)
        .json();
    assert_eq!(value["kind"], "shutdown");
    assert_eq!(value["generation"], 0);
    assert_eq!(value["digest"].as_str().unwrap().len(), 64);
    let steps = value["steps"].as_array().unwrap();
    assert!(!steps.is_empty());
    for step in steps {
        let keys: Vec<&str> = step
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for key in [
            "id", "action", "node", "service", "stage", "after", "timeout", "undo",
        ] {
            assert!(keys.contains(&key), "{key} in {step}");
        }
        for edge in step["after"].as_array().unwrap() {
            assert!(
                edge["step"].is_string() && edge["until"].is_string(),
                "{edge}"
            );
        }
    }
    let report = value["report"].as_array().unwrap();
    assert!(
        report.iter().all(|entry| entry["entry"].is_string()),
        "{report:?}"
    );
}

#[test]
fn the_same_request_gives_the_same_digest() {
    let place = Workplace::with_spec();
    let digest = || place.run(&format!("{SHUTDOWN} -o json")).json()["digest"].clone();
    assert_eq!(digest(), digest());
}

#[test]
fn a_plan_has_a_form_for_each_reader() {
    let place = Workplace::with_spec();
    let tree = place.run(SHUTDOWN).exits(0).stdout;
    insta::assert_snapshot!(tree);
    let table = place.run(&format!("{SHUTDOWN} -o table")).exits(0).stdout;
    assert!(table.starts_with("STAGE  STEP"), "{table}");
    let dot = place.run(&format!("{SHUTDOWN} -o dot")).exits(0);
    assert!(dot.stdout.starts_with("digraph") && dot.stdout.ends_with("}\n"));
    assert!(dot.stderr.contains("offline"), "{}", dot.stderr);
    let yaml = place.run(&format!("{SHUTDOWN} -o yaml")).exits(0).stdout;
    assert!(yaml.contains("kind: shutdown"), "{yaml}");
}

#[test]
fn no_plan_is_5_and_the_report_says_why() {
    let place = Workplace::with_spec();
    let ran = place
        .run("plan shutdown --all -f shop.yaml --offline")
        .exits(5);
    assert!(ran.stdout.contains("unknown: service db"), "{}", ran.stdout);
    assert!(ran.stdout.contains("--assume-active"), "{}", ran.stdout);
    let value = place
        .run("plan shutdown --all -f shop.yaml --offline -o json")
        .exits(5)
        .json();
    assert!(value["digest"].is_null());
    assert_eq!(value["steps"], serde_json::json!([]));
}

#[test]
fn two_active_sides_of_a_service_are_wrong_usage_that_names_both() {
    let place = Workplace::with_spec();
    for sides in [
        "--assume-active db=db2 --assume-active db=db1",
        "--assume-active db=db2,db=db1",
    ] {
        let ran = place
            .run(&format!(
                "plan shutdown --all -f shop.yaml --offline {sides}"
            ))
            .exits(64);
        assert!(ran.stderr.contains("db2 and db1"), "{}", ran.stderr);
    }
    place
        .run(&format!("{SHUTDOWN} --assume-active db=db1"))
        .exits(0);
}

#[test]
fn a_plan_for_a_bad_spec_shows_its_problems() {
    let place = Workplace::new();
    place.write("bad.yaml", "cluster: shop\n");
    let ran = place
        .run("plan startup --all -f bad.yaml --offline")
        .exits(2);
    assert!(ran.stderr.contains("bad.yaml"), "{}", ran.stderr);
}

/// As in a spec.
#[test]
fn nodes_and_services_are_named_by_a_range_too() {
    let place = Workplace::with_spec();
    let plan = |scope: &str| {
        let line =
            format!("plan shutdown --offline -f shop.yaml -o json --assume-active db=db1 {scope}");
        let ran = place.run(&line).exits(0);
        let steps = ran.json()["steps"].clone();
        let names = steps.as_array().unwrap().iter();
        names
            .map(|step| step["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let both = plan("--node web1,web2");
    assert!(both.contains(&"stop:web@web2".to_owned()), "{both:?}");
    assert_eq!(plan("--node web[1-2]"), both);
    assert_eq!(plan("--node web[1,2]"), both);
    let ran = place
        .run("plan shutdown --offline -f shop.yaml --node web[2-1]")
        .exits(64);
    assert!(
        ran.stderr
            .contains("'web[2-1]' is no range: it counts down from 2 to 1"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_slip_in_a_name_is_told_with_the_one_that_was_probably_meant() {
    let place = Workplace::with_spec();
    for (flags, meant) in [
        ("--service wbe", "web"),
        ("--node weeb1", "web1"),
        ("--host vmhots1", "vmhost1"),
        ("--label teir=web", "tier=web"),
        ("--all --force web.aliev", "web.alive"),
    ] {
        let line = format!("plan shutdown --offline -f shop.yaml {flags}");
        let ran = place.run(&line).exits(5);
        let said = format!("did you mean {meant}?");
        assert!(ran.stdout.contains(&said), "{flags}: {}", ran.stdout);
    }
}
