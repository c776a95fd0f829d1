//! The file: private, locked, recognised, never replaced.

use std::error::Error as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use futures_util::StreamExt;
use interlock_coordinator::store::embedded::OpenError;
use interlock_coordinator::store::{
    Class, CommitError, Error, Prefix, Revision, Store, Transaction, WatchEvent,
};
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::{child, child_path, create, open};
use crate::conformance::{commit, key, put};

#[tokio::test]
async fn a_store_is_what_it_was_after_it_is_closed_and_opened() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let store = create(&path).await.unwrap();
    put(&store, "/a", "1").await;
    put(&store, "/b", "2").await;
    put(&store, "/a", "3").await;
    commit(&store, Transaction::new().delete(&key("/b"))).await;
    let before = store.snapshot(&Prefix::root()).await.unwrap();
    let incarnation = store.incarnation();
    store.close().await;

    let store = open(&path).await.unwrap();
    assert_eq!(store.snapshot(&Prefix::root()).await.unwrap(), before);
    assert_eq!(store.incarnation(), incarnation);
    assert_eq!(put(&store, "/c", "4").await, Revision(5));

    // What a watch could have told was forgotten with the process, and it says so.
    let mut watch = store.watch(&Prefix::root(), Revision(3)).await.unwrap();
    let oldest = Revision(5);
    assert_eq!(watch.next().await, Some(WatchEvent::Compacted { oldest }));
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn two_new_stores_have_different_incarnations() {
    let directory = TempDir::new().unwrap();
    let one = create(&directory.path().join("one")).await.unwrap();
    let two = create(&directory.path().join("two")).await.unwrap();
    assert_ne!(one.incarnation(), two.incarnation());
}

#[tokio::test]
async fn a_closed_store_says_so_and_ends_its_watches() {
    let directory = TempDir::new().unwrap();
    let store = create(&directory.path().join("store")).await.unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(
        store.get(&key("/a")).await,
        Err(Error::Closed { .. })
    ));
    let late = store
        .commit(Transaction::new().put(&key("/a"), *b"1"))
        .await;
    assert!(matches!(
        late,
        Err(CommitError::NotCommitted(Error::Closed { .. }))
    ));
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_commit_whose_caller_went_away_happens_all_the_same() {
    let directory = TempDir::new().unwrap();
    let store = create(&directory.path().join("store")).await.unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    let mut abandoned = store.commit(Transaction::new().put(&key("/a"), *b"1"));
    // One poll hands it to the store.
    let _ = futures_util::poll!(&mut abandoned);
    drop(abandoned);
    assert!(matches!(
        watch.next().await,
        Some(WatchEvent::Changed { .. })
    ));
}

#[tokio::test]
async fn the_file_is_readable_by_its_owner_only() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    create(&path).await.unwrap().close().await;
    assert_eq!(mode(&path), 0o600);
    // A restored file may have come with other permissions.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    open(&path).await.unwrap().close().await;
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn a_missing_store_is_made_only_when_that_is_wanted() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(!path.exists());
    let error = create(&directory.path().join("no/store"))
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_crash_left_of_making_a_store_is_made_anew() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let draft = directory.path().join("store.new");
    fs::write(&draft, "half of a store").unwrap();
    let store = create(&path).await.unwrap();
    put(&store, "/a", "1").await;
    assert!(!draft.exists());
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_the_store() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let store = create(&path).await.unwrap();
    let error = open(&path).await.unwrap_err();
    let own = std::process::id();
    assert!(
        error
            .to_string()
            .contains(&format!("this process (pid {own})")),
        "{error}"
    );
    store.close().await;

    let test = "embedded::files::child_that_holds_the_store_until_it_is_killed";
    let mut other = child(test, &path).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(
        lines
            .map_while(Result::ok)
            .any(|line| line.ends_with("holding"))
    );
    let error = open(&path).await.unwrap_err();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Retryable);
    assert!(
        error.to_string().contains(&format!("(pid {})", other.id())),
        "{error}"
    );
    // Its lock died with it.
    open(&path).await.unwrap();
}

#[tokio::test]
#[ignore = "a part of a_second_opener_is_told_who_has_the_store"]
async fn child_that_holds_the_store_until_it_is_killed() {
    let Some(path) = child_path() else { return };
    let _store = open(&path).await.unwrap();
    println!("holding");
    std::future::pending::<()>().await;
}

/// A store with enough in it to have pages of every kind, closed; and its bytes.
async fn filled(path: &Path) -> Vec<u8> {
    let store = create(path).await.unwrap();
    for number in 0..200 {
        let key = key("/n").indexed(number).unwrap();
        commit(&store, Transaction::new().put(&key, vec![1; 2000])).await;
    }
    store.close().await;
    fs::read(path).unwrap()
}

/// Opens what must be refused, and sees that it was left as it was.
async fn refused(path: &Path) -> OpenError {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::read(path).unwrap();
    let error = match create(path).await {
        Err(error) => error,
        Ok(store) => panic!("opened as {store:?}"),
    };
    assert_eq!(error.class(), Class::Terminal, "{error}");
    assert!(
        fs::read(path).unwrap() == before,
        "the file was changed: {error}"
    );
    error
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    for garbage in [&b"cluster: acd-prod\n"[..], &[0; 4096], &[0xa5; 100_000]] {
        fs::write(&path, garbage).unwrap();
        let error = refused(&path).await;
        assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
    }
    fs::write(&path, "").unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_cut_short_anywhere_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let whole = filled(&path).await;
    for length in [
        1,
        8,
        9,
        100,
        319,
        320,
        4095,
        4096,
        10_000,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = match create(&path).await {
            Err(error) => error,
            Ok(store) => panic!("cut to {length} bytes and opened as {store:?}"),
        };
        let expected = matches!(
            error,
            OpenError::Damaged { .. } | OpenError::NotAStore { .. }
        );
        assert!(expected, "cut to {length} bytes: {error:?}");
        assert!(error.to_string().contains("store"));
    }
}

#[tokio::test]
async fn altered_bytes_are_refused_or_harmless_and_never_a_panic() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let whole = filled(&path).await;
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut altered = whole.clone();
        for byte in altered.iter_mut().skip(at).take(64) {
            *byte ^= 0x5a;
        }
        fs::write(&path, &altered).unwrap();
        match create(&path).await {
            // Free space, or one of two copies.
            Ok(store) => {
                let all = store.snapshot(&Prefix::root()).await.unwrap();
                assert!(all.entries.iter().all(|e| *e.value == [1; 2000]));
                store.close().await;
            }
            Err(error) => {
                assert_eq!(error.class(), Class::Terminal, "at {at}: {error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 5, "only {refused} alterations were noticed");
}

#[tokio::test]
async fn a_later_format_and_a_foreign_database_are_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    filled(&path).await;
    let meta: TableDefinition<'_, &str, u128> = TableDefinition::new("meta");
    let set = |database: &Database| {
        let write = database.begin_write().unwrap();
        write.open_table(meta).unwrap().insert("format", 2).unwrap();
        write.commit().unwrap();
    };
    set(&Database::open(&path).unwrap());
    let error = open(&path).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );

    let foreign = directory.path().join("foreign");
    let database = Database::create(&foreign).unwrap();
    let other: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let write = database.begin_write().unwrap();
    write
        .open_table(other)
        .unwrap()
        .insert("format", 1)
        .unwrap();
    write.commit().unwrap();
    drop(database);
    let error = open(&foreign).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_a_file_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let error = create(directory.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(error.source().is_some());
    let mode = || fs::metadata("/dev/null").unwrap().mode();
    let before = mode();
    let error = create(Path::new("/dev/null")).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
    assert_eq!(mode(), before);
}

#[tokio::test]
async fn a_user_without_the_right_is_told_what_to_change() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    create(&path).await.unwrap().close().await;
    let test = "embedded::files::child_without_the_right_to_the_store";
    let mut other = child(test, &path);
    if rustix::process::geteuid().is_root() {
        // "nobody", for whom the directory is closed.
        other.uid(65534).gid(65534);
    } else {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    match other.output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => crate::skip::skip(
            "a store of another user",
            &format!("who cannot run this test's binary: {error}"),
        ),
    }
}

#[tokio::test]
#[ignore = "a part of a_user_without_the_right_is_told_what_to_change"]
async fn child_without_the_right_to_the_store() {
    let Some(path) = child_path() else { return };
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Denied { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Terminal);
    assert!(error.to_string().contains("must own the file"), "{error}");
}

#[tokio::test]
async fn the_file_follows_the_live_data_and_shrinks_when_opened() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let size = || fs::metadata(&path).unwrap().len();
    let store = create(&path).await.unwrap();
    let fill = async |count: u64| {
        for number in 0..count {
            let key = key("/n").indexed(number).unwrap();
            commit(&store, Transaction::new().put(&key, vec![1; 200_000])).await;
        }
    };
    fill(100).await;
    let full = size();
    // Writing the same keys again and again does not make it grow without bound.
    for _ in 0..3 {
        fill(100).await;
    }
    assert!(size() <= 2 * full, "{} after {full}", size());
    // All but the last go: what they took is free, in the middle of the file or at its end.
    for number in 0..99 {
        let key = key("/n").indexed(number).unwrap();
        commit(&store, Transaction::new().delete(&key)).await;
    }
    store.close().await;
    let store = open(&path).await.unwrap();
    assert_eq!(
        store.snapshot(&Prefix::root()).await.unwrap().entries.len(),
        1
    );
    store.close().await;
    assert!(size() < full / 8, "{} of {full}", size());
}
