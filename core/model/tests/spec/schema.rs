//! The published schema, the reference and the parser know the same keys.

use std::fs;

use crate::support;
use crate::validator::Validator;
use interlock_model::spec::{self, Spec};
use serde_json::{Value, json};

/// The file as JSON, read by another reader than the parser's.
fn as_json(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn everything() -> String {
    fs::read_to_string(support::tests("specs/everything.yaml")).unwrap()
}

#[test]
fn the_published_schema_is_the_one_that_the_parser_describes() {
    let mut text = serde_json::to_string_pretty(&spec::schema()).unwrap();
    text.push('\n');
    support::golden(
        &support::repository("deploy/schema/cluster.schema.json"),
        &text,
    );
}

#[test]
fn every_example_cluster_is_valid_for_parser_and_schema() {
    let schema = spec::schema();
    for path in support::files(&support::repository("deploy/clusters"), "yaml") {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let parsed =
            Spec::parse(text.as_bytes(), &name).unwrap_or_else(|problems| panic!("{problems}"));
        let told = parsed.warnings.iter().filter(|warning| {
            // A pair has one third machine, and its file says what that means.
            !(name.contains("uc8k-mode") && warning.what.contains("the only coordinator is away"))
        });
        assert_eq!(told.count(), 0, "{name}: {:?}", parsed.warnings);
        let faults = Validator::new(&schema).faults(&as_json(&text));
        assert_eq!(faults, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_spec_with_every_key_is_read_as_it_was_reviewed() {
    let text = everything();
    let parsed = Spec::parse(text.as_bytes(), "everything.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems.render(text.as_bytes())));
    assert_eq!(parsed.warnings, []);
    let resolved = serde_json::to_string_pretty(&parsed.spec).unwrap() + "\n";
    support::golden(&support::tests("specs/everything.json"), &resolved);
    let again: Spec = serde_json::from_str(&resolved).unwrap();
    assert_eq!(
        again, parsed.spec,
        "a resolved spec survives its serialised form"
    );
}

#[test]
fn the_spec_with_every_key_uses_every_key_of_the_schema_and_no_other() {
    let schema = spec::schema();
    let mut validator = Validator::new(&schema);
    assert_eq!(
        validator.faults(&as_json(&everything())),
        Vec::<String>::new()
    );
    assert_eq!(
        validator.unused(),
        Vec::<String>::new(),
        "keys of the schema that the spec does not have"
    );
}

/// Everything that is a section in the schema takes no key that the parser does not take, and the other way round.
#[test]
fn an_unknown_key_anywhere_is_refused_by_parser_and_schema() {
    let text = everything();
    let schema = spec::schema();
    let whole = as_json(&text);
    let mut sections = 0;
    for pointer in Validator::new(&schema).sections(&whole) {
        for (key, refused) in [("zzz", true), ("x-zzz", false)] {
            let mut changed = whole.clone();
            changed
                .pointer_mut(&pointer)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .insert(key.into(), json!(1));
            let schema_refuses = !Validator::new(&schema).faults(&changed).is_empty();
            let parser_refuses = Spec::parse(changed.to_string().as_bytes(), "changed").is_err();
            assert_eq!(
                (schema_refuses, parser_refuses),
                (refused, refused),
                "{key} in {pointer}"
            );
        }
        sections += 1;
    }
    assert!(sections > 30, "{sections}");
}

/// What the schema refuses, the parser refuses. (The parser knows more: references, ranges, cycles.)
#[test]
fn a_value_of_the_wrong_kind_is_refused_by_the_parser_wherever_the_schema_refuses_it() {
    let schema = spec::schema();
    let whole = as_json(&everything());
    let wrong = [
        json!(null),
        json!([]),
        json!([[]]),
        json!({ "zzz": {} }),
        json!("zzz zzz"),
        json!(-1),
        json!({}),
    ];
    let mut refused = 0;
    for pointer in Validator::new(&schema).values(&whole) {
        for value in &wrong {
            let mut changed = whole.clone();
            *changed.pointer_mut(&pointer).unwrap() = value.clone();
            if !Validator::new(&schema).faults(&changed).is_empty() {
                let result = Spec::parse(changed.to_string().as_bytes(), "changed");
                assert!(
                    result.is_err(),
                    "{pointer} = {value} is refused by the schema alone"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn the_reference_has_every_key() {
    let path = support::repository("docs/spec.md");
    let page = fs::read_to_string(&path).unwrap_or_default();
    const BEGIN: &str =
        "<!-- keys: written by the tests of core/model from the parser's own tables -->\n";
    const END: &str = "<!-- end of keys -->\n";
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the mark where the keys begin");
    let (_, after) = rest.split_once(END).expect("the mark where they end");
    support::golden(
        &path,
        &format!("{before}{BEGIN}\n{}{END}{after}", spec::reference()),
    );
}

/// Every example in the page is a spec, or part of one that is given here with what it needs around it.
#[test]
fn the_examples_of_the_reference_are_valid() {
    let page = fs::read_to_string(support::repository("docs/spec.md")).unwrap();
    let examples: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        if let Err(problems) = Spec::parse(example.as_bytes(), "docs/spec.md") {
            panic!("{}", problems.render(example.as_bytes()));
        }
    }
}
