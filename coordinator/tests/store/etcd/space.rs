//! Quota and compaction.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions};
use interlock_coordinator::store::etcd::{Etcd, Options};
use interlock_coordinator::store::{Class, CommitError, Error, Store, Transaction};

use super::eventually;
use super::server::{Cluster, PATIENCE, Version};
use crate::conformance::{key, put};

pub(crate) async fn without_space_nothing_is_written_until_there_is_some(version: Version) {
    let quota = ["--quota-backend-bytes", "4194304"];
    let Some(cluster) = Cluster::with(version, 1, &quota) else {
        return;
    };
    // Nothing here is about how long a holder may be silent.
    let options = Options {
        lease: PATIENCE,
        ..cluster.options()
    };
    let store = Etcd::open(options).await.unwrap();
    let large = || Transaction::new().put(&key("/large"), vec![7; 256 * 1024]);
    let mut written = 0;
    let full = loop {
        match store.commit(large()).await {
            Ok(outcome) => {
                outcome.committed().unwrap();
                written += 1;
            }
            Err(error) => break error,
        }
        assert!(written < 100, "the quota is never used up");
    };
    assert!(
        matches!(&full, CommitError::NotCommitted(Error::Quota { .. })),
        "{full:?}"
    );
    assert_eq!(full.class(), Class::Retryable);
    // Reads go on.
    let entry = store.get(&key("/large")).await.unwrap().unwrap();
    assert_eq!(entry.value.len(), 256 * 1024);

    let again = tokio::time::timeout(PATIENCE, async {
        loop {
            make_room(&cluster).await;
            match store.commit(large()).await {
                Ok(outcome) => return outcome,
                Err(error) => eprintln!("not yet: {error}"),
            }
        }
    });
    let again = again.await.expect("writing resumes");
    assert!(again.committed().unwrap() > entry.modified);
}

/// What a person does: forget what is old, give the pages back, take the alarm away.
///
/// A member that is still compacting has no page to give back yet: hence `physical`, which waits for that.
async fn make_room(cluster: &Cluster) {
    let mut client = cluster.client(None).await;
    let now = client.get("/", None).await.unwrap();
    let now = now.header().unwrap().revision();
    let whole = CompactionOptions::new().with_physical();
    if let Err(error) = client.compact(now, Some(whole)).await {
        eprintln!("nothing newer to forget: {error}");
    }
    client.defragment().await.unwrap();
    let raised = client
        .alarm(AlarmAction::Get, AlarmType::Nospace, None)
        .await
        .unwrap();
    for alarm in raised.alarms() {
        let mut of = AlarmOptions::new();
        of.with_member(alarm.member_id());
        client
            .alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of))
            .await
            .unwrap();
    }
}

pub(crate) async fn compaction_forgets_old_revisions_and_no_data(version: Version) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let options = Options {
        compact: Some(Duration::from_millis(200)),
        ..cluster.options()
    };
    let store = Etcd::open(options).await.unwrap();
    put(&store, "/stays", "as it is").await;
    let old = put(&store, "/a", "1").await;
    put(&store, "/a", "2").await;
    let mut client = cluster.client(None).await;
    eventually("the old revision is forgotten", async || {
        let mut watch = store
            .watch(&interlock_coordinator::store::Prefix::root(), old)
            .await
            .unwrap();
        let first = futures_util::StreamExt::next(&mut watch).await.unwrap();
        matches!(
            first,
            interlock_coordinator::store::WatchEvent::Compacted { .. }
        )
        .then_some(())
    })
    .await;
    let entry = store.get(&key("/stays")).await.unwrap().unwrap();
    assert_eq!(&*entry.value, b"as it is");
    let kept = client.get("/interlock/test/v1/data/a", None).await.unwrap();
    assert_eq!(kept.kvs()[0].value(), b"2");
}
