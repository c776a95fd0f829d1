//! One process at a time has the store.

use std::time::Duration;

use futures_util::FutureExt;
use interlock_coordinator::store::etcd::{Etcd, IfHeld, OpenError, Options};
use interlock_coordinator::store::{
    Class, CommitError, Error, Prefix, Revision, Store, Transaction,
};

use super::server::{Cluster, PATIENCE, Version};
use crate::conformance::{key, put};

/// The key that the holder has.
const HOLDER: &str = "/interlock/test/v1/holder";

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap()
}

pub(crate) async fn a_second_process_is_refused_or_waits_until_the_first_lets_go(version: Version) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let first = cluster.open().await.unwrap();
    let refusing = Options {
        coordinator: "mgmt2".to_owned(),
        if_held: IfHeld::Refuse,
        ..cluster.options()
    };
    let refused = Etcd::open(refusing).await.unwrap_err();
    assert!(
        matches!(&refused, OpenError::Held { holder, .. } if holder == "mgmt1"),
        "{refused:?}"
    );
    let mut waiting = Box::pin(cluster.open());
    // Longer than the lease: a holder that lives keeps it.
    let early = tokio::time::timeout(Duration::from_secs(6), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    put(&first, "/a", "1").await;
    first.close().await;
    let second = within(waiting).await.unwrap();
    let entry = second.get(&key("/a")).await.unwrap().unwrap();
    assert_eq!(&*entry.value, b"1");
    assert!(matches!(
        first.get(&key("/a")).await.unwrap_err(),
        Error::Closed { .. }
    ));
}

pub(crate) async fn a_process_that_was_killed_is_followed_when_its_lease_ends(version: Version) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let first = cluster.open().await.unwrap();
    put(&first, "/a", "1").await;
    // As a killed process: nothing is given back.
    drop(first);
    let second = within(cluster.open()).await.unwrap();
    put(&second, "/a", "2").await;
}

pub(crate) async fn a_holder_whose_lease_ended_commits_nothing_and_is_told(version: Version) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let first = cluster.open().await.unwrap();
    put(&first, "/a", "first").await;
    assert!(first.lost().now_or_never().is_none());
    // The key goes without the process noticing, as after a pause longer than the lease.
    let mut client = cluster.client(None).await;
    client.delete(HOLDER, None).await.unwrap();
    let second = within(cluster.open()).await.unwrap();
    let seen = second.revision().await.unwrap();
    let late = first
        .commit(Transaction::new().put(&key("/a"), *b"late"))
        .await
        .unwrap_err();
    assert!(
        matches!(&late, CommitError::NotCommitted(Error::Superseded { .. })),
        "{late:?}"
    );
    assert_eq!(late.class(), Class::Terminal);
    within(first.lost()).await;
    assert!(matches!(
        first.get(&key("/a")).await.unwrap_err(),
        Error::Superseded { .. }
    ));
    let entry = second.get(&key("/a")).await.unwrap().unwrap();
    assert_eq!(&*entry.value, b"first");
    assert_eq!(second.revision().await.unwrap(), seen);
}

pub(crate) async fn the_incarnation_and_the_data_stay_over_openings(version: Version) {
    let Some(mut cluster) = Cluster::start(version) else {
        return;
    };
    let first = cluster.open().await.unwrap();
    let incarnation = first.incarnation();
    let modified = put(&first, "/a", "1").await;
    assert_eq!(modified, Revision(1));
    first.close().await;
    cluster.kill(0);
    cluster.restart(0);
    let second = cluster.open().await.unwrap();
    assert_eq!(second.incarnation(), incarnation);
    let entry = second.get(&key("/a")).await.unwrap().unwrap();
    assert_eq!((entry.modified, &*entry.value), (modified, &b"1"[..]));
    assert!(put(&second, "/a", "2").await > modified);
}

pub(crate) async fn clusters_below_different_prefixes_do_not_see_each_other(version: Version) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let other = |prefix: &str| Options {
        prefix: prefix.to_owned(),
        ..cluster.options()
    };
    let (a, ab) = (other("/interlock/a"), other("/interlock/ab"));
    let (a, ab) = (Etcd::open(a).await.unwrap(), Etcd::open(ab).await.unwrap());
    assert_ne!(a.incarnation(), ab.incarnation());
    put(&a, "/x", "a").await;
    put(&ab, "/x", "ab").await;
    let cleared = Transaction::new().delete_below(&Prefix::root());
    let cleared = ab.commit(cleared).await.unwrap();
    assert!(cleared.committed().is_ok());
    let all = a.snapshot(&Prefix::root()).await.unwrap();
    assert_eq!(all.entries.len(), 1);
    assert_eq!(&*all.entries[0].value, b"a");
    // Revisions have gaps where others write; they grow all the same.
    assert!(put(&a, "/x", "2").await > all.entries[0].modified);
}
