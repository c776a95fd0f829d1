//! A full disk: commits fail honestly, reads go on, writing resumes by itself.

use std::fs;
use std::path::Path;
use std::process::Output;

use interlock_coordinator::store::{
    Class, CommitError, Error, Key, Prefix, Revision, Store, Transaction, WatchEvent,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::{child, child_path, create, open};
use crate::conformance::{key, prefix, put};
use crate::skip::skip;

/// What needs a small file system.
const FULL: &str = "a store on a full file system";

/// Sent to a process that writes beyond its file size limit; deadly unless handled (signal(7)).
const SIGXFSZ: i32 = 25;

/// Bytes to fill the disk with, at a time.
const PIECE: usize = 64 * 1024;

/// Fills the disk through the store until it refuses, checks what works then, makes room, and
/// checks that everything works again.
async fn fill_refuse_recover(path: &Path, make_room: impl FnOnce()) {
    use futures_util::StreamExt;
    let store = create(path).await.unwrap();
    put(&store, "/before", "kept").await;
    let mut watch = store.watch(&prefix("/fill"), Revision(1)).await.unwrap();
    let piece = |number: u64| key("/fill").indexed(number).unwrap();

    let mut committed = 0;
    let refused = loop {
        let transaction = Transaction::new().put(&piece(committed), vec![1; PIECE]);
        match store.commit(transaction).await {
            Ok(outcome) => {
                outcome.committed().unwrap();
                committed += 1;
            }
            Err(error) => break error,
        }
        assert!(committed < 10_000, "the disk does not get full");
    };
    assert!(committed > 0);
    assert!(
        matches!(refused.reason(), Error::NoSpace { .. }),
        "{refused:?}"
    );
    assert_eq!(refused.class(), Class::Retryable);
    // Again, and many at once.
    let again = |number| store.commit(Transaction::new().put(&piece(number), vec![2; PIECE]));
    for result in futures_util::future::join_all((0..8).map(|n| again(20_000 + n))).await {
        let error = result.unwrap_err();
        assert!(matches!(error.reason(), Error::NoSpace { .. }), "{error:?}");
    }

    // Reads, pages and watches know nothing of it.
    let before = store.get(&key("/before")).await.unwrap().unwrap();
    assert_eq!(&*before.value, b"kept");
    let fill = store.snapshot(&prefix("/fill")).await.unwrap();
    assert_eq!(fill.entries.len() as u64, committed);
    for _ in 0..committed {
        let event = watch.next().await.unwrap();
        assert!(matches!(event, WatchEvent::Changed { .. }), "{event:?}");
    }
    eprintln!("refused after {committed} pieces: {refused:?}");

    make_room();
    let after = put(&store, "/after", "space").await;
    let entries = store.snapshot(&Prefix::root()).await.unwrap();
    assert_eq!(entries.revision, after);
    store.close().await;

    // The file agrees with what was answered.
    let store = open(path).await.unwrap();
    assert_eq!(store.snapshot(&Prefix::root()).await.unwrap(), entries);
    let kept = |key: &Key| entries.entries.iter().any(|entry| entry.key == *key);
    assert!((0..committed).all(|number| kept(&piece(number))));
    if let CommitError::NotCommitted(_) = refused {
        assert!(!kept(&piece(committed)), "a commit that was not committed");
    }
    store.close().await;
}

fn assert_success(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(
        out.contains("1 passed"),
        "the child ran nothing: {out}\n{err}"
    );
    // How it was refused, for whoever wonders what a full disk looks like.
    eprint!("{err}");
}

#[test]
fn a_store_at_its_file_size_limit_refuses_commits_and_recovers() {
    let directory = TempDir::new().unwrap();
    let test = "embedded::space::child_with_a_file_size_limit";
    let path = directory.path().join("store");
    assert_success(&child(test, &path).output().unwrap());
}

#[tokio::test]
#[ignore = "a part of a_store_at_its_file_size_limit_refuses_commits_and_recovers"]
async fn child_with_a_file_size_limit() {
    let Some(path) = child_path() else { return };
    // A handler, so that the write fails instead of killing the process.
    let _handled = signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let unlimited = getrlimit(Resource::Fsize);
    let limited = Rlimit {
        current: Some(3 * 1024 * 1024),
        ..unlimited
    };
    setrlimit(Resource::Fsize, limited).unwrap();
    fill_refuse_recover(&path, || setrlimit(Resource::Fsize, unlimited).unwrap()).await;
}

#[test]
fn a_store_on_a_full_file_system_refuses_commits_and_recovers() {
    if !rustix::process::geteuid().is_root() {
        return skip(FULL, "needs root for a small tmpfs");
    }
    let directory = TempDir::new().unwrap();
    let test = "embedded::space::child_on_a_small_file_system";
    let mounted = child(test, &directory.path().join("store"));
    // A mount namespace of its own: the mount ends with the child, however that ends.
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" || exit 99; shift; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--mount", "--", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(mounted.get_program())
        .args(mounted.get_args());
    for (name, value) in mounted.get_envs() {
        command.env(name, value.unwrap());
    }
    match command.output() {
        Ok(output) if output.status.code() == Some(99) || !ran(&output) => {
            skip(FULL, "a small tmpfs cannot be mounted");
        }
        Ok(output) => assert_success(&output),
        Err(error) => skip(FULL, &format!("cannot run unshare: {error}")),
    }
}

/// Whether the test harness came to run at all.
fn ran(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("running 1 test")
}

#[tokio::test]
#[ignore = "a part of a_store_on_a_full_file_system_refuses_commits_and_recovers"]
async fn child_on_a_small_file_system() {
    let Some(path) = child_path() else { return };
    let ballast = path.with_file_name("ballast");
    fs::write(&ballast, vec![0; 2 * 1024 * 1024]).unwrap();
    fill_refuse_recover(&path, || fs::remove_file(&ballast).unwrap()).await;
}
