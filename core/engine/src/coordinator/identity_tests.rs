use std::time::Duration;

use interlock_model::action::ShutdownBy;

use super::*;

const UUID: &str = "564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7";
const SWAPPED: &str = "2B1A4D56-4D3C-6F5E-7081-92A3B4C5D6E7";
const OTHER: &str = "11111111-2222-3333-4444-555555555555";

fn power(plug: &str) -> NodePower {
    NodePower {
        by: "kvm".parse().unwrap(),
        plug: plug.to_owned(),
        alias: None,
        shutdown: ShutdownBy::Agent,
        off_within: Duration::from_secs(60),
        on_within: Duration::from_secs(60),
    }
}

fn aliased(plug: &str, alias: &str) -> NodePower {
    NodePower {
        alias: Some(alias.to_owned()),
        ..power(plug)
    }
}

fn list(entries: &[(&str, &str)]) -> PlugList {
    let plugs = entries
        .iter()
        .map(|(plug, alias)| ListedPlug {
            plug: (*plug).to_owned(),
            alias: Some((*alias).to_owned()).filter(|alias| !alias.is_empty()),
        })
        .collect();
    PlugList::Plugs { plugs, cut: false }
}

/// What it comes to for the node db1, with this host name and UUID of its agent.
fn judged(power: &NodePower, hostname: &str, uuid: &str, list: &PlugList) -> Judgement {
    let node = "db1".parse().unwrap();
    let known = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let guest = Guest {
        node: &node,
        hostname: known(hostname),
        uuid: known(uuid),
    };
    judge(power, &guest, list)
}

fn proof(judgement: &Judgement) -> Option<Proof> {
    match judgement {
        Judgement::Proven { proof, .. } => Some(*proof),
        Judgement::Contradicted { .. } | Judgement::Open(_) => None,
    }
}

fn contradiction(judgement: Judgement) -> (String, String) {
    match judgement {
        Judgement::Contradicted { expected, found } => (expected, found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_alias_that_is_a_name_of_the_node_proves_the_plug() {
    for (alias, hostname) in [
        ("db1", ""),
        ("DB1", "elsewhere"),
        ("shop-db1", "shop-db1"),
        ("shop-db1.example", "shop-db1.example"),
        ("shop-db1", "shop-db1.example"),
    ] {
        let judgement = judged(
            &power("7"),
            hostname,
            "",
            &list(&[("7", alias), ("8", "x")]),
        );
        assert_eq!(proof(&judgement), Some(Proof::Alias), "{alias} {hostname}");
    }
}

#[test]
fn another_name_is_a_contradiction_that_says_what_was_expected_and_found() {
    let found = contradiction(judged(&power("7"), "host1", "", &list(&[("7", "db2")])));
    assert_eq!(
        found,
        ("db1 or its host name host1".to_owned(), "db2".to_owned())
    );
    // A name that only begins alike, or is that of another domain, is another name.
    for alias in ["db10", "db1.test"] {
        contradiction(judged(
            &power("7"),
            "db1.example",
            "",
            &list(&[("7", alias)]),
        ));
    }
}

#[test]
fn a_node_that_the_device_has_at_another_plug_is_a_contradiction() {
    for entries in [[("7", ""), ("8", "db1")], [("6", ""), ("8", "db1")]] {
        let found = contradiction(judged(&power("7"), "", "", &list(&entries)));
        assert_eq!(
            found,
            ("db1 at plug 7".to_owned(), "db1 at plug 8".to_owned())
        );
    }
}

#[test]
fn where_the_device_has_no_other_name_the_plug_is_the_name() {
    let virsh = list(&[("db1", ""), ("db2", "")]);
    assert_eq!(
        proof(&judged(&power("db1"), "", "", &virsh)),
        Some(Proof::Alias)
    );
    let found = contradiction(judged(&power("db2"), "", "", &virsh));
    assert_eq!(
        found,
        ("db1 at plug db2".to_owned(), "db1 at plug db1".to_owned())
    );
    let prefixed = list(&[("shop-db1", "")]);
    assert_eq!(
        judged(&power("shop-db1"), "", "", &prefixed),
        Judgement::Open("kvm has no name for plug shop-db1".to_owned())
    );
    let judgement = judged(&power("shop-db1"), "shop-db1", "", &prefixed);
    assert_eq!(proof(&judgement), Some(Proof::Alias));
}

#[test]
fn a_uuid_that_the_agent_reads_decides_before_any_name() {
    for uuid in [UUID, SWAPPED] {
        let listed = list(&[("vm1", UUID)]);
        assert_eq!(
            proof(&judged(&power("vm1"), "", uuid, &listed)),
            Some(Proof::Uuid)
        );
        assert_eq!(
            proof(&judged(&power(UUID), "", uuid, &PlugList::NotOffered)),
            Some(Proof::Uuid)
        );
    }
    // The same name on another hypervisor is another machine.
    let (expected, found) =
        contradiction(judged(&power("db1"), "", UUID, &list(&[("db1", OTHER)])));
    assert!(expected.contains(UUID) && found.contains(OTHER));
    contradiction(judged(&power(OTHER), "", UUID, &list(&[(OTHER, "db1")])));
}

#[test]
fn a_uuid_that_nobody_can_compare_leaves_the_name() {
    let listed = list(&[("db1", UUID), ("vm2", OTHER)]);
    assert_eq!(
        proof(&judged(&power("db1"), "", "", &listed)),
        Some(Proof::Alias)
    );
    assert!(matches!(
        judged(&power("vm2"), "", "", &list(&[("vm2", OTHER)])),
        Judgement::Open(_)
    ));
}

#[test]
fn the_alias_of_the_spec_alone_counts_where_there_is_one() {
    let named = list(&[("7", "PROD-DB-A"), ("8", "db1")]);
    assert_eq!(
        proof(&judged(&aliased("7", "prod-db-a"), "", "", &named)),
        Some(Proof::Alias)
    );
    let found = contradiction(judged(&aliased("8", "PROD-DB-A"), "", "", &named));
    assert_eq!(
        found,
        (
            "PROD-DB-A, the alias in the spec".to_owned(),
            "db1".to_owned()
        )
    );
    for unnamed in [list(&[("7", "")]), list(&[])] {
        assert!(matches!(
            judged(&aliased("7", "7"), "", "", &unnamed),
            Judgement::Open(_)
        ));
    }
}

#[test]
fn what_is_not_unique_or_not_answered_proves_nothing() {
    let twice = list(&[("7", "db1"), ("8", "DB1")]);
    let PlugList::Plugs { plugs, .. } = list(&[("7", "db1")]) else {
        unreachable!()
    };
    let cut = PlugList::Plugs { plugs, cut: true };
    for open in [
        twice,
        cut,
        list(&[]),
        PlugList::NotOffered,
        PlugList::Failed("login denied".to_owned()),
    ] {
        let judgement = judged(&power("7"), "", "", &open);
        assert!(matches!(judgement, Judgement::Open(_)), "{judgement:?}");
    }
}
