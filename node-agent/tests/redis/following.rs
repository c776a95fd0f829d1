//! A former primary comes back: what it may follow, what it would lose, and what is kept of that.

use std::fs;

use interlock_agent::redis::{Relation, Role};
use rustix::process::Signal;

use crate::bed::{Redis, SOON, pair};

#[tokio::test]
async fn a_former_primary_that_was_ahead_says_by_how_much_and_all_of_it_is_kept() {
    let Some((mut one, two)) = pair().await else {
        return;
    };
    assert_eq!(one.say("SET common 1"), "+OK");
    let common = one.facts().await.data().unwrap();
    two.until("to have it", |facts| facts.data().as_ref() == Some(&common))
        .await;
    // Its last write reaches nobody, and is on its disk.
    two.server.detach(SOON).await.unwrap();
    assert_eq!(one.say("SET lost 1"), "+OK");
    one.end(Signal::TERM);
    two.server.promote(SOON).await.unwrap();

    let own = one.start().await;
    let bytes = own.data().unwrap().offset - common.offset;
    assert!(bytes > 0);
    let other = one.server.observe_other(&two.upstream(), SOON).await;
    let relation = Relation::of(&own, &other.unwrap());
    let at = common.offset;
    assert_eq!(relation, Relation::Parted { at, bytes });
    assert!(!relation.is_safe());
    let saved = one.server.save_aside(SOON).await.unwrap();
    let kept = fs::read(&saved.file).unwrap();
    assert!(kept.windows(4).any(|word| word == b"lost"), "{saved:?}");

    one.server.follow(&two.upstream(), SOON).await.unwrap();
    let copied = two.facts().await.line;
    one.until("to be a copy", |facts| {
        facts.line == copied && facts.data().is_some()
    })
    .await;
    assert_eq!(one.say("GET common"), "1");
    assert_eq!(one.say("GET lost"), "$-1");
    // What was kept stays.
    assert_eq!(fs::read(&saved.file).unwrap(), kept);
}

#[tokio::test]
async fn a_replica_whose_primary_is_gone_knows_how_far_its_data_go_and_one_that_is_being_filled_does_not()
 {
    let Some((mut one, two)) = pair().await else {
        return;
    };
    assert_eq!(one.say("SET a 1"), "+OK");
    let data = one.facts().await.data().unwrap();
    two.until("to have it", |facts| facts.data().as_ref() == Some(&data))
        .await;
    one.end(Signal::KILL);
    let gone = two
        .until("to have lost its link", |facts| match &facts.role {
            Role::Replica(replica) => !replica.linked,
            Role::Primary(_) => false,
        })
        .await;
    assert_eq!(gone.data(), Some(data));

    // A primary of which it knows nothing, whose copy takes its time.
    let mut slow = Redis::new("rdb-key-save-delay 300000\nenable-debug-command yes");
    slow.start().await;
    slow.server.promote(SOON).await.unwrap();
    assert_eq!(slow.say("DEBUG POPULATE 100 k 10"), "+OK");
    let relation = Relation::of(&two.facts().await, &slow.facts().await);
    assert_eq!(relation, Relation::Unrelated);
    two.server.follow(&slow.upstream(), SOON).await.unwrap();
    let filled = two
        .until("to be filled", |facts| match &facts.role {
            Role::Replica(replica) => replica.copying,
            Role::Primary(_) => false,
        })
        .await;
    assert_eq!(filled.data(), None);
}

#[tokio::test]
async fn nothing_is_told_to_follow_while_it_is_a_primary() {
    let Some((one, two)) = pair().await else {
        return;
    };
    let error = one.server.follow(&two.upstream(), SOON).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("is a primary"), "{why}");
    let error = one.server.detach(SOON).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("is a primary"), "{why}");
    assert!(matches!(one.facts().await.role, Role::Primary(_)));
}
