//! Hostile and broken files: one clear error, in bounded time and memory.

use std::fmt::Write as _;

use interlock_model::spec::{MAX_BYTES, MAX_PROBLEMS, Problem, Spec};

/// The only problem of a file.
fn only(bytes: &[u8]) -> Problem {
    let problems = Spec::parse(bytes, "hostile.yaml").unwrap_err();
    assert_eq!(
        (problems.problems.len(), problems.more),
        (1, 0),
        "{problems}"
    );
    problems.problems[0].clone()
}

#[test]
fn a_file_of_ten_megabytes_is_refused_unread() {
    let mut bytes = b"cluster: big\nnodes:\n".to_vec();
    bytes.resize(10_000_000, b'#');
    let problem = only(&bytes);
    assert_eq!(problem.what, "the file has more than 640 KiB");
    assert!(
        problem.why.contains(&MAX_BYTES.to_string()) && problem.why.contains("10000000"),
        "{}",
        problem.why
    );
}

#[test]
fn a_control_character_is_refused_for_it_would_take_six_bytes_in_the_store() {
    let problem = only(b"cluster: shop\n# a bell: \x07\nnodes: {}\n");
    assert_eq!(problem.what, "byte 24 of the file is a control character");
    assert_eq!((problem.line, problem.column), (2, 11));
}

#[test]
fn deep_nesting_is_refused_where_it_gets_too_deep() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let text = format!(
            "cluster: {}1{}\n",
            open.repeat(100_000),
            close.repeat(100_000)
        );
        let problem = only(text.as_bytes());
        assert!(
            problem.what.contains("nested deeper than"),
            "{}",
            problem.what
        );
        assert_eq!(problem.line, 1);
    }
    let mut block = String::new();
    for depth in 0..1000 {
        writeln!(block, "{}a:", " ".repeat(depth)).unwrap();
    }
    let problem = only(block.as_bytes());
    assert!(
        problem.what.contains("nested deeper than"),
        "{}",
        problem.what
    );
    assert!(problem.line < 40, "{}", problem.line);
}

#[test]
fn a_bomb_of_aliases_is_refused_before_it_unfolds() {
    let mut bomb = "cluster: bomb\nx-0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n".to_owned();
    for n in 1..20 {
        writeln!(
            bomb,
            "x-{n}: &a{n} [{}]",
            vec![format!("*a{}", n - 1); 9].join(", ")
        )
        .unwrap();
    }
    let problem = only(bomb.as_bytes());
    assert!(
        problem.what.contains("unfolds to more than"),
        "{}",
        problem.what
    );
    assert!(problem.line > 2, "{}", problem.line);
}

#[test]
fn many_anchors_around_each_other_are_refused_as_well() {
    // Each anchor keeps a copy of what is below it: 20 deep, a large list is kept 20 times.
    let anchors: String = (0..20).map(|n| format!("&a{n} [")).collect();
    let text = format!("x-a: {anchors}{}{}\n", "1,".repeat(40_000), "]".repeat(20));
    let problem = only(text.as_bytes());
    assert!(
        problem.what.contains("unfolds to more than"),
        "{}",
        problem.what
    );
}

#[test]
fn an_alias_in_the_value_that_it_names_is_refused() {
    let problem = only(b"cluster: c\nx-a: &a [ *a ]\n");
    assert!(
        problem.what.contains("inside the value that it names"),
        "{}",
        problem.what
    );
    assert_eq!((problem.line, problem.column), (2, 11));
}

#[test]
fn bytes_that_are_no_text_are_named_by_offset_line_and_column() {
    let problem = only(b"cluster: c\nnodes: \xfc\n");
    assert_eq!(problem.what, "byte 18 of the file is not UTF-8");
    assert_eq!((problem.line, problem.column), (2, 8));
    let utf16: Vec<u8> = "cluster: c"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let problem = only(&[&[0xff, 0xfe], utf16.as_slice()].concat());
    assert!(problem.what.contains("byte 0"), "{}", problem.what);
}

#[test]
fn a_byte_order_mark_is_no_problem() {
    let text = "\u{feff}cluster: c\nnodes: { n: { address: 10.0.0.1 } }\n";
    assert!(Spec::parse(text.as_bytes(), "bom.yaml").is_ok());
}

#[test]
fn a_file_without_a_value_is_empty() {
    for empty in ["", "\n\n", "   ", "# nothing\n", "---\n...\n"] {
        let problem = only(empty.as_bytes());
        let what = &problem.what;
        assert!(
            what.contains("empty") || what.contains("no values") || what.contains("nothing"),
            "{empty:?}: {what}"
        );
    }
    for other in ["just text", "[a, list]", "42"] {
        assert!(
            only(other.as_bytes()).what.contains("not a cluster spec"),
            "{other}"
        );
    }
}

#[test]
fn many_thousand_mistakes_are_counted_and_the_first_hundred_listed() {
    let mut text = "cluster: c\nnodes: { n: { address: 10.0.0.1 } }\n".to_owned();
    for n in 0..30_000 {
        writeln!(text, "clustr{n}: 1").unwrap();
    }
    let problems = Spec::parse(text.as_bytes(), "many.yaml").unwrap_err();
    assert_eq!(problems.problems.len(), MAX_PROBLEMS);
    assert_eq!(problems.more, 30_000 - MAX_PROBLEMS);
    assert!(problems.render(text.as_bytes()).ends_with(&format!(
        "and {} more problems, not listed\n",
        problems.more
    )));
}

#[test]
fn ranges_cannot_stand_for_more_names_than_memory_holds() {
    let mut text =
        "cluster: c\nnodes: { n: { address: 10.0.0.1 } }\nservices:\n  s:\n    nodes:\n".to_owned();
    for _ in 0..30_000 {
        text.push_str("    - a[1-10000]\n");
    }
    let problems = Spec::parse(text.as_bytes(), "ranges.yaml").unwrap_err();
    assert!(
        problems
            .problems
            .iter()
            .any(|problem| problem.what.contains("more than 500000 names")),
        "{problems}"
    );
}

#[test]
fn more_nodes_than_a_cluster_can_have_are_refused_at_the_key_that_makes_them_too_many() {
    let text = "cluster: c\nnodes:\n  \"a[1-9000]\": { address: \"a[1-9000]\" }\n  \"b[1-9000]\": { address: \"b[1-9000]\" }\n";
    let problem = only(text.as_bytes());
    assert!(
        problem.what.contains("more than 10000 nodes"),
        "{}",
        problem.what
    );
    assert_eq!(problem.line, 4);
}

/// A circle through many services costs no more stack than a small one.
#[test]
fn a_circle_of_eight_thousand_services_is_found() {
    let mut text = "cluster: c\nnodes: { n: { address: 10.0.0.1 } }\nservices:\n".to_owned();
    for n in 0..8_000 {
        let next = (n + 1) % 8_000;
        writeln!(
            text,
            "  s{n}: {{ nodes: [n], manager: {{ process: {{ name: p{n} }} }}, requires: [s{next}] }}"
        )
        .unwrap();
    }
    let problem = only(text.as_bytes());
    assert!(
        problem.what.contains("circle: s0 → s1 → s2"),
        "{}",
        problem.what
    );
}

#[test]
fn a_thousand_nodes_with_sixty_services_written_out_in_full_are_read() {
    let mut text = "cluster: large\nnodes:\n".to_owned();
    for n in 1..=1000 {
        writeln!(
            text,
            "  node{n}: {{ address: 10.0.{}.{}, labels: {{ tier: web }} }}",
            n / 250,
            n % 250
        )
        .unwrap();
    }
    text.push_str("services:\n");
    let all: Vec<String> = (1..=1000).map(|n| format!("node{n}")).collect();
    for s in 0..60 {
        writeln!(
            text,
            "  s{s}:\n    nodes: [{}]\n    active: all",
            all.join(", ")
        )
        .unwrap();
        writeln!(text, "    manager: {{ systemd: {{ unit: s{s}.service }} }}").unwrap();
        if s > 0 {
            writeln!(text, "    requires: [s{}]", s - 1).unwrap();
        }
    }
    assert!(text.len() < MAX_BYTES, "{}", text.len());
    let spec = Spec::parse(text.as_bytes(), "large.yaml")
        .unwrap_or_else(|problems| panic!("{problems}"))
        .spec;
    assert_eq!((spec.nodes.len(), spec.services.len()), (1000, 60));
    assert!(
        spec.services
            .values()
            .all(|service| service.nodes.len() == 1000)
    );
}

#[test]
fn a_range_that_multiplies_what_is_below_it_is_refused_before_it_unfolds() {
    let text = |below: &str| {
        format!(
            "cluster: big\ncontrol: {{ coordinators: [m] }}\nnodes:\n  \"n[1-10000]\": {{ address: 10.0.0.1, {below} }}\n"
        )
    };
    let networks: Vec<String> = (0..400).map(|n| format!("net{n}: 10.1.0.1")).collect();
    for below in [
        format!("labels: {{ a: {} }}", "x".repeat(600_000)),
        format!("networks: {{ {} }}", networks.join(", ")),
    ] {
        let problems = Spec::parse(text(&below).as_bytes(), "hostile.yaml").unwrap_err();
        let found = problems
            .problems
            .iter()
            .find(|problem| problem.what.contains("unfold to more than"));
        assert_eq!(found.unwrap().line, 4, "{problems}");
    }
}

/// Work is counted, not time: a hundred problems are listed, and each compares a thousand words at most.
#[test]
fn thousands_of_names_that_are_almost_right_are_refused_without_comparing_them_all() {
    let text = "cluster: big\ncontrol: { coordinators: [m] }\nnodes:\n  \"nodeabcdefgh[1-10000]\": { address: 10.0.0.1 }\n\
                services:\n  s: { nodes: \"nodeabcdefgi[1-10000]\" }\n";
    let problems = Spec::parse(text.as_bytes(), "hostile.yaml").unwrap_err();
    assert_eq!(problems.problems.len(), MAX_PROBLEMS);
    assert!(problems.more > 9_000, "{}", problems.more);
}

#[test]
fn hundreds_of_services_that_all_depend_on_each_other_are_a_list_of_circles() {
    let mut text = "cluster: big\ncontrol: { coordinators: [m] }\nnodes:\n  n: { address: 10.0.0.1 }\nservices:\n".to_owned();
    for own in 0..300 {
        let others: Vec<String> = (0..300)
            .filter(|other| *other != own)
            .map(|other| format!("s{other}"))
            .collect();
        writeln!(
            text,
            "  s{own}: {{ nodes: [n], manager: {{ systemd: {{ unit: s{own}.service }} }}, requires: [{}] }}",
            others.join(", ")
        )
        .unwrap();
    }
    let problems = Spec::parse(text.as_bytes(), "hostile.yaml").unwrap_err();
    let circles = problems
        .problems
        .iter()
        .filter(|problem| problem.what.contains("in a circle: "));
    assert!(circles.count() > 90, "{problems}");
}

/// It would be found out when a machine is to be switched.
#[test]
fn what_fence_agents_are_told_stands_on_one_line_and_is_refused_before_it_is_applied() {
    let text = r#"cluster: c
power:
  p: { fence: fence_x, via: [m], options: { ip: "x\naction=off", "k\nplug": v, "a=b": c, "-o": d, ssl-insecure: "1", login: "a\tb" } }
nodes:
  m: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, power: { by: p, plug: "db1\naction=off", alias: "db1\u0085" } }
  "b[1-2]": { address: "10.0.0.[3-4]", power: { by: p, plug: "b[1-2]\r" } }
"#;
    let problems = Spec::parse(text.as_bytes(), "hostile.yaml").unwrap_err();
    let mut told: Vec<(&str, &str)> = problems
        .problems
        .iter()
        .map(|problem| (problem.path.as_str(), problem.what.as_str()))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (
                "nodes.a.power.alias",
                "'db1\u{fffd}' has control characters in it"
            ),
            (
                "nodes.a.power.plug",
                "'db1\u{fffd}action=off' has control characters in it"
            ),
            (
                "nodes.b[1-2].power.plug",
                "'b[1-2]\u{fffd}' has control characters in it"
            ),
            ("power.p.options.-o", "'-o' is not the name of an option"),
            ("power.p.options.a=b", "'a=b' is not the name of an option"),
            (
                "power.p.options.ip",
                "'x\u{fffd}action=off' has control characters in it"
            ),
            (
                "power.p.options.k\nplug",
                "'k\u{fffd}plug' is not the name of an option"
            ),
            (
                "power.p.options.login",
                "'a b' has control characters in it"
            ),
        ]
    );
    // Without them the same spec is good.
    let good = text
        .replace(r#""k\nplug": v, "a=b": c, "-o": d, "#, "")
        .replace(r"\naction=off", "")
        .replace(r"a\tb", "a b")
        .replace(r"\u0085", "")
        .replace(r"\r", "");
    Spec::parse(good.as_bytes(), "good.yaml").unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn nothing_that_a_command_could_take_for_an_option_is_a_unit_or_an_address() {
    let text = r#"cluster: c
nodes:
  a: { address: "-oProxy", networks: { back: "-v.example" } }
  b: { address: 10.0.0.2 }
services:
  s:
    nodes: [b]
    manager: { systemd: { unit: "-x.service" } }
    checks: { port: { tcp: "-x:80" }, unit: { unit: "-.mount" } }
"#;
    let problems = Spec::parse(text.as_bytes(), "hostile.yaml").unwrap_err();
    let mut paths: Vec<&str> = problems
        .problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "nodes.a.address",
            "nodes.a.networks.back",
            "services.s.checks.port.tcp",
            "services.s.checks.unit.unit",
            "services.s.manager.systemd.unit",
        ],
        "{problems}"
    );
    let good = text.replace("\"-", "\"x");
    Spec::parse(good.as_bytes(), "good.yaml").unwrap_or_else(|problems| panic!("{problems}"));
}
