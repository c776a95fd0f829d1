//! The help texts: a change of the command line is seen in review.

use crate::support::Workplace;

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let place = Workplace::new();
    let mut all = String::new();
    collect(&place, "", &mut all);
    insta::assert_snapshot!(all);
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
