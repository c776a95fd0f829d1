//! What is asked of a server that runs.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::process::Stdio;

use interlock_agent::postgres::{Followed, SlotName, Sync, Synchronous, Trouble};
use interlock_model::names::NodeName;

use crate::bed::{PATIENCE, SHORT, installed, pair, until};

fn one_of(nodes: &[&str]) -> Synchronous {
    Synchronous {
        needed: NonZeroU32::MIN,
        nodes: nodes.iter().map(|node| node.parse().unwrap()).collect(),
    }
}

#[tokio::test]
async fn a_running_standby_follows_another_one_at_once() {
    if !installed() {
        return;
    }
    let (primary, standby) = pair().await;
    let followed = standby.cluster.follow(None, PATIENCE).await.unwrap();
    assert_eq!(followed, Followed::InForce);
    until(async || standby.standby().await.source.is_none()).await;
    let upstream = primary.as_upstream_of("db-2");
    standby
        .cluster
        .follow(Some(&upstream), PATIENCE)
        .await
        .unwrap();
    standby.streams().await;
}

#[tokio::test]
async fn a_setting_that_the_command_line_overrides_is_not_in_force() {
    if !installed() {
        return;
    }
    let (primary, mut standby) = pair().await;
    standby.stop();
    standby
        .start_by_hand(&[
            "primary_conninfo=host=/nowhere",
            "synchronous_standby_names=x",
        ])
        .await;
    let upstream = primary.as_upstream_of("db-2");
    let error = standby
        .cluster
        .follow(Some(&upstream), SHORT)
        .await
        .unwrap_err();
    assert!(
        matches!(error.trouble, Trouble::NotInForce { .. }),
        "{error}"
    );
    let error = standby.cluster.synchronous(None, SHORT).await.unwrap_err();
    assert!(
        matches!(error.trouble, Trouble::NotInForce { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn commits_wait_for_the_standbys_that_are_named_and_for_nobody_after_that() {
    if !installed() {
        return;
    }
    let (primary, mut standby) = pair().await;
    primary
        .cluster
        .synchronous(Some(&one_of(&["db-2"])), PATIENCE)
        .await
        .unwrap();
    until(async || {
        let told = primary.primary().await;
        told.standbys
            .iter()
            .any(|standby| standby.sync == Sync::Sync)
    })
    .await;
    assert_eq!(primary.primary().await.synchronous, r#"ANY 1 ("db-2")"#);
    primary.sql("INSERT INTO t VALUES (1)");

    standby.stop();
    let error = primary.cluster.promote(SHORT).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::NoWrites(_)), "{error}");
    let mut waiting = primary
        .psql()
        .args(["-c", "INSERT INTO t VALUES (2)"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'INSERT%'";
    until(async || primary.sql(waits) == "1").await;
    primary.cluster.synchronous(None, PATIENCE).await.unwrap();
    assert!(waiting.wait().unwrap().success());
    primary.cluster.promote(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_is_set_on_a_stopped_standby_holds_from_its_promotion_on() {
    if !installed() {
        return;
    }
    let (mut primary, mut standby) = pair().await;
    standby.stop();
    standby
        .cluster
        .synchronous(Some(&one_of(&["db-1", "db-3"])), PATIENCE)
        .await
        .unwrap();
    standby.start().await;
    primary.crash();
    let error = standby.cluster.promote(SHORT).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::NoWrites(_)), "{error}");
    // It is one all the same, and would not be by the next start.
    standby.primary().await;
    assert!(standby.signal().exists());
}

#[tokio::test]
async fn a_primary_whose_transactions_are_read_only_is_not_promoted() {
    if !installed() {
        return;
    }
    let (_primary, standby) = pair().await;
    let mut standby = standby;
    standby.stop();
    standby
        .start_by_hand(&["default_transaction_read_only=on"])
        .await;
    let error = standby.cluster.promote(PATIENCE).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::NoWrites(_)), "{error}");
    assert!(standby.primary().await.read_only);
}

#[tokio::test]
async fn slots_are_kept_for_the_nodes_that_are_named_and_others_are_nobodys_business() {
    if !installed() {
        return;
    }
    let (primary, standby) = pair().await;
    primary.sql("SELECT pg_create_physical_replication_slot('backup_of_somebody')");
    let node = |name: &str| -> NodeName { name.parse().unwrap() };
    let both = BTreeSet::from([node("db-2"), node("db-3")]);
    let slots = primary.cluster.slots(&both, PATIENCE).await.unwrap();
    assert_eq!(slots.made, [SlotName::of(&node("db-3")).to_string()]);
    assert!(slots.removed.is_empty() && slots.in_use.is_empty());
    // Nobody wants the one that is in use.
    let none = BTreeSet::new();
    let slots = primary.cluster.slots(&none, PATIENCE).await.unwrap();
    assert_eq!(slots.removed, [SlotName::of(&node("db-3")).to_string()]);
    assert_eq!(slots.in_use, [SlotName::of(&node("db-2")).to_string()]);
    let left = "SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots";
    assert_eq!(primary.sql(left), "backup_of_somebody,interlock_db_2d2");
    // A standby has them as well, and loses them the same way.
    standby.cluster.slots(&both, PATIENCE).await.unwrap();
    standby.cluster.slots(&none, PATIENCE).await.unwrap();
    assert_eq!(
        standby.sql("SELECT count(*) FROM pg_replication_slots"),
        "0"
    );
}

#[tokio::test]
async fn a_start_that_is_to_recover_to_a_point_is_that_of_a_standby_all_the_same() {
    if !installed() {
        return;
    }
    let (primary, mut standby) = pair().await;
    standby.stop();
    // Of a time when the data were restored.
    let file = standby.data().join("postgresql.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    let target = "recovery_target = 'immediate'\nrecovery_target_action = 'promote'\n";
    std::fs::write(&file, text + target).unwrap();
    standby.start().await;
    primary.sql("INSERT INTO t VALUES (1)");
    standby.catches_up_with(&primary).await;
}

#[tokio::test]
async fn a_server_that_is_a_standby_itself_leads_nobody() {
    if !installed() {
        return;
    }
    let (primary, standby) = pair().await;
    let upstream = standby.as_upstream_of("db-1");
    let compared = primary
        .cluster
        .divergence(&upstream, PATIENCE)
        .await
        .unwrap();
    assert!(!compared.leads, "{compared:?}");
    let upstream = primary.as_upstream_of("db-2");
    let compared = standby
        .cluster
        .divergence(&upstream, PATIENCE)
        .await
        .unwrap();
    assert!(compared.leads, "{compared:?}");
}
