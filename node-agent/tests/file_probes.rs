//! File probes with the real helper: the agent's own program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use interlock_agent::probe::{CommandRunner, FileProbes, Running, Tools};
use interlock_agent::systemd::{Options, Systemd};
use interlock_model::check::{CheckKind, ProbeResult, Verdict};
use interlock_model::names::LocalName;

const LIMIT: Duration = Duration::from_secs(30);

struct NoCommands;

impl CommandRunner for NoCommands {
    fn run<'r>(&'r self, _: &'r LocalName, _: Duration) -> Running<'r> {
        Box::pin(async { Err("there are no commands".to_owned()) })
    }
}

fn tools(helper: &str) -> Tools {
    Tools {
        runner: Arc::new(NoCommands),
        systemd: Systemd::new(Options::default()),
        files: Arc::new(FileProbes::new(PathBuf::from(helper))),
    }
}

async fn marker(path: &Path, content: Option<&str>) -> ProbeResult {
    let kind = CheckKind::Marker {
        path: path.display().to_string(),
        content: content.map(str::to_owned),
    };
    tools(env!("CARGO_BIN_EXE_interlock-agent"))
        .run(&kind, LIMIT)
        .await
}

async fn same(path: &Path) -> ProbeResult {
    let kind = CheckKind::Same {
        path: path.display().to_string(),
    };
    tools(env!("CARGO_BIN_EXE_interlock-agent"))
        .run(&kind, LIMIT)
        .await
}

#[tokio::test]
async fn a_marker_is_good_if_it_can_be_read_and_holds_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".alive");
    std::fs::write(&path, "jtelshared\n").unwrap();
    assert_eq!(marker(&path, None).await.verdict, Verdict::Ok);
    assert_eq!(marker(&path, Some("jtelshared")).await.verdict, Verdict::Ok);
    let other = marker(&path, Some("jtel")).await;
    assert_eq!(other.verdict, Verdict::Bad);
    assert!(
        other
            .evidence
            .contains("holds 'jtelshared', expected 'jtel'"),
        "{other:?}"
    );
}

#[tokio::test]
async fn a_marker_that_is_not_there_is_bad_as_under_a_mount_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let missing = marker(&dir.path().join(".alive"), None).await;
    assert_eq!(missing.verdict, Verdict::Bad, "{missing:?}");
    assert!(missing.evidence.contains("No such file"), "{missing:?}");
    assert_eq!(
        marker(dir.path(), None).await.verdict,
        Verdict::Bad,
        "a directory is no marker"
    );
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(marker(&path, None).await.verdict, Verdict::Bad);
}

#[tokio::test]
async fn a_marker_that_is_too_long_is_not_judged_by_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    std::fs::write(&path, vec![b'x'; 100 << 10]).unwrap();
    assert_eq!(marker(&path, None).await.verdict, Verdict::Unknown);
    assert_eq!(same(&path).await.verdict, Verdict::Ok);
}

#[tokio::test]
async fn the_value_of_same_is_the_digest_of_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::write(&first, "abc").unwrap();
    std::fs::write(&second, "abc").unwrap();
    let result = same(&first).await;
    // FIPS 180-2, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        (result.verdict, result.value.as_deref()),
        (Verdict::Ok, Some(expected))
    );
    assert_eq!(same(&second).await.value, result.value);
    std::fs::write(&second, "abd").unwrap();
    assert_ne!(same(&second).await.value, result.value);
    assert_eq!(same(&dir.path().join("c")).await.value, None);
}

/// A helper that is this script.
fn script(dir: &Path, text: &str) -> Tools {
    let path = dir.join("helper");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    tools(&path.display().to_string())
}

fn share() -> CheckKind {
    CheckKind::Marker {
        path: "/srv/share/.alive".to_owned(),
        content: None,
    }
}

#[tokio::test]
async fn a_helper_that_does_not_answer_is_killed_and_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let tools = script(dir.path(), "sleep 1000");
    let result = tools.run(&share(), Duration::from_millis(200)).await;
    assert_eq!(result.verdict, Verdict::Unknown);
    assert!(result.evidence.contains("/srv/share/.alive"), "{result:?}");
    assert_eq!(tools.files.hung(), 0);
}

/// A frozen control group (cgroup v1): like a process in state D, one in it does not die of SIGKILL. Thawed and removed at
/// the end.
struct Freezer(PathBuf);

impl Freezer {
    fn new() -> Option<Self> {
        let path = PathBuf::from(format!(
            "/sys/fs/cgroup/freezer/interlock-test-{}",
            std::process::id()
        ));
        if std::fs::create_dir(&path)
            .and_then(|()| std::fs::write(path.join("freezer.state"), "FROZEN"))
            .is_err()
        {
            eprintln!("SKIPPED: no writable freezer (needs root and cgroup v1)");
            return None;
        }
        Some(Self(path))
    }

    fn thaw(&self) {
        std::fs::write(self.0.join("freezer.state"), "THAWED").unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
        // Gone as soon as the last task in it is.
        while std::fs::remove_dir(&self.0)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy)
        {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_helper_that_does_not_even_die_is_left_behind_and_its_path_left_alone_until_it_does() {
    let Some(freezer) = Freezer::new() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let tasks = freezer.0.join("tasks").display().to_string();
    let tools = script(
        dir.path(),
        &format!(
            "echo x >> {}/started; echo $$ > {tasks}",
            dir.path().display()
        ),
    );
    let limit = Duration::from_millis(500);
    let hangs = tools.run(&share(), limit).await;
    assert_eq!(hangs.verdict, Verdict::Unknown);
    assert!(hangs.evidence.contains("does not even die"), "{hangs:?}");
    assert_eq!(tools.files.hung(), 1);
    let again = tools.run(&share(), limit).await;
    assert!(again.evidence.contains("still hangs"), "{again:?}");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("started")).unwrap(),
        "x\n"
    );
    freezer.thaw();
    while tools.files.hung() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tools.run(&share(), LIMIT).await.verdict, Verdict::Ok);
}
