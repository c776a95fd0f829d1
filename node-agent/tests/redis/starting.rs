//! Every start is that of a replica, and what is not fit for a lease says why.

use std::fs;

use interlock_agent::redis::{Observed, Role};
use rustix::process::Signal;

use crate::bed::{Redis, SOON, installed};

#[tokio::test]
async fn whoever_starts_it_has_a_replica_also_after_a_promotion_and_a_rewritten_configuration() {
    if !installed() {
        return;
    }
    let mut redis = Redis::new("");
    let facts = redis.start().await;
    assert!(matches!(facts.role, Role::Replica(_)), "{facts:?}");
    assert!(redis.say("SET a 1").starts_with("-READONLY"));
    redis.server.promote(SOON).await.unwrap();
    assert_eq!(redis.say("SET a 1"), "+OK");
    // Somebody has a primary write its settings down: as it is, it follows nobody.
    assert_eq!(redis.say("CONFIG REWRITE"), "+OK");
    redis.end(Signal::KILL);
    redis.launch();
    let facts = redis.until("to be up", |facts| !facts.loading).await;
    assert!(matches!(facts.role, Role::Replica(_)), "{facts:?}");
    assert!(redis.say("SET a 2").starts_with("-READONLY"));
}

#[tokio::test]
async fn a_start_that_would_not_be_that_of_a_replica_is_none() {
    let redis = Redis::new("");
    let config = redis.path("redis.conf");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "replicaof no one\n").unwrap();
    let error = redis.server.prepare_start(SOON).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        why.contains("no one") && why.contains("as its last line"),
        "{why}"
    );
    assert_eq!(redis.server.observe(SOON).await.unwrap(), Observed::Stopped);
}

#[tokio::test]
async fn what_it_has_and_how_far_that_goes_outlives_an_ordered_stop_and_not_a_kill() {
    let Some((one, mut two)) = crate::bed::pair().await else {
        return;
    };
    assert_eq!(one.say("SET a 1"), "+OK");
    let before = one.facts().await.data().unwrap();
    two.until("to have it", |facts| facts.data().as_ref() == Some(&before))
        .await;
    two.end(Signal::TERM);
    let facts = two.start().await;
    assert_eq!(facts.data(), Some(before.clone()));
    // Without save points it has nothing but what it had then.
    two.server.follow(&one.upstream(), SOON).await.unwrap();
    two.until_linked().await;
    assert_eq!(one.say("SET b 2"), "+OK");
    let later = one.facts().await.data().unwrap();
    two.until("to have it", |facts| facts.data().as_ref() == Some(&later))
        .await;
    two.end(Signal::KILL);
    let facts = two.start().await;
    assert_eq!(facts.data(), Some(before), "its disk is older");
}

#[tokio::test]
async fn one_that_is_watched_by_sentinel_or_keeps_an_append_only_file_is_not_for_a_lease() {
    if !installed() {
        return;
    }
    let mut redis = Redis::new("");
    redis.start().await;
    assert_eq!(redis.server.objection(SOON).await.unwrap(), None);
    assert_eq!(redis.say("CONFIG SET repl-backlog-ttl 60"), "+OK");
    let why = redis.server.objection(SOON).await.unwrap().unwrap();
    assert!(why.contains("repl-backlog-ttl"), "{why}");
    assert_eq!(redis.say("CONFIG SET repl-backlog-ttl 0"), "+OK");
    assert_eq!(redis.say("CONFIG SET appendonly yes"), "+OK");
    let why = redis.server.objection(SOON).await.unwrap().unwrap();
    assert!(why.contains("append-only"), "{why}");
    assert_eq!(redis.say("CONFIG SET appendonly no"), "+OK");
    let sentinel = redis.sentinel();
    let begun = std::time::Instant::now();
    while redis.server.objection(SOON).await.unwrap().is_none() {
        assert!(begun.elapsed() < SOON, "no Sentinel is seen");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let why = redis.server.objection(SOON).await.unwrap().unwrap();
    assert!(why.contains("1 Sentinel(s)"), "{why}");
    drop(sentinel);
}

#[tokio::test]
async fn a_password_is_a_secret_and_a_refused_login_does_not_tell_it() {
    if !installed() {
        return;
    }
    let mut redis = Redis::new("requirepass opensesame");
    redis.secret("password", "opensesame\n");
    redis.start().await;
    redis.secret("password", "hunter2\n");
    let error = redis.server.observe(SOON).await.unwrap_err();
    let said = format!("{error:?}");
    assert!(
        said.contains("WRONGPASS") && !said.contains("hunter2"),
        "{said}"
    );
}

#[tokio::test]
async fn another_server_at_its_port_is_not_taken_for_it() {
    if !installed() {
        return;
    }
    let mut redis = Redis::new("");
    redis.start().await;
    redis.end(Signal::KILL);
    let other = redis.path("other.conf");
    fs::copy(redis.path("redis.conf"), &other).unwrap();
    redis.launch_with("other.conf");
    let begun = std::time::Instant::now();
    loop {
        match redis.server.observe(SOON).await {
            Ok(Observed::Stopped) => {}
            Ok(Observed::Up(facts)) => panic!("{facts:?}"),
            Err(error) => {
                let said = format!("{error:?}");
                assert!(said.contains("other.conf"), "{said}");
                return;
            }
        }
        assert!(begun.elapsed() < SOON, "it does not come up");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
