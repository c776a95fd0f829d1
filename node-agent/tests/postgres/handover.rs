//! A planned change of sides.

use interlock_agent::postgres::{
    ControlState, Divergence, Followed, Observed, Role, Timeline, Trouble,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::bed::{PASSWORD, PATIENCE, installed, pair, until};

#[tokio::test]
async fn after_a_clean_stop_the_standby_has_everything_and_the_old_primary_follows_it() {
    if !installed() {
        return;
    }
    let (mut old, new) = pair().await;
    old.sql("INSERT INTO t SELECT generate_series(1, 500)");
    let refused = old.cluster.follow(None, PATIENCE).await.unwrap_err();
    assert!(matches!(refused.trouble, Trouble::IsPrimary), "{refused}");
    old.stop();
    let control = old.cluster.control(PATIENCE).await.unwrap();
    let ended = control.ended_at().expect("it was shut down");
    // Beyond it, never at it.
    until(async || new.standby().await.replayed > ended).await;

    let promoted = new.cluster.promote(PATIENCE).await.unwrap();
    assert_eq!(promoted.timeline, Timeline(3));
    assert_eq!(new.sql("SELECT count(*) FROM t"), "500");
    // Once more is the same, with another write.
    let again = new.cluster.promote(PATIENCE).await.unwrap();
    assert_eq!(again.timeline, promoted.timeline);
    assert!(again.wrote_at > promoted.wrote_at);

    new.keep_slot_of("db-1").await;
    let upstream = new.as_upstream_of("db-1");
    let found = old.compared_with(&upstream).await;
    assert_eq!(found, Divergence::None);
    let followed = old.cluster.follow(Some(&upstream), PATIENCE).await.unwrap();
    assert_eq!(followed, Followed::AtNextStart);
    let settings = std::fs::read_to_string(old.data().join("postgresql.auto.conf")).unwrap();
    assert!(
        settings.contains("passfile=") && !settings.contains(PASSWORD),
        "{settings}"
    );
    old.start().await;
    old.streams().await;
    new.sql("INSERT INTO t VALUES (501)");
    old.catches_up_with(&new).await;
    assert_eq!(old.sql("SELECT count(*) FROM t"), "501");
    let found = old.compared_with(&upstream).await;
    assert_eq!(found, Divergence::None);
}

#[tokio::test]
async fn a_standby_that_was_shut_down_has_no_position_to_hand_over() {
    if !installed() {
        return;
    }
    let (_primary, mut standby) = pair().await;
    standby.stop();
    let control = standby.cluster.control(PATIENCE).await.unwrap();
    assert_eq!(control.state, ControlState::ShutDownInRecovery);
    assert_eq!(control.ended_at(), None);
}

#[tokio::test]
async fn a_primary_that_crashed_is_a_standby_for_whoever_starts_it() {
    if !installed() {
        return;
    }
    let (mut primary, _standby) = pair().await;
    assert!(primary.signal().exists());
    primary.crash();
    // Without asking the agent, as a unit at boot or a person would.
    primary.start_by_hand(&[]).await;
    let facts = primary.facts().await;
    assert!(matches!(facts.role, Role::Standby(_)), "{facts:?}");
}

#[tokio::test]
async fn a_primary_that_starts_over_by_itself_is_a_standby_and_can_be_promoted_again() {
    if !installed() {
        return;
    }
    let (primary, _standby) = pair().await;
    primary.sql("INSERT INTO t VALUES (1)");
    // One of its processes dies: it ends all of them and recovers.
    let checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let checkpointer = primary.sql(checkpointer).parse().unwrap();
    kill_process(Pid::from_raw(checkpointer).unwrap(), Signal::KILL).unwrap();
    until(async || {
        let observed = primary.cluster.observe(PATIENCE).await;
        matches!(observed, Ok(Observed::Up(facts)) if matches!(facts.role, Role::Standby(_)))
    })
    .await;
    let promoted = primary.cluster.promote(PATIENCE).await.unwrap();
    assert_eq!(promoted.timeline, Timeline(3));
    assert_eq!(primary.sql("SELECT count(*) FROM t"), "1");
}
