//! A former primary comes back, and replication that breaks: what is told of it, and that nothing is thrown away.

use std::error::Error as _;

use interlock_agent::mariadb::{Link, Relation};
use rustix::process::Signal;

use crate::bed::{SOON, pair};

#[tokio::test]
async fn a_former_primary_that_was_ahead_says_by_how_many_transactions_and_is_left_as_it_is() {
    let Some((mut one, two)) = pair().await else {
        return;
    };
    one.sql("INSERT INTO app.t VALUES (1)");
    let common = two.until_level(&one).await.position().unwrap();
    // Its last transactions reach nobody.
    two.server.detach(SOON).await.unwrap();
    for row in 2..5 {
        one.sql(&format!("INSERT INTO app.t VALUES ({row})"));
    }
    one.end(Signal::KILL);
    two.server.promote(SOON).await.unwrap();
    for row in 10..20 {
        two.sql(&format!("INSERT INTO app.t VALUES ({row})"));
    }

    let own = one.start().await;
    assert!(own.read_only);
    let other = one
        .server
        .observe_other(&two.upstream(), SOON)
        .await
        .unwrap();
    assert!(
        other.position().unwrap() > own.position().unwrap(),
        "{other:?}"
    );
    let parted = Relation::Parted {
        at: common,
        transactions: 3,
    };
    assert_eq!(Relation::of(&own, &other), parted);

    // The servers themselves refuse it, too, and nothing is lost by trying.
    one.server.follow(&two.upstream(), SOON).await.unwrap();
    let broken = one
        .until("to be refused", |facts| {
            facts
                .source()
                .is_some_and(|source| source.broken().is_some())
        })
        .await;
    let source = broken.source().unwrap();
    assert!(!source.runs() && source.lag.is_none(), "{source:?}");
    assert_eq!(one.rows(), [1, 2, 3, 4]);
    assert_eq!(Relation::of(&broken, &other), parted);
}

#[tokio::test]
async fn replication_that_stopped_with_an_error_says_why_and_stays_stopped() {
    let Some((one, two)) = pair().await else {
        return;
    };
    // Somebody with the right to that writes to the replica.
    two.sql("SET SESSION sql_log_bin=0; INSERT INTO app.t VALUES (1)");
    one.sql("INSERT INTO app.t VALUES (1)");
    let facts = two
        .until("to stop", |facts| {
            facts.source().is_some_and(|source| !source.applies)
        })
        .await;
    let source = facts.source().unwrap();
    let why = source.broken().unwrap();
    assert!(why.contains("(1062)") && why.contains("Duplicate"), "{why}");
    assert!(!source.runs() && source.lag.is_none(), "{source:?}");
    assert!(facts.position().unwrap() < one.facts().await.position().unwrap());
    // And it is not promoted over that.
    let error = two.server.promote(SOON).await.unwrap_err();
    let said = error.source().unwrap().to_string();
    assert!(said.contains("(1062)"), "{said}");
    assert!(two.facts().await.read_only);

    two.sql("SET SESSION sql_log_bin=0; DELETE FROM app.t WHERE x = 1");
    two.server.resume(SOON).await.unwrap();
    two.until_linked().await;
    two.until_level(&one).await;
}

#[tokio::test]
async fn what_somebody_wrote_to_a_replica_is_a_divergence() {
    let Some((one, two)) = pair().await else {
        return;
    };
    two.sql("INSERT INTO app.t VALUES (9)");
    let (own, other) = (two.facts().await, one.facts().await);
    let relation = Relation::of(&own, &other);
    assert!(
        matches!(
            relation,
            Relation::Parted {
                transactions: 1,
                ..
            }
        ),
        "{relation:?}: {own:?} {other:?}"
    );
}

#[tokio::test]
async fn a_replica_whose_primary_is_gone_asks_no_more_and_knows_how_far_its_data_go() {
    let Some((mut one, two)) = pair().await else {
        return;
    };
    one.sql("INSERT INTO app.t VALUES (1)");
    let position = two.until_level(&one).await.position();
    one.end(Signal::KILL);
    let gone = two
        .until("to have lost its link", |facts| {
            facts
                .source()
                .is_some_and(|source| source.link == Link::Connecting)
        })
        .await;
    // A source that is away is no reason not to take over from it.
    assert_eq!(gone.source().unwrap().broken(), None, "{gone:?}");
    assert!(gone.source().unwrap().lag.is_none());
    two.server.detach(SOON).await.unwrap();
    let alone = two.facts().await;
    assert_eq!(alone.source().unwrap().link, Link::Stopped);
    assert_eq!(alone.source().unwrap().broken(), None, "{alone:?}");
    assert_eq!(alone.position(), position);

    let unreached = two.server.observe_other(&one.upstream(), SOON).await;
    assert!(unreached.is_err());
}

#[tokio::test]
async fn nothing_is_told_to_follow_while_it_takes_writes() {
    let Some((one, two)) = pair().await else {
        return;
    };
    for error in [
        one.server.follow(&two.upstream(), SOON).await.unwrap_err(),
        one.server.resume(SOON).await.unwrap_err(),
        one.server.detach(SOON).await.unwrap_err(),
    ] {
        let why = error.source().unwrap().to_string();
        assert!(why.contains("takes writes"), "{why}");
    }
    assert!(!one.facts().await.read_only);
}
