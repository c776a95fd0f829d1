//! What can be seen of a server: running, stopped, frozen, killed with something left, or somebody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use interlock_agent::postgres::{Cluster, Observed, Sync, Timeline, Trouble};
use rustix::process::{Pid, Signal, kill_process};

use crate::bed::{PATIENCE, SHORT, Server, address, installed, pair, until};

#[tokio::test]
async fn a_pair_says_who_is_what_and_where_each_stands() {
    if !installed() {
        return;
    }
    let (primary, standby) = pair().await;
    primary.sql("INSERT INTO t VALUES (1)");
    standby.catches_up_with(&primary).await;
    let facts = primary.facts().await;
    assert_eq!(facts.timeline, Timeline(2));
    let told = primary.primary().await;
    assert!(!told.read_only && told.synchronous.is_empty());
    assert_eq!(told.standbys.len(), 1, "{told:?}");
    assert_eq!(told.standbys[0].name, "db-2");
    assert!(told.standbys[0].streaming && told.standbys[0].sync == Sync::Async);

    let other = standby.facts().await;
    assert_eq!(
        (other.system, other.timeline),
        (facts.system, facts.timeline)
    );
    let told = standby.standby().await;
    assert!(told.received >= told.replayed && !told.paused);
    let source = told.source.unwrap();
    assert_eq!(
        (source.host, source.port),
        (Some(address().to_string()), Some(primary.port))
    );

    standby.sql("SELECT pg_wal_replay_pause()");
    until(async || standby.standby().await.paused).await;
}

#[tokio::test]
async fn a_frozen_server_is_unknown_and_one_that_ended_is_stopped() {
    if !installed() {
        return;
    }
    let (mut primary, _standby) = pair().await;
    primary.tell(Signal::STOP);
    let error = primary.cluster.observe(SHORT).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::Limit(_)), "{error}");
    primary.tell(Signal::CONT);
    primary.stop();
    assert_eq!(
        primary.cluster.observe(PATIENCE).await.unwrap(),
        Observed::Stopped
    );
}

#[tokio::test]
async fn what_a_killed_server_has_left_keeps_its_directory_busy_until_it_is_gone() {
    if !installed() {
        return;
    }
    let (mut primary, _standby) = pair().await;
    // It never waits for anything, so it does not notice.
    let mut client = primary
        .psql()
        .args(["-c", "DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sql = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'";
    until(async || !primary.sql(sql).is_empty()).await;
    let orphan: i32 = primary.sql(sql).parse().unwrap();
    primary.kill_postmaster();
    until(async || {
        let observed = primary.cluster.observe(PATIENCE).await.unwrap();
        let Observed::Busy { processes, .. } = observed else {
            panic!("{observed:?}")
        };
        processes == [orphan.cast_unsigned()]
    })
    .await;
    let upstream = primary.as_upstream_of("db-1");
    for trouble in [
        primary
            .cluster
            .prepare_start(PATIENCE)
            .await
            .unwrap_err()
            .trouble,
        primary
            .cluster
            .rewind(&upstream, PATIENCE)
            .await
            .unwrap_err()
            .trouble,
        primary
            .cluster
            .clone_from(&upstream, PATIENCE)
            .await
            .unwrap_err()
            .trouble,
    ] {
        assert!(matches!(trouble, Trouble::Busy(_)), "{trouble:?}");
    }
    kill_process(Pid::from_raw(orphan).unwrap(), Signal::KILL).unwrap();
    until(async || primary.cluster.observe(PATIENCE).await.unwrap() == Observed::Stopped).await;
    client.wait().unwrap();
    primary.cluster.prepare_start(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn another_server_at_its_port_is_not_taken_for_it() {
    if !installed() {
        return;
    }
    let (primary, standby) = pair().await;
    let mut config = primary.cluster.config().clone();
    config.data = standby.data();
    let mistaken = Cluster::new("main".parse().unwrap(), config, primary.node.clone());
    let error = mistaken.observe(PATIENCE).await.unwrap_err();
    assert!(
        matches!(error.trouble, Trouble::AnotherServer { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_password_file_that_others_may_read_is_refused_before_it_is_used() {
    if !installed() {
        return;
    }
    let (primary, standby) = pair().await;
    let passfile = standby.cluster.config().passfile.clone().unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o640)).unwrap();
    let upstream = primary.as_upstream_of("db-2");
    let error = standby
        .cluster
        .divergence(&upstream, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error.trouble, Trouble::Passfile { .. }), "{error}");
}

#[tokio::test]
async fn an_upstream_that_hangs_is_given_up_at_the_limit() {
    if !installed() {
        return;
    }
    let (primary, standby) = pair().await;
    primary.tell(Signal::STOP);
    let upstream = primary.as_upstream_of("db-2");
    let error = standby.cluster.divergence(&upstream, SHORT).await;
    let error = error.unwrap_err();
    assert!(matches!(error.trouble, Trouble::Limit(_)), "{error}");
}

#[tokio::test]
async fn what_an_operation_of_a_killed_agent_has_left_is_ended_before_the_next_one_begins() {
    let server = Server::new("db-1");
    // As a pg_rewind would go on that has lost its agent.
    let mut left = Command::new("sleep")
        .arg("100000")
        .env("INTERLOCK_POSTGRES", server.data())
        .spawn()
        .unwrap();
    let error = server.cluster.prepare_start(PATIENCE).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::NoData(_)), "{error}");
    assert!(error.wants_clone());
    let status = left.try_wait().unwrap().expect("it goes on");
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
}
