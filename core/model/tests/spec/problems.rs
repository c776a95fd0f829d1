//! Problem reports, whole: for each `problems/NAME.yaml` what a person sees is `problems/NAME.txt`.

use std::fs;

use crate::support;
use interlock_model::spec::{Problems, Spec};

#[test]
fn every_report_is_the_one_that_was_reviewed() {
    for path in support::files(&support::tests("problems"), "yaml") {
        let source = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = match Spec::parse(&source, name) {
            Ok(parsed) => {
                Problems::new(name, parsed.warnings).render(&source) + "the spec can be used\n"
            }
            Err(problems) => problems.render(&source) + &format!("{problems}\n"),
        };
        support::golden(&path.with_extension("txt"), &text);
    }
}

#[test]
fn a_report_as_json_has_what_an_editor_needs() {
    let source = b"cluster: c\nnodes: { n: { address: 10.0.0.1, hots: h } }\n";
    let problems = Spec::parse(source, "c.yaml").unwrap_err();
    let json = problems.to_json();
    assert_eq!(json["file"], "c.yaml");
    let problem = &json["problems"][0];
    assert_eq!(problem["severity"], "error");
    assert_eq!(
        (problem["line"].as_u64(), problem["column"].as_u64()),
        (Some(2), Some(34))
    );
    assert_eq!(problem["path"], "nodes.n.hots");
    assert_eq!(problem["what"], "unknown key 'hots' in node");
    assert_eq!(problem["suggestion"], "did you mean 'host'?");
}

/// What the help proposes is a way out.
#[test]
fn a_circle_says_by_what_it_goes_round_and_how_to_open_it() {
    let circle = |x: &str, y: &str| {
        let text = format!(
            "cluster: c\nnodes: {{ n: {{ address: 10.0.0.1 }} }}\nservices:\n  \
             x: {{ nodes: [n], manager: {{ process: {{ name: x }} }}, {x} }}\n  \
             y: {{ nodes: [n], manager: {{ process: {{ name: y }} }}, {y} }}\n"
        );
        let problems = Spec::parse(text.as_bytes(), "c.yaml").err()?.problems;
        let [only] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        Some((only.why.clone(), only.suggestion.clone().unwrap()))
    };
    let said = |why: &str, help: &str| Some((why.to_owned(), help.to_owned()));
    // Either could start first, and the other one stop first; and yet each needs the other.
    assert_eq!(
        circle(
            "requires: { y: { start: none } }",
            "requires: { x: { stop: none } }"
        ),
        said(
            "each of them needs the next, whatever it waits for",
            "remove one of the edges, or see that one is an `after`"
        )
    );
    assert_eq!(
        circle(
            "after: { y: { start: none } }",
            "requires: { x: { stop: none } }"
        ),
        None
    );
    assert_eq!(
        circle("requires: [y]", "requires: { x: { start: none } }"),
        said(
            "none of them could stop first",
            "remove one of the edges, or see that one is an `after`, and another one has `stop: none`"
        )
    );
    assert_eq!(
        circle(
            "after: { y: { stop: none } }",
            "requires: { x: { start: none } }"
        ),
        None
    );
    assert_eq!(
        circle("after: [y]", "after: [x]"),
        said(
            "none of them could start first",
            "remove one of the edges, or see that one has `start: none`, and another one has `stop: none`"
        )
    );
}
