use interlock_proto::v1::{PlugProof, Power, PowerMatch};

use super::*;

fn found(node: &str, power: Power, proof: PlugProof) -> PowerMatch {
    PowerMatch {
        node: node.to_owned(),
        device: "kvm".to_owned(),
        plug: "7".to_owned(),
        power: power.into(),
        proof: proof.into(),
        ..PowerMatch::default()
    }
}

#[test]
fn everything_proven_and_answering_leaves_nothing_to_do() {
    let proven = [PlugProof::Alias, PlugProof::Uuid, PlugProof::Attested];
    let matches: Vec<PowerMatch> = proven
        .into_iter()
        .map(|proof| found("db1", Power::Off, proof))
        .collect();
    assert_eq!(remedies(&matches), [""; 0]);
}

#[test]
fn each_kind_of_trouble_has_its_own_line() {
    let contradicted = PowerMatch {
        expected: "db1".to_owned(),
        found: "web9".to_owned(),
        detail: "correct `plug`".to_owned(),
        ..found("db1", Power::On, PlugProof::Contradicted)
    };
    let lines = remedies(&[
        contradicted,
        found("db2", Power::On, PlugProof::Unproven),
        found("db3", Power::Off, PlugProof::Unspecified),
        found("db4", Power::Unknown, PlugProof::Alias),
    ]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("expected db1, found web9"), "{lines:?}");
    assert!(lines[1].starts_with("no answer about db4"), "{lines:?}");
    assert!(
        lines[2].ends_with("interlockctl power verify db2 db3 --attest REASON"),
        "{lines:?}"
    );
}

#[test]
fn programs_read_the_proof_and_since_when_and_by_whom() {
    let proven = PowerMatch {
        since_ms: 1_700_000_000_000,
        by: "anna".to_owned(),
        ..found("db1", Power::On, PlugProof::Alias)
    };
    let told = value(&proven);
    assert_eq!(told["proof"], "alias");
    assert_eq!(told["matched"], true);
    assert_eq!(told["since"], "2023-11-14T22:13:20.000Z");
    assert_eq!(told["by"], "anna");
    assert!(told["found"].is_null());
    let open = value(&found("db1", Power::On, PlugProof::Unspecified));
    assert_eq!(open["proof"], "unproven");
    assert!(open["since"].is_null());
}

#[test]
fn how_far_it_is_counts_what_was_told_since_it_was_begun() {
    let node = |name: &str, verified: &str, age: Option<u64>| v1::NodeStatus {
        node: name.to_owned(),
        power_verified: verified.to_owned(),
        power_age_ms: age,
        ..v1::NodeStatus::default()
    };
    let status = v1::Status {
        nodes: vec![
            node("db1", "yes", Some(4_000)),
            node("db2", "no", Some(20_000)),
            node("db3", "no", None),
            node("mgmt", "", None),
        ],
        ..v1::Status::default()
    };
    let said = |status, named: &[&str], seconds| {
        let named: Vec<String> = named.iter().map(|it| (*it).to_owned()).collect();
        progress(status, &named, std::time::Duration::from_secs(seconds))
    };
    let waits = |seconds| {
        format!(
            "waiting for power sources for {seconds} s, each answers one question after the other"
        )
    };
    assert_eq!(said(None, &[], 5), waits(5));
    assert_eq!(
        said(Some(&status), &[], 5),
        format!("{}: 1 of 3 nodes told", waits(5))
    );
    assert_eq!(
        said(Some(&status), &[], 20),
        format!("{}: 2 of 3 nodes told", waits(20))
    );
    assert_eq!(
        said(Some(&status), &["db2"], 10),
        format!("{}: 0 of 1 node told", waits(10))
    );
}
