//! A lost holder is switched off where the spec says so, and that is a proof; what speaks against it is told.

use std::time::{Duration, Instant};

use interlock_proto::v1;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::lease_word::Word;

use crate::agent::Agent;
use crate::bed::Bed;
use crate::moves::two;

/// A cluster whose machines may be switched off. With the conservative profile, so that time is not faster.
async fn bed(lease: &str) -> Bed {
    Bed::with(|spec| {
        let nodes = "
power: { box: { fence: fence_box, via: [db1, db2] } }
nodes:
  db1: { address: 10.9.0.2, power: { by: box, plug: p1 } }
  db2: { address: 10.9.0.3, power: { by: box, plug: p2 } }
services:";
        let (_, rest) = spec.split_once("services:").unwrap();
        let (before, after) = rest.split_once("    failover:").unwrap();
        let (_, after) = after.split_once("  web:").unwrap();
        format!(
            "\ncluster: bed{nodes}{before}    failover: {{ automatic: true, fence: off, {lease} }}\n  web:{after}"
        )
    })
    .await
}

const HOLD: &str = "on_control_loss: hold";
const DEMOTE: &str = "on_control_loss: demote, vm_pause: accepted, clients: address";

async fn verify(bed: &Bed) {
    let mut cluster = ClusterServiceClient::new(bed.channel());
    let request = v1::VerifyPowerRequest {
        nodes: vec!["db1".to_owned()],
        attest: "seen on the console".to_owned(),
    };
    cluster.verify_power(request).await.unwrap();
    let nodes = bed.status().await.nodes;
    let db1 = nodes.into_iter().find(|node| node.node == "db1").unwrap();
    assert_ne!(db1.power_verified, "no", "{db1:?}");
}

/// db1 falls silent, and db2 finds this.
async fn loses(bed: &Bed, db1: Agent, db2: &Agent, reaches: Option<bool>, off: v1::Power) {
    verify(bed).await;
    // Its coordinator has seen it renew, and so knows how far it has written.
    let renewals = |word: &&(Instant, Word)| matches!(word.1, Word::Renewed(_));
    while db1.look().words.iter().filter(renewals).count() < 8 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    db2.change(|script| {
        script.reaches = reaches;
        script.switches = off;
    });
    drop(db1);
}

#[tokio::test]
async fn a_lost_holder_is_switched_off_and_its_role_moves_although_its_lease_never_ends() {
    let bed = bed(HOLD).await;
    let (db1, db2) = two(&bed).await;
    loses(&bed, db1, &db2, Some(false), v1::Power::Off).await;
    db2.renewed(&bed, 2).await;
    assert_eq!(db2.look().switched, ["p1"]);
    let why = bed.decision("complete", |why| why.primary_ms > 0).await;
    let last = why.over.last().map(|over| over.how.as_str());
    assert_eq!(last, Some("fenced"), "{why:?}");
    for part in ["db2 does not reach its machine", "confirmed that it is off"] {
        assert!(why.evidence.iter().any(|it| it.contains(part)), "{why:?}");
    }
    bed.told("node-fencing", "db1 is lost, and holds epoch 1 of db")
        .await;
    bed.told("node-fenced", "it stays off").await;
}

#[tokio::test]
async fn a_holder_that_another_node_reaches_is_left_alone_and_so_is_one_of_which_nobody_can_tell() {
    for (reaches, why) in [
        (Some(true), "db2 reaches its machine"),
        (None, "no other node has said"),
    ] {
        let bed = bed(HOLD).await;
        let (db1, db2) = two(&bed).await;
        loses(&bed, db1, &db2, reaches, v1::Power::Off).await;
        let lease = bed
            .lease_is("waiting", |lease| lease.reason.contains(why))
            .await;
        assert_eq!(
            (lease.epoch, lease.holder.as_str()),
            (1, "db1"),
            "{lease:?}"
        );
        assert!(db2.look().switched.is_empty());
    }
}

#[tokio::test]
async fn a_power_source_that_confirms_nothing_leaves_it_to_time() {
    let bed = bed(DEMOTE).await;
    let (db1, db2) = two(&bed).await;
    loses(&bed, db1, &db2, Some(false), v1::Power::Unknown).await;
    bed.told("fence-failed", "as the script says").await;
    db2.renewed(&bed, 2).await;
    let why = bed.decision("begun", |why| why.epoch == 2).await;
    let last = why.over.last().map(|over| over.how.as_str());
    assert_eq!(last, Some("expired"), "{why:?}");
    let told = why
        .evidence
        .iter()
        .any(|it| it.contains("it was not switched off"));
    assert!(told, "{why:?}");
}
