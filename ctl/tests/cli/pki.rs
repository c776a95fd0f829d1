//! `pki`: files, modes, and what comes next.

use crate::support::{Workplace, mode};

#[test]
fn an_authority_is_made_in_one_command_with_its_key_for_its_owner_alone() {
    let place = Workplace::new();
    let ran = place.run("pki init --cluster shop --dir ca").exits(0);
    assert_eq!(ran.stdout, "ca/ca.crt\nca/ca.key\n");
    assert!(ran.stderr.contains("pki issue agent"), "{}", ran.stderr);
    assert_eq!(mode(&place.path("ca")), 0o700);
    assert_eq!(mode(&place.path("ca/ca.key")), 0o600);
}

#[test]
fn an_authority_is_never_replaced() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    let before = std::fs::read(place.path("pki/ca.key")).unwrap();
    let ran = place.run("pki init --cluster shop").exits(2);
    assert!(ran.stderr.contains("never replaced"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("--replace"), "{}", ran.stderr);
    assert_eq!(std::fs::read(place.path("pki/ca.key")).unwrap(), before);
}

#[test]
fn each_member_gets_a_directory_that_can_be_copied_as_it_is() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    let ran = place.run("pki issue agent db1 db2").exits(0);
    assert_eq!(
        ran.stdout.lines().collect::<Vec<_>>(),
        [
            "pki/agent/db1/agent.crt",
            "pki/agent/db1/agent.key",
            "pki/agent/db1/ca.crt",
            "pki/agent/db2/agent.crt",
            "pki/agent/db2/agent.key",
            "pki/agent/db2/ca.crt",
        ]
    );
    for line in ran.stdout.lines().filter(|line| line.ends_with(".key")) {
        assert_eq!(mode(&place.path(line)), 0o600, "{line}");
    }
    assert!(
        ran.stderr.contains("scp -p pki/agent/db1/*"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("/etc/interlock/tls/agent.key"),
        "{}",
        ran.stderr
    );
}

#[test]
fn members_are_named_in_ranges_as_in_a_spec_each_once() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    let ran = place
        .run("pki issue agent mgmt1 db[1-2],web08 db1")
        .exits(0);
    let certificates = ran
        .stdout
        .lines()
        .filter(|line| line.ends_with("agent.crt"));
    assert_eq!(
        certificates.collect::<Vec<_>>(),
        ["mgmt1", "db1", "db2", "web08"].map(|name| format!("pki/agent/{name}/agent.crt"))
    );
    // What is about one name is not about a range.
    place
        .run("pki issue coordinator db[1-2] --address 10.0.0.1")
        .exits(64);
}

#[test]
fn certificates_of_several_are_issued_all_or_none() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    place.run("pki issue agent db2").exits(0);
    for (line, code, says) in [
        (
            "pki issue agent db[1-2] db3",
            2,
            "db2/agent.key is already there",
        ),
        ("pki issue agent db1 db3 a/b", 64, "a/b"),
        ("pki issue agent db1 db[3", 64, "not closed"),
    ] {
        let ran = place.run(line).exits(code);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        assert_eq!(ran.stdout, "", "{line}");
        for node in ["db1", "db3"] {
            assert!(!place.path("pki/agent").join(node).exists(), "{line}");
        }
    }
    // What could not be foreseen: a file where a directory has to be made.
    place.write("pki/agent/db3", "");
    let ran = place.run("pki issue agent db1 db3 db4").exits(1);
    assert!(
        ran.stderr.contains("issued: db1; not issued: db3, db4"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("pki/agent/db1/agent.key"),
        "{}",
        ran.stdout
    );
    assert!(!place.path("pki/agent/db4").exists());
}

#[test]
fn a_certificate_is_replaced_only_if_that_is_said() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    place
        .run("pki issue coordinator mgmt1 --address 10.9.0.5,mgmt1.example")
        .exits(0);
    let ran = place.run("pki issue coordinator mgmt1").exits(2);
    assert!(ran.stderr.contains("--replace"), "{}", ran.stderr);
    place.run("pki issue coordinator mgmt1 --replace").exits(0);
}

#[test]
fn what_cannot_be_issued_is_refused_with_its_reason() {
    let place = Workplace::new();
    let ran = place.run("pki issue agent db1").exits(2);
    assert!(ran.stderr.contains("pki init"), "{}", ran.stderr);
    place.run("pki init --cluster shop --days 10").exits(0);
    let ran = place.run("pki issue agent db1 --days 11").exits(2);
    assert!(ran.stderr.contains("shorter life"), "{}", ran.stderr);
    place.run("pki issue agent a/b").exits(64);
    place
        .run("pki issue agent db1 db2 --address 10.0.0.1")
        .exits(64);
    for address in ["not_an_ip!!", "10.0.0.256", "10.0.0.1,", "db1:22"] {
        let ran = place
            .run(&format!("pki issue coordinator m2 --address {address}"))
            .exits(64);
        assert!(
            ran.stderr.contains("neither an IP address nor a host name"),
            "{}",
            ran.stderr
        );
        assert!(!place.path("pki/coordinator/m2").exists());
    }
}
