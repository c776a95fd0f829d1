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
