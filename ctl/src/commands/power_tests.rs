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
