//! An old primary with rows that its successor never got.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::Duration;

use interlock_agent::postgres::{Cluster, Divergence, Fork, Observed, Trouble};

use crate::bed::{PATIENCE, Server, done, installed, pair, until};

/// The primary has rows that the other one has not, and is down; the other one was promoted.
async fn diverged() -> (Server, Server) {
    let (mut old, mut new) = pair().await;
    old.sql("INSERT INTO t VALUES (1)");
    new.catches_up_with(&old).await;
    new.stop();
    old.sql("INSERT INTO t SELECT generate_series(1000, 1999)");
    old.crash();
    new.start().await;
    new.cluster.promote(PATIENCE).await.unwrap();
    new.sql("INSERT INTO t VALUES (2)");
    new.keep_slot_of("db-1").await;
    (old, new)
}

async fn fork(old: &Server, new: &Server) -> Fork {
    let upstream = new.as_upstream_of("db-1");
    match old.compared_with(&upstream).await {
        Divergence::Diverged(fork) => fork,
        other => panic!("{other:?}"),
    }
}

/// It streams, has the other one's rows, none of its own, and its own port.
async fn rejoined(old: &mut Server, new: &Server) {
    old.start().await;
    old.streams().await;
    old.catches_up_with(new).await;
    assert_eq!(
        old.sql("SELECT string_agg(x::text, ',' ORDER BY x) FROM t"),
        "1,2"
    );
}

/// As long as the work is done: whatever is in the place of the data is a standby.
async fn never_a_primary<T>(server: &Server, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        // The directory stays what it is when it is renamed meanwhile: then it is not in its place any more.
        if let Ok(dir) = fs::File::open(server.data()) {
            let place = format!("/proc/self/fd/{}", dir.as_raw_fd());
            let standby = fs::exists(format!("{place}/standby.signal")).unwrap();
            let moved = fs::read_link(&place).unwrap() != server.data();
            assert!(standby || moved);
        }
    }
}

#[tokio::test]
async fn what_a_crashed_primary_loses_is_measured_and_saved_before_it_is_rewound() {
    if !installed() {
        return;
    }
    let (mut old, new) = diverged().await;
    // The signal file is there: a rewind that left it there would fail.
    old.cluster.prepare_start(PATIENCE).await.unwrap();
    let fork = fork(&old, &new).await;
    // A thousand rows with their index.
    assert!(fork.bytes() > 50_000, "{fork:?}");
    let saved = old.cluster.save_aside(fork, PATIENCE).await.unwrap();
    assert_eq!(saved.lost, fork.bytes());
    assert!(saved.missing.is_empty(), "{saved:?}");
    // All in one statement.
    assert_eq!(saved.transactions, Some(1));
    let mut waldump = Command::new("/usr/lib/postgresql/15/bin/pg_waldump");
    let shown = waldump
        .arg("-p")
        .arg(&saved.dir)
        .args(["-t", "2", "-r", "Heap"]);
    let shown = shown.args(["-s", &fork.at.to_string(), "-e", &fork.end.to_string()]);
    assert!(done(shown).matches("INSERT").count() >= 1000);
    let again = old.cluster.save_aside(fork, PATIENCE).await.unwrap();
    assert_eq!(again, saved);

    let upstream = new.as_upstream_of("db-1");
    never_a_primary(&old, old.cluster.rewind(&upstream, PATIENCE))
        .await
        .unwrap();
    assert!(old.signal().exists());
    rejoined(&mut old, &new).await;
    let found = old.compared_with(&upstream).await;
    assert_eq!(found, Divergence::None);
}

#[tokio::test]
async fn an_old_primary_that_was_started_as_a_standby_has_diverged_and_never_streams() {
    if !installed() {
        return;
    }
    let (mut old, new) = diverged().await;
    let upstream = new.as_upstream_of("db-1");
    old.cluster.follow(Some(&upstream), PATIENCE).await.unwrap();
    old.start().await;
    // It has applied its own rows, and serves them.
    until(async || old.sql("SELECT count(*) FROM t") == "1001").await;
    assert!(fork(&old, &new).await.bytes() > 50_000);
    let source = old.standby().await.source;
    assert!(source.is_none_or(|source| !source.streaming));
    old.stop();
    assert!(fork(&old, &new).await.bytes() > 50_000);
    old.cluster.rewind(&upstream, PATIENCE).await.unwrap();
    rejoined(&mut old, &new).await;
}

#[tokio::test]
async fn a_server_that_cannot_be_rewound_stays_as_it_was_and_is_cloned() {
    if !installed() {
        return;
    }
    let (mut old, mut new) = diverged().await;
    let upstream = new.as_upstream_of("db-1");
    // Nobody answers there, and it has recovered by then.
    new.stop();
    let error = old.cluster.rewind(&upstream, PATIENCE).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::Connect(..)), "{error}");
    assert_eq!(
        old.cluster.observe(PATIENCE).await.unwrap(),
        Observed::Stopped
    );
    old.cluster.prepare_start(PATIENCE).await.unwrap();
    new.start().await;
    new.cluster.promote(PATIENCE).await.unwrap();

    // What it would need is in no server any more.
    for entry in fs::read_dir(old.data().join("pg_wal")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("00000001") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    never_a_primary(&old, old.cluster.clone_from(&upstream, PATIENCE))
        .await
        .unwrap();
    rejoined(&mut old, &new).await;
    assert!(
        old.dir
            .path()
            .join("main.interlock/old/PG_VERSION")
            .exists()
    );
}

#[tokio::test]
async fn a_rewind_that_is_given_up_at_any_moment_leaves_a_standby_or_a_directory_that_only_a_clone_replaces()
 {
    if !installed() {
        return;
    }
    let (mut old, new) = diverged().await;
    old.cluster.prepare_start(PATIENCE).await.unwrap();
    let upstream = new.as_upstream_of("db-1");
    let beside = old.dir.path().join("main.interlock");
    for phase in ["recovering", "rewinding"] {
        let reached = beside.join(phase);
        let seen = async {
            while !reached.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = seen => {}
            done = old.cluster.rewind(&upstream, PATIENCE) => panic!("{phase} was not seen: {done:?}"),
        }
        let prepared = old.cluster.prepare_start(PATIENCE).await;
        if phase == "recovering" {
            prepared.unwrap();
            assert!(old.signal().exists() && !reached.exists());
        } else {
            let error = prepared.unwrap_err();
            assert!(matches!(error.trouble, Trouble::HalfRewound(_)), "{error}");
            assert!(error.wants_clone() && !old.data().exists());
            let error = old.cluster.rewind(&upstream, PATIENCE).await.unwrap_err();
            assert!(error.wants_clone(), "{error}");
        }
    }
    old.cluster.clone_from(&upstream, PATIENCE).await.unwrap();
    rejoined(&mut old, &new).await;
}

#[tokio::test]
async fn a_copy_of_something_else_is_never_put_in_its_place() {
    if !installed() {
        return;
    }
    let (mut old, _standby) = pair().await;
    old.stop();
    let mut stranger = Server::new("db-3");
    stranger.initialise_anew();
    stranger.start().await;
    stranger.cluster.promote(PATIENCE).await.unwrap();
    let upstream = stranger.as_upstream_of("db-1");
    let found = old.compared_with(&upstream).await;
    assert!(
        matches!(found, Divergence::AnotherSystem { .. }),
        "{found:?}"
    );
    for trouble in [
        old.cluster
            .rewind(&upstream, PATIENCE)
            .await
            .unwrap_err()
            .trouble,
        old.cluster
            .clone_from(&upstream, PATIENCE)
            .await
            .unwrap_err()
            .trouble,
    ] {
        assert!(
            matches!(trouble, Trouble::AnotherSystem { .. }),
            "{trouble:?}"
        );
    }
    old.start().await;
}

#[tokio::test]
async fn a_server_whose_configuration_is_elsewhere_and_names_its_place_recovers_and_is_rewound() {
    if !installed() {
        return;
    }
    let (mut old, new) = diverged().await;
    // As Debian's packages have it.
    let elsewhere = old.dir.path().join("etc.conf");
    fs::rename(old.data().join("postgresql.conf"), &elsewhere).unwrap();
    let data = old.data();
    let text = fs::read_to_string(&elsewhere).unwrap();
    let place = format!(
        "data_directory = '{}'\nhba_file = '{0}/pg_hba.conf'\n",
        data.display()
    );
    fs::write(&elsewhere, text + &place).unwrap();
    let mut config = old.cluster.config().clone();
    config.config = Some(elsewhere.clone());
    old.cluster = Cluster::new("main".parse().unwrap(), config, old.node.clone());
    let upstream = new.as_upstream_of("db-1");
    old.cluster.rewind(&upstream, PATIENCE).await.unwrap();
    let configured = format!("config_file={}", elsewhere.display());
    old.start_by_hand(&[&configured]).await;
    old.streams().await;
    assert_eq!(old.sql("SELECT max(x) FROM t"), "2");
}

#[tokio::test]
async fn a_timeline_of_the_same_number_that_another_one_has_begun_at_the_same_position_is_another_one()
 {
    if !installed() {
        return;
    }
    let (mut old, new) = pair().await;
    old.sql("INSERT INTO t VALUES (1)");
    new.catches_up_with(&old).await;
    // It is killed, and started and promoted where it is. The standby does not hear of that, and takes over.
    old.kill_postmaster();
    new.cluster.follow(None, PATIENCE).await.unwrap();
    until(async || old.cluster.observe(PATIENCE).await.unwrap() == Observed::Stopped).await;
    old.start().await;
    let first = old.cluster.promote(PATIENCE).await.unwrap();
    old.sql("INSERT INTO t VALUES (100)");
    old.crash();
    let second = new.cluster.promote(PATIENCE).await.unwrap();
    assert_eq!(first.timeline, second.timeline);
    new.sql("INSERT INTO t SELECT generate_series(2, 500)");
    new.keep_slot_of("db-1").await;

    let upstream = new.as_upstream_of("db-1");
    let found = old.compared_with(&upstream).await;
    assert!(matches!(found, Divergence::Diverged(_)), "{found:?}");
    // Later timelines have it among what they come from.
    let fork = fork(&old, &new).await;
    assert!(fork.bytes() > 0, "{fork:?}");
    let error = old.cluster.rewind(&upstream, PATIENCE).await.unwrap_err();
    assert!(
        matches!(error.trouble, Trouble::NotRewindable(_)),
        "{error}"
    );
    assert!(error.wants_clone());
    old.cluster.clone_from(&upstream, PATIENCE).await.unwrap();
    old.start().await;
    old.streams().await;
    old.catches_up_with(&new).await;
    assert_eq!(old.sql("SELECT count(*), max(x) FROM t"), "500|500");
    assert_eq!(old.compared_with(&upstream).await, Divergence::None);
}

#[tokio::test]
async fn the_beginning_of_a_record_that_nobody_has_to_its_end_is_no_divergence() {
    if !installed() {
        return;
    }
    let (mut old, third) = pair().await;
    let mut new = Server::new("db-3");
    let nodes = ["db-2", "db-3"].map(|node| node.parse().unwrap());
    old.cluster.slots(&nodes.into(), PATIENCE).await.unwrap();
    let upstream = old.as_upstream_of("db-3");
    new.cluster.clone_from(&upstream, PATIENCE).await.unwrap();
    new.configure();
    new.start().await;
    old.sql("INSERT INTO t VALUES (1)");
    new.catches_up_with(&old).await;
    third.catches_up_with(&old).await;
    new.stop();
    // One record of 200 MB. What is full of the log is sent while it is written.
    let mut writing = old.psql();
    let sql = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 200000000))";
    let mut writing = writing.args(["-c", sql]).spawn().unwrap();
    until(async || {
        let standby = third.standby().await;
        standby.received.bytes_after(standby.replayed) > 2 << 20
    })
    .await;
    old.crash();
    let _ = writing.wait().unwrap();
    let standby = third.standby().await;
    assert!(standby.received > standby.replayed, "{standby:?}");

    new.start().await;
    new.cluster.promote(PATIENCE).await.unwrap();
    new.keep_slot_of("db-2").await;
    let upstream = new.as_upstream_of("db-2");
    assert_eq!(third.compared_with(&upstream).await, Divergence::None);
    third
        .cluster
        .follow(Some(&upstream), PATIENCE)
        .await
        .unwrap();
    // Where a file of its log was full just then it asks for the next one, and follows once that is written.
    let received = third.standby().await.received;
    if received.0.is_multiple_of(1 << 20) {
        while new.primary().await.flushed <= received {
            new.sql("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))");
        }
    }
    third.streams().await;
    new.sql("INSERT INTO t VALUES (2)");
    third.catches_up_with(&new).await;
    assert_eq!(third.sql("SELECT count(*) FROM t"), "2");
}

#[tokio::test]
async fn a_log_that_ends_with_its_file_has_its_end_there() {
    if !installed() {
        return;
    }
    let (primary, mut standby) = pair().await;
    primary.sql("INSERT INTO t VALUES (1)");
    primary.sql("SELECT pg_switch_wal()");
    standby.catches_up_with(&primary).await;
    let received = standby.standby().await.received;
    standby.stop();
    // One MiB a file, as these servers are made.
    assert_eq!(received.0 % (1 << 20), 0, "{received}");
    let end = standby.cluster.end_of_log(PATIENCE).await.unwrap();
    assert_eq!(end, received);
}

#[tokio::test]
async fn a_copy_waits_for_the_end_of_whoever_was_started_in_its_place_meanwhile() {
    if !installed() {
        return;
    }
    let (primary, mut standby) = pair().await;
    standby.stop();
    let upstream = primary.as_upstream_of("db-2");
    let copying = standby.dir.path().join("main.interlock/cloning");
    let cluster = standby.cluster.clone();
    let copied = tokio::spawn(async move { cluster.clone_from(&upstream, PATIENCE).await });
    until(async || copying.exists()).await;
    standby.start_by_hand(&[]).await;
    let error = copied.await.unwrap().unwrap_err();
    assert!(matches!(error.trouble, Trouble::Busy(_)), "{error}");
    let place = fs::read_link(format!("/proc/{}/cwd", standby.pid())).unwrap();
    assert_eq!(place, standby.data());
    standby.stop();
    standby.start().await;
    assert!(standby.dir.path().join("main.interlock/old").exists());
    standby.streams().await;
}
