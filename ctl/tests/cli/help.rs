//! The help texts: a change of the command line is seen in review.

use crate::support::Workplace;

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let place = Workplace::new();
    let mut all = String::new();
    collect(&place, "", &mut all);
    insta::assert_snapshot!(all);
}

#[test]
fn every_command_has_a_manual_page_with_its_options() {
    let place = Workplace::new();
    let ran = place.run("man share/man1").exits(0);
    assert!(ran.stderr.contains("pages in share/man1"), "{}", ran.stderr);
    let page = |name: &str| std::fs::read_to_string(place.path("share/man1").join(name)).unwrap();
    let first = page("interlockctl.1");
    assert!(
        first.contains("interlockctl\\-plan(1)") && first.contains("Exit codes"),
        "{first}"
    );
    let plan = page("interlockctl-plan-shutdown.1");
    assert!(plan.contains("\\-\\-assume\\-active"), "{plan}");
    page("interlockctl-operation-watch.1");
}

fn collect(place: &Workplace, path: &str, all: &mut String) {
    let help = place.run(&format!("{path} --help")).exits(0).stdout;
    all.push_str(&format!("=== interlockctl{path}\n{help}\n"));
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // A wrapped description is indented further than the names.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    for name in commands {
        collect(place, &format!("{path} {name}"), all);
    }
}
