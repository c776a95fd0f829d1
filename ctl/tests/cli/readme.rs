//! The commands of the README that need no cluster, word for word.

use crate::support::Workplace;

const README: &str = include_str!("../../../README.md");
const CLUSTER: &str = include_str!("../../../deploy/clusters/shop.yaml");

/// The lines of its examples that begin with this.
fn lines(begin: &str) -> Vec<&'static str> {
    let lines = README.lines().map(str::trim);
    lines.filter(|line| line.starts_with(begin)).collect()
}

#[test]
fn what_the_readme_says_to_try_works_with_the_cluster_that_it_shows() {
    let place = Workplace::new();
    place.write("cluster.yaml", CLUSTER);
    let [check] = lines("interlockctl spec check")[..] else {
        panic!("one way to check");
    };
    let [plan] = lines("interlockctl plan shutdown")[..] else {
        panic!("one plan");
    };
    for line in [check, plan] {
        place
            .run(line.strip_prefix("interlockctl ").unwrap())
            .exits(0);
    }
    let [agents] = lines("interlockctl spec agent-config $node")[..] else {
        panic!("one way to make the agents' files");
    };
    let (command, _) = agents.split_once(" > ").unwrap();
    for node in ["mgmt1", "db1", "web1"] {
        let command = command.replace("$node", node);
        place
            .run(command.strip_prefix("interlockctl ").unwrap())
            .exits(0);
    }
}

#[test]
fn what_the_readme_says_of_certificates_works_as_it_stands() {
    let place = Workplace::new();
    let commands = lines("interlockctl pki");
    assert!(commands.len() > 3, "{commands:?}");
    for line in commands {
        place
            .run(line.strip_prefix("interlockctl ").unwrap())
            .exits(0);
    }
}
