//! Machines that have just been started, as after a loss of power.

use crate::agent::Agent;
use crate::bed::Bed;
use crate::moves::two;

#[tokio::test]
async fn where_both_machines_were_restarted_who_was_primary_last_is_primary_again() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    db1.change(|script| script.unready = "its server does not run".to_owned());
    let (db1, db2): (Agent, Agent) = (db1.restarted(&bed).await, db2.restarted(&bed).await);
    let waits = |reason: &str| {
        reason.contains("db1 was primary last") || reason.contains("db2: its machine has just")
    };
    let lease = bed
        .lease_is("waiting for db1", |lease| {
            lease.holder.is_empty() && waits(&lease.reason)
        })
        .await;
    assert!(lease.reason.contains("boot_dead"), "{lease:?}");
    assert!(!db2.was_promoted());
    db1.change(|script| script.unready.clear());
    db1.renewed(&bed, 2).await;
    assert!(!db2.was_promoted());
}

#[tokio::test]
async fn a_machine_that_was_just_started_takes_over_alone_once_it_has_been_up_for_long_enough() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    drop(db1);
    let db2 = db2.restarted(&bed).await;
    bed.told("failover-refused", "its machine has just been started")
        .await;
    let lease = bed.lease().await;
    assert!(lease.reason.contains("s more"), "{lease:?}");
    assert!(!db2.was_promoted());
    db2.change(|script| script.up_ms = Some(60_000));
    db2.renewed(&bed, 2).await;
}
