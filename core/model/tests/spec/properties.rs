//! Properties over many specs: none makes the reader panic, and what is wrong always has a place.

use std::fs;

use crate::support;
use interlock_model::spec::{Problems, Spec, diff};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// The lines and columns of problems lie in the file, and the report can be made.
fn placed(problems: &Problems, source: &[u8]) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(source);
    let lines: Vec<&str> = text.split('\n').collect();
    prop_assert!(problems.has_errors());
    for problem in &problems.problems {
        let line = usize::try_from(problem.line).unwrap();
        prop_assert!(
            (1..=lines.len() + 1).contains(&line),
            "{problem} of {} lines",
            lines.len()
        );
        let width = lines.get(line - 1).map_or(0, |line| line.chars().count());
        let column = usize::try_from(problem.column).unwrap();
        prop_assert!(
            (1..=width + 2).contains(&column),
            "{problem} of {width} columns"
        );
        prop_assert!(!problem.what.is_empty());
    }
    let rendered = problems.render(source);
    prop_assert!(
        !rendered.chars().any(|c| c.is_control() && c != '\n'),
        "{rendered:?}"
    );
    Ok(())
}

fn valid_specs() -> Vec<String> {
    let mut paths = support::files(&support::repository("deploy/clusters"), "yaml");
    paths.push(support::tests("specs/everything.yaml"));
    paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Mutation {
    Remove(usize, usize),
    Insert(usize, String),
    Swap(usize, usize),
    RepeatLine(usize),
    RemoveLine(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let scraps = prop::sample::select(vec![
        "[",
        "]",
        "}",
        ":",
        ": ",
        "- ",
        "\"",
        "'",
        "\t",
        "\n",
        "  ",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "|",
        ">",
        "#",
        "? ",
        "null",
        "yes",
        "[1-3]",
        "[9-1]",
        "\u{feff}",
        "\u{1b}[31m",
        "é",
        "0",
        "-1",
        "99999999999",
        "---\n",
        "x-",
        "{node}",
        "{",
        "\\e[31m",
    ]);
    prop_oneof![
        (any::<usize>(), 1usize..40).prop_map(|(at, n)| Mutation::Remove(at, n)),
        (any::<usize>(), scraps).prop_map(|(at, scrap)| Mutation::Insert(at, scrap.to_owned())),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        any::<usize>().prop_map(Mutation::RepeatLine),
        any::<usize>().prop_map(Mutation::RemoveLine),
    ]
}

fn apply(text: &str, mutation: &Mutation) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if chars.is_empty() {
        return String::new();
    }
    match mutation {
        Mutation::Remove(at, n) => {
            let at = at % chars.len();
            chars.drain(at..(at + n).min(chars.len()));
        }
        Mutation::Insert(at, scrap) => {
            let at = at % chars.len();
            chars.splice(at..at, scrap.chars());
        }
        Mutation::Swap(a, b) => {
            let (a, b) = (a % chars.len(), b % chars.len());
            chars.swap(a, b);
        }
        Mutation::RepeatLine(at) => {
            let at = at % lines.len();
            lines.insert(at, lines[at]);
            return lines.concat();
        }
        Mutation::RemoveLine(at) => {
            lines.remove(at % lines.len());
            return lines.concat();
        }
    }
    chars.into_iter().collect()
}

/// What was ever found is tried first.
const FAILED: FileFailurePersistence = FileFailurePersistence::Direct(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/spec/properties.proptest-regressions"
));

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: Some(Box::new(FAILED)), ..ProptestConfig::default() })]

    #[test]
    fn a_changed_spec_is_a_spec_or_has_a_problem_with_a_place(
        which in any::<prop::sample::Index>(), mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let specs = valid_specs();
        let text = mutations.iter().fold(which.get(&specs).clone(), |text, change| apply(&text, change));
        match Spec::parse(text.as_bytes(), "changed.yaml") {
            Ok(parsed) => {
                let stored = serde_json::to_string(&parsed.spec).unwrap();
                prop_assert_eq!(serde_json::from_str::<Spec>(&stored).unwrap(), parsed.spec);
            }
            Err(problems) => placed(&problems, text.as_bytes())?,
        }
    }

    #[test]
    fn any_bytes_are_a_spec_or_have_a_problem_with_a_place(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match Spec::parse(&bytes, "bytes.yaml") {
            Ok(parsed) => prop_assert_eq!(diff(&parsed.spec, &parsed.spec), []),
            Err(problems) => placed(&problems, &bytes)?,
        }
    }

    /// A chain of services over ranges of nodes, written by chance in the one or the other way.
    #[test]
    fn a_spec_that_is_made_right_is_read_right(
        nodes in 1usize..30,
        services in prop::collection::vec((1usize..30, any::<bool>(), any::<bool>(), 0usize..5), 1..12),
    ) {
        let mut text = format!("cluster: made\nnodes:\n  n[1-{nodes}]: {{ address: 'n[1-{nodes}].example' }}\nservices:\n");
        for (i, (count, list, exclusive, requires)) in services.iter().enumerate() {
            let count = 1 + count % nodes;
            let names: Vec<String> = (1..=count).map(|n| format!("n{n}")).collect();
            let on = if *list { format!("[{}]", names.join(", ")) } else { format!("n[1-{count}]") };
            let active = if *exclusive { "one" } else { "all" };
            let needed: Vec<String> = (0..i).rev().take(*requires).map(|other| format!("s{other}")).collect();
            text += &format!("  s{i}:\n    nodes: {on}\n    active: {active}\n    manager: {{ process: {{ name: p{i} }} }}\n");
            text += &format!("    requires: [{}]\n", needed.join(", "));
        }
        let parsed = Spec::parse(text.as_bytes(), "made.yaml");
        let spec = parsed.map_err(|problems| TestCaseError::fail(problems.render(text.as_bytes())))?.spec;
        prop_assert_eq!(spec.nodes.len(), nodes);
        for (i, (count, _, exclusive, requires)) in services.iter().enumerate() {
            let service = &spec.services[format!("s{i}").as_str()];
            prop_assert_eq!(service.nodes.len(), 1 + count % nodes);
            prop_assert_eq!(service.is_exclusive(), *exclusive);
            prop_assert_eq!(service.dependencies.len(), i.min(*requires));
        }
    }
}

#[test]
fn what_a_problem_repeats_of_the_file_is_safe_to_show() {
    let text = fs::read_to_string(support::tests("specs/everything.yaml")).unwrap();
    for placeholder in ["{n\to\u{e9}de}", "{node\\e[31m}", "{\\u202Enode}"] {
        let source = text.replace("\"{node}.eu\"", &format!("\"{placeholder}\""));
        assert_ne!(source, text);
        let problems = Spec::parse(source.as_bytes(), "changed.yaml").unwrap_err();
        assert!(
            problems.problems[0]
                .what
                .contains("stands for nothing here"),
            "{problems}"
        );
        let shown = problems.render(source.as_bytes()) + &problems.to_string();
        let hidden = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(hidden), "{shown:?}");
    }
}
