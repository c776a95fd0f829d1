//! File probes with the real helper: the agent's own program.

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

#[tokio::test]
async fn a_helper_that_does_not_answer_is_killed_and_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let helper = dir.path().join("hangs");
    std::fs::write(&helper, "#!/bin/sh\nsleep 1000\n").unwrap();
    let mut permissions = std::fs::metadata(&helper).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&helper, permissions).unwrap();
    let tools = tools(&helper.display().to_string());
    let kind = CheckKind::Marker {
        path: "/srv/share/.alive".to_owned(),
        content: None,
    };
    let result = tools.run(&kind, Duration::from_millis(200)).await;
    assert_eq!(result.verdict, Verdict::Unknown);
    assert!(result.evidence.contains("/srv/share/.alive"), "{result:?}");
    assert_eq!(tools.files.hung(), 0);
}
