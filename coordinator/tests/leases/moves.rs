//! How a role begins and moves: with the holder's own renewals, its release, and time.

use std::time::Instant;

use interlock_proto::v1;
use interlock_proto::v1::lease_word::Word;

use crate::agent::Agent;
use crate::bed::{Bed, LIFE};

/// The agents of db1, which is primary in epoch 1, and of db2.
pub(crate) async fn two(bed: &Bed) -> (Agent, Agent) {
    let db2 = Agent::new(bed, "db2").await;
    db2.change(|script| script.unready = "not yet".to_owned());
    let db1 = Agent::new(bed, "db1").await;
    bed.lease_is("held in epoch 1", |lease| lease.epoch == 1 && lease.held)
        .await;
    db1.renewed(bed, 1).await;
    db2.change(|script| script.unready.clear());
    (db1, db2)
}

#[tokio::test]
async fn the_first_epoch_is_held_only_by_an_own_renewal_that_was_acknowledged() {
    let bed = Bed::new().await;
    let db1 = Agent::new(&bed, "db1").await;
    db1.change(|script| script.renews = false);
    // Nobody is made primary before every member has spoken.
    bed.lease_is("waiting for db2", |lease| lease.reason.contains("db2"))
        .await;
    assert!(!db1.was_promoted());
    let db2 = Agent::new(&bed, "db2").await;
    db2.change(|script| script.unready = "its parts do not run".to_owned());

    db1.promoted(&bed, 1).await;
    let lease = bed.lease_is("begun", |lease| lease.epoch == 1).await;
    assert_eq!((lease.holder.as_str(), lease.held), ("db1", false));
    db1.change(|script| script.renews = true);
    db1.renewed(&bed, 1).await;
    let lease = bed.lease_is("held", |lease| lease.held).await;
    assert!(lease.automatic && lease.since_ms > 0, "{lease:?}");
    let begun = bed.told("lease-begun", "epoch 1").await;
    assert!(begun.contains("its parts do not run"), "{begun}");
    bed.told("lease-promoted", "db1 is the primary of db in epoch 1")
        .await;
    db2.told(&bed, "who holds it", |word| {
        matches!(word, Word::Heard(heard) if heard.holder.as_ref().is_some_and(|it| it.node == "db1"))
    })
    .await;
    assert!(!db2.was_promoted());
}

#[tokio::test]
async fn the_role_of_a_silent_holder_moves_when_its_lease_is_over_and_not_before() {
    let bed = Bed::new().await;
    let (holder, other) = two(&bed).await;
    holder.change(|script| script.renews = false);
    let last = holder.look().renewed.unwrap();
    let promoted = other.promoted(&bed, 2).await;
    assert!(promoted - last >= LIFE, "{:?}", promoted - last);
    other.renewed(&bed, 2).await;
    bed.told("lease-begun", "epoch 1").await;
    let begun = bed.told("lease-begun", "epoch 2").await;
    assert!(begun.contains("expired"), "{begun}");

    let why = bed.decision("complete", |why| why.primary_ms > 0).await;
    assert_eq!(
        (why.epoch, why.node.as_str(), why.before.as_str()),
        (2, "db2", "db1")
    );
    assert_eq!(
        why.over.last().map(|over| (over.epoch, over.how.as_str())),
        Some((1, "expired"))
    );
    let unfit = |node: &str| {
        let found = why.candidates.iter().find(|it| it.node == node);
        found.map(|it| !it.unfit.is_empty())
    };
    assert_eq!(
        (unfit("db1"), unfit("db2")),
        (Some(true), Some(false)),
        "{why:?}"
    );
    let times = [
        why.last_renewed_ms,
        why.decided_ms,
        why.held_ms,
        why.primary_ms,
    ];
    assert!(times[0] > 0 && times.is_sorted(), "{why:?}");

    // The old holder wakes up, and is told that it is over.
    holder.renew(1).await;
    holder
        .told(&bed, "that it is over", |word| {
            matches!(word, Word::Over(1))
        })
        .await;
    assert_eq!(bed.lease().await.epoch, 2);
}

#[tokio::test]
async fn a_role_that_was_given_back_moves_without_waiting_for_the_lease_to_end() {
    let bed = Bed::new().await;
    let (holder, other) = two(&bed).await;
    holder.change(|script| script.unready = "stopped by hand".to_owned());
    holder.release(1).await;
    holder
        .told(&bed, "that it is written", |word| {
            matches!(word, Word::ReleaseWritten(1))
        })
        .await;
    other.renewed(&bed, 2).await;
    bed.told("lease-released", "epoch 1").await;
    let begun = bed.told("lease-begun", "epoch 2").await;
    assert!(begun.contains("released by"), "{begun}");
}

#[tokio::test]
async fn what_a_former_primary_has_lost_is_told_once_and_stands_with_why_the_role_moved() {
    let mut bed = Bed::new().await;
    let (holder, other) = two(&bed).await;
    holder.change(|script| script.unready = "stopped by hand".to_owned());
    holder.release(1).await;
    other.renewed(&bed, 2).await;
    bed.decision("complete", |why| why.primary_ms > 0).await;
    holder.change(|script| {
        script.lost = Some(v1::WritesLost {
            epoch: 2,
            text: "184 B of its log are saved in /aside/1".to_owned(),
        });
    });
    let told = bed.told("writes-lost", "184 B of its log").await;
    assert!(told.contains("db1") && told.contains("/aside/1"), "{told}");
    let lines = |why: &v1::Decision| {
        let lines = why.evidence.iter();
        lines.filter(|line| line.contains("184 B")).count()
    };
    let why = bed.decision("told of it", |why| lines(why) == 1).await;
    assert!(why.epoch == 2 && why.primary_ms > 0, "{why:?}");

    // Another coordinator hears of it again, and knows that it was told.
    bed.kill();
    bed.start().await;
    let (holder, other) = (holder.again(&bed).await, other.again(&bed).await);
    holder.change(|script| {
        script.lost = Some(v1::WritesLost {
            epoch: 2,
            text: "another 12 B of its log are saved in /aside/2".to_owned(),
        });
    });
    bed.told("writes-lost", "another 12 B").await;
    let why = bed.decision("the same", |why| why.epoch == 2).await;
    assert_eq!(lines(&why), 1, "{why:?}");
    drop(other);
}

#[tokio::test]
async fn a_report_of_a_node_in_the_name_of_another_one_is_dropped() {
    let bed = Bed::new().await;
    let (holder, other) = two(&bed).await;
    other.release_for("db1", 1).await;
    // The same session is served in order: when this is answered, the release was looked at.
    other.renew(1).await;
    other
        .told(&bed, "that it is over", |word| {
            matches!(word, Word::Over(1))
        })
        .await;
    let lease = bed.lease().await;
    assert_eq!((lease.epoch, lease.holder.as_str()), (1, "db1"));
    assert!(bed.log().contains("lease.holder.node"), "{}", bed.log());
    drop(holder);
}

#[tokio::test]
async fn a_coordinator_that_starts_again_counts_anew() {
    let mut bed = Bed::new().await;
    let (holder, other) = two(&bed).await;
    drop(holder);
    bed.kill();
    let started = Instant::now();
    bed.start().await;
    let other = other.again(&bed).await;
    let promoted = other.promoted(&bed, 2).await;
    assert!(promoted - started >= LIFE, "{:?}", promoted - started);
}

#[tokio::test]
async fn other_terms_of_the_spec_are_proposed_to_the_holder_and_bind_when_it_renews_with_them() {
    let bed = Bed::new().await;
    let (db1, _db2) = two(&bed).await;
    bed.apply_conservative().await;
    db1.told(
        &bed,
        "the other terms",
        |word| matches!(word, Word::Propose(terms) if terms.life_ms == 11_000),
    )
    .await;
    let life = |word: &Word| match word {
        Word::Renewed(renewed) => renewed.terms.as_ref().map(|terms| terms.life_ms),
        _ => None,
    };
    let words = db1.look().words;
    let lives: Vec<u64> = words.iter().filter_map(|(_, word)| life(word)).collect();
    assert!(lives.iter().all(|life| *life == 2450), "{lives:?}");
    // It takes them up with its next renewal.
    db1.accept_proposed();
    db1.told(&bed, "that they bind", |word| life(word) == Some(11_000))
        .await;
}
