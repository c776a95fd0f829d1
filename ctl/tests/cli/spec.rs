//! `spec`, as far as it needs no cluster.

use crate::support::{SPEC, Workplace};

const BAD: &str = "\
cluster: shop
nodes:
  db1: { adress: 10.9.0.11 }
services:
  web: { nodes: [db1], manager: { systemd: { unit: web.service } }, requires: [dbb] }
  db: { nodes: [db2], manager: { systemd: { unit: db.service } } }
";

#[test]
fn a_valid_spec_is_a_line_of_data() {
    let ran = Workplace::with_spec().run("spec check shop.yaml").exits(0);
    assert_eq!(
        ran.stdout,
        "shop.yaml: cluster shop, 5 nodes, 2 services: valid\n"
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let place = Workplace::new();
    place.write("bad.yaml", BAD);
    let ran = place.run("spec check bad.yaml").exits(2);
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn problems_are_values_for_programs() {
    let place = Workplace::new();
    place.write("bad.yaml", BAD);
    let value = place.run("spec check bad.yaml -o json").exits(2).json();
    assert_eq!(value["valid"], false);
    let first = &value["problems"][0];
    for key in ["severity", "line", "column", "path", "what"] {
        assert!(!first[key].is_null(), "{key} in {first}");
    }
}

#[test]
fn a_spec_comes_from_standard_input_too() {
    let place = Workplace::new();
    let mut command = place.command("spec check -");
    command.write_stdin(SPEC).assert().success();
}

#[test]
fn a_file_that_is_not_there_is_refused_by_its_name() {
    let ran = Workplace::new().run("spec check no.yaml").exits(2);
    assert!(ran.stderr.contains("no.yaml"), "{}", ran.stderr);
}

#[test]
fn the_schema_is_the_one_that_is_published() {
    let printed = Workplace::new().run("spec schema").exits(0).json();
    let published: serde_json::Value =
        serde_json::from_str(include_str!("../../../deploy/schema/cluster.schema.json")).unwrap();
    assert_eq!(printed, published);
}

#[test]
fn an_agents_file_permits_what_the_spec_asks_of_its_node_and_no_more() {
    let place = Workplace::with_spec();
    for node in ["mgmt1", "db1", "web1"] {
        let ran = place
            .run(&format!("spec agent-config {node} -f shop.yaml"))
            .exits(0);
        toml::from_str::<toml::Table>(&ran.stdout).unwrap();
        insta::assert_snapshot!(format!("agent_config_{node}"), ran.stdout);
    }
    let ran = place.run("spec agent-config db9 -f shop.yaml").exits(2);
    assert!(ran.stderr.contains("db1, db2"), "{}", ran.stderr);
}

#[test]
fn an_agents_file_permits_what_only_a_primary_has() {
    let place = Workplace::new();
    let spec = "cluster: pair\ncontrol: { coordinators: [db1] }\nnodes: { db1: { address: 10.0.0.1 }, db2: { address: 10.0.0.2 } }\n\
                services:\n  db:\n    nodes: [db1, db2]\n    active: one\n    failover: {}\n    parts:\n      - process: { name: base }\n      \
                - process: { name: writer, on: primary }\n      \
                - address: { ip: 10.0.0.9/24, interface: eth0 }\n";
    place.write("pair.yaml", spec);
    let ran = place.run("spec agent-config db2 -f pair.yaml").exits(0);
    let line = "db = { process = [\"base\", \"writer\"], address = [{ ip = \"10.0.0.9\", prefix = 24, interface = \"eth0\" }] }";
    assert!(ran.stdout.contains(line), "{}", ran.stdout);
    assert!(ran.stdout.contains("[process.writer]"), "{}", ran.stdout);
}

#[test]
fn an_agents_file_permits_the_files_that_a_restart_may_write_there() {
    let place = Workplace::new();
    let spec = "cluster: pair\ncontrol: { coordinators: [web1] }\nnodes: { web1: { address: 10.0.0.1 }, db1: { address: 10.0.0.2 } }\n\
                services:\n  web:\n    nodes: [web1]\n    manager: { systemd: { unit: web.service } }\n    \
                files: { app.conf: { values: { level: info } }, limits: {} }\n  \
                db: { nodes: [db1], manager: { systemd: { unit: db.service } } }\n";
    place.write("pair.yaml", spec);
    let ran = place.run("spec agent-config web1 -f pair.yaml").exits(0);
    let line = "web = { systemd = [\"web.service\"], files = [\"app.conf\", \"limits\"] }";
    assert!(ran.stdout.contains(line), "{}", ran.stdout);
    let file: toml::Table = toml::from_str(&ran.stdout).unwrap();
    for name in ["app.conf", "limits"] {
        let path = file["file"][name]["path"].as_str().unwrap();
        assert_eq!(path, format!("/etc/web/{name}"));
    }
    let ran = place.run("spec agent-config db1 -f pair.yaml").exits(0);
    let said = ["files =", "[file."].map(|word| ran.stdout.contains(word));
    assert_eq!(said, [false, false], "{}", ran.stdout);
}

#[test]
fn an_agents_file_permits_a_reboot_where_plans_could_ask_for_one() {
    let place = Workplace::new();
    let spec = "cluster: pair\ncontrol: { coordinators: [ctl] }\nnodes: { ctl: { address: 10.0.0.1 }, db1: { address: 10.0.0.2 } }\n\
                services: { db: { nodes: [db1], manager: { systemd: { unit: db.service } } } }\n";
    place.write("pair.yaml", spec);
    for (node, line) in [("ctl", "reboot = false"), ("db1", "reboot = true")] {
        let ran = place.run(&format!("spec agent-config {node} -f pair.yaml"));
        let ran = ran.exits(0);
        assert!(ran.stdout.contains(line), "{node}: {}", ran.stdout);
    }
}
