//! The same over etcd: reads and transactions are round trips there.

use interlock_proto::v1::lease_word::Word;

use crate::bed::{Bed, LIFE};
use crate::moves::two;
use crate::server::{Cluster, Version};

#[tokio::test]
async fn on_etcd_too_a_role_moves_when_its_lease_is_over_or_given_back_and_a_restart_counts_anew() {
    let Some(etcd) = Cluster::start(Version::Newer) else {
        return;
    };
    let mut bed = Bed::on(etcd).await;
    let (db1, db2) = two(&bed).await;
    db1.change(|script| script.renews = false);
    let last = db1.look().renewed.unwrap();
    let promoted = db2.promoted(&bed, 2).await;
    assert!(promoted - last >= LIFE, "{:?}", promoted - last);
    db2.renewed(&bed, 2).await;
    db1.renew(1).await;
    db1.told(&bed, "that it is over", |word| {
        matches!(word, Word::Over(1))
    })
    .await;

    // It is the last primary that may take the role back, for nobody can lack anything that it has written.
    db1.change(|script| script.renews = true);
    db2.change(|script| script.unready = "stopped by hand".to_owned());
    db2.release(2).await;
    db1.renewed(&bed, 3).await;
    db2.change(|script| script.unready.clear());

    bed.kill();
    let started = std::time::Instant::now();
    drop(db1);
    bed.start().await;
    let db2 = db2.again(&bed).await;
    let promoted = db2.promoted(&bed, 4).await;
    assert!(promoted - started >= LIFE, "{:?}", promoted - started);
}
