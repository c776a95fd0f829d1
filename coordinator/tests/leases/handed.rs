//! A role that its holder was asked for, and who else was told meanwhile.

use interlock_proto::v1::lease_word::Word;

use crate::bed::Bed;
use crate::maintenance::{enter, service};
use crate::moves::two;

#[tokio::test]
async fn a_role_that_was_asked_for_is_taken_up_by_another_coordinator_in_a_maintenance_entered_since()
 {
    let mut bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    db1.change(|script| script.unlinked = "nobody reaches it here".to_owned());
    db1.told(&bed, "to give it back", |word| {
        matches!(word, Word::Release(1))
    })
    .await;
    enter(&bed, service("db")).await;
    bed.kill();
    bed.start().await;
    db1.change(|script| {
        script.unlinked.clear();
        // It has begun to stop.
        script.renews = false;
    });
    let (db1, db2) = (db1.again(&bed).await, db2.again(&bed).await);
    bed.lease_is("held still", |lease| lease.held && lease.epoch == 1)
        .await;
    db1.release(1).await;
    let lease = bed
        .lease_is("held again", |lease| {
            lease.epoch == 2 && !lease.holder.is_empty()
        })
        .await;
    assert!(!lease.automatic, "{lease:?}");
    drop(db2);
}
