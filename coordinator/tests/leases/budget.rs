//! What moves too often moves no more by itself, before a person says so.

use interlock_proto::v1;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::lease_word::Word;
use tonic::{Code, Status};

use crate::bed::Bed;
use crate::moves::two;

async fn unblock(bed: &Bed, service: &str) -> Result<Vec<v1::FailoverBlock>, Status> {
    let request = v1::UnblockFailoverRequest {
        service: service.to_owned(),
        reason: "a loose cable".to_owned(),
    };
    let mut cluster = ClusterServiceClient::new(bed.channel());
    Ok(cluster.unblock_failover(request).await?.into_inner().ended)
}

#[tokio::test]
async fn a_spent_budget_waits_for_a_person_also_after_a_restart_of_the_coordinator() {
    let budget = "automatic: true\n      budget: 1";
    let mut bed = Bed::with(|spec| spec.replace("automatic: true", budget)).await;
    let (db1, db2) = two(&bed).await;
    assert_eq!(
        unblock(&bed, "db").await.unwrap_err().code(),
        Code::NotFound
    );
    db1.release(1).await;
    db2.renewed(&bed, 2).await;
    // What is counted is in the store.
    bed.kill();
    bed.start().await;
    let (db1, db2) = (db1.again(&bed).await, db2.again(&bed).await);
    db2.renewed(&bed, 2).await;
    db2.release(2).await;
    let command = "interlockctl unblock --service db --reason TEXT";
    bed.told("failover-blocked", command).await;
    let lease = bed
        .lease_is("blocked", |lease| lease.reason.contains(command))
        .await;
    assert_eq!((lease.epoch, lease.automatic), (2, false), "{lease:?}");

    bed.kill();
    bed.start().await;
    let (_db1, _db2) = (db1.again(&bed).await, db2.again(&bed).await);
    bed.lease_is("blocked still", |lease| lease.reason.contains(command))
        .await;
    let blocks = bed.status().await.blocks;
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert_eq!((blocks[0].times, blocks[0].command.as_str()), (1, command));

    assert_eq!(unblock(&bed, "db").await.unwrap(), blocks);
    bed.lease_is("moved", |lease| lease.epoch == 3 && lease.held)
        .await;
    bed.told("failover-unblocked", "a loose cable").await;
    assert!(bed.status().await.blocks.is_empty());
}

#[tokio::test]
async fn a_primary_whose_clients_do_not_reach_it_keeps_a_role_that_may_not_move_once_more() {
    let budget = "automatic: true\n      budget: 1";
    let bed = Bed::with(|spec| spec.replace("automatic: true", budget)).await;
    let (db1, db2) = two(&bed).await;
    db1.change(|script| script.unready = "stopped by hand".to_owned());
    db1.release(1).await;
    db2.renewed(&bed, 2).await;
    db1.change(|script| script.unready.clear());
    db2.change(|script| script.unlinked = "nobody reaches it here".to_owned());
    let command = "interlockctl unblock --service db --reason TEXT";
    bed.told("failover-blocked", command).await;
    let asked = |word: &(_, Word)| matches!(word, (_, Word::Release(_)));
    assert!(
        !db2.look().words.iter().any(asked),
        "it was asked for its role"
    );
    let lease = bed.lease_is("held", |lease| lease.held).await;
    assert_eq!((lease.epoch, lease.holder.as_str()), (2, "db2"));
    unblock(&bed, "db").await.unwrap();
    db2.told(&bed, "to give it back", |word| {
        matches!(word, Word::Release(2))
    })
    .await;
    db2.release(2).await;
    db1.renewed(&bed, 3).await;
}

#[tokio::test]
async fn a_role_that_goes_to_where_it_was_spends_no_budget() {
    let budget = "automatic: true\n      budget: 1";
    let bed = Bed::with(|spec| spec.replace("automatic: true", budget)).await;
    let (db1, db2) = two(&bed).await;
    db2.change(|script| script.unready = "not yet".to_owned());
    // Nobody else may take it: it begins anew where it was, as often as it is given back.
    for epoch in 1..4 {
        db1.release(epoch).await;
        db1.renewed(&bed, epoch + 1).await;
    }
    let lease = bed.lease_is("held", |lease| lease.held).await;
    assert_eq!((lease.epoch, lease.holder.as_str()), (4, "db1"));
    assert!(bed.status().await.blocks.is_empty());
    // The budget is there for a move.
    db2.change(|script| script.unready.clear());
    db1.change(|script| script.unready = "stopped by hand".to_owned());
    db1.release(4).await;
    db2.renewed(&bed, 5).await;
}
