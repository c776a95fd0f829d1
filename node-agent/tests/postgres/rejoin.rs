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
    match old.cluster.divergence(&upstream, PATIENCE).await.unwrap() {
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
    let found = old.cluster.divergence(&upstream, PATIENCE).await.unwrap();
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
    let found = old.cluster.divergence(&upstream, PATIENCE).await.unwrap();
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
