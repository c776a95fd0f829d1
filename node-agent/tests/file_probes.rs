//! File probes with the real helper: the agent's own program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/skip.rs"]
mod skip;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use interlock_agent::config::Secrets;
use interlock_agent::probe::{
    CommandRunner, FileProbes, Names, NobodyPutOut, Passwords, Running, Tools, Trust,
};
use interlock_agent::systemd::{Options, Systemd};
use interlock_model::check::{CheckKind, Compared, ProbeResult, Verdict};
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
        files: Arc::new(FileProbes::new(
            PathBuf::from(helper),
            "n1".parse().unwrap(),
        )),
        names: Names::default(),
        passwords: Passwords::new(Secrets {
            dir: "/nonexistent".into(),
        }),
        trust: Trust::default(),
        put_out: Arc::new(NobodyPutOut),
    }
}

async fn marker(path: &Path, content: Option<&str>) -> ProbeResult {
    let kind = CheckKind::Marker {
        path: path.display().to_string(),
        content: content.map(str::to_owned),
        write: false,
    };
    tools(env!("CARGO_BIN_EXE_interlock-agent"))
        .run(&kind, LIMIT)
        .await
}

async fn same(path: &Path) -> ProbeResult {
    let kind = CheckKind::Same {
        what: Compared::Path(path.display().to_string()),
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

/// A marker on whose file system a file must be writable, too.
fn written(path: &Path) -> CheckKind {
    CheckKind::Marker {
        path: path.display().to_string(),
        content: None,
        write: true,
    }
}

#[tokio::test]
async fn a_share_that_takes_no_file_is_bad_although_its_marker_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".alive");
    std::fs::write(&path, "jtelshared\n").unwrap();
    let tools = tools(env!("CARGO_BIN_EXE_interlock-agent"));
    let first = tools.run(&written(&path), LIMIT).await;
    assert_eq!(first.verdict, Verdict::Ok, "{first:?}");
    assert!(first.evidence.contains("can be written"), "{first:?}");
    let own = dir.path().join(".alive.n1");
    let once = std::fs::read_to_string(&own).unwrap();
    tools.run(&written(&path), LIMIT).await;
    assert_ne!(std::fs::read_to_string(&own).unwrap(), once, "written anew");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "jtelshared\n");

    // What lies in its place is no file of its own: as on a share where somebody laid a link to something else.
    let precious = dir.path().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    std::fs::remove_file(&own).unwrap();
    std::os::unix::fs::symlink(&precious, &own).unwrap();
    let refused = tools.run(&written(&path), LIMIT).await;
    assert_eq!(refused.verdict, Verdict::Bad, "{refused:?}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
}

/// A small file system, mounted in a directory. Unmounted at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(dir.path())
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            skip::skip(
                "probes of a full file system",
                "cannot mount a tmpfs (needs root)",
            );
            return None;
        }
        Some(Self(dir))
    }

    fn remount(&self, option: &str) {
        let status = std::process::Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(self.0.path())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
        // Also shows that an idle helper keeps no file system busy.
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test]
async fn a_full_and_a_read_only_file_system_are_bad_only_for_a_check_that_writes() {
    let Some(small) = Small::mount() else {
        return;
    };
    let path = small.0.path().join(".alive");
    std::fs::write(&path, "here").unwrap();
    let reading = CheckKind::Marker {
        path: path.display().to_string(),
        content: Some("here".to_owned()),
        write: false,
    };
    let tools = tools(env!("CARGO_BIN_EXE_interlock-agent"));
    assert_eq!(tools.run(&written(&path), LIMIT).await.verdict, Verdict::Ok);
    let filler = small.0.path().join("filler");
    let full = std::fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    std::fs::remove_file(small.0.path().join(".alive.n1")).unwrap();
    std::fs::write(small.0.path().join("last"), vec![0; 1 << 20]).unwrap_err();
    let result = tools.run(&written(&path), LIMIT).await;
    assert_eq!(result.verdict, Verdict::Bad, "{result:?}");
    assert!(result.evidence.contains("No space left"), "{result:?}");
    std::fs::remove_file(filler).unwrap();
    assert_eq!(tools.run(&written(&path), LIMIT).await.verdict, Verdict::Ok);
    small.remount("ro");
    let result = tools.run(&written(&path), LIMIT).await;
    assert_eq!(result.verdict, Verdict::Bad, "{result:?}");
    assert!(result.evidence.contains("Read-only"), "{result:?}");
    assert_eq!(tools.run(&reading, LIMIT).await.verdict, Verdict::Ok);
}

#[tokio::test]
async fn a_helper_is_asked_again_and_replaced_when_somebody_has_killed_it() {
    let dir = tempfile::tempdir().unwrap();
    let tools = script(dir.path(), "");
    let started = || std::fs::read_to_string(dir.path().join("started")).unwrap();
    for _ in 0..5 {
        assert_eq!(tools.run(&share(), LIMIT).await.verdict, Verdict::Ok);
    }
    assert_eq!((started().lines().count(), tools.files.waiting()), (1, 1));
    let pid = started().trim().to_owned();
    let kill = std::process::Command::new("/bin/kill")
        .args(["-9", &pid])
        .status();
    assert!(kill.unwrap().success());
    while Path::new(&format!("/proc/{pid}/exe")).exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(tools.run(&share(), LIMIT).await.verdict, Verdict::Ok);
    assert_eq!(started().lines().count(), 2);
}

/// A helper that is this script: first it notes its pid, then it answers every question, after `each`.
fn script(dir: &Path, each: &str) -> Tools {
    let path = dir.join("helper");
    let here = dir.display();
    let text = format!(
        "#!/bin/sh\necho $$ >> {here}/started\nwhile read line; do\n{each}\necho '{{\"ok\":\"\"}}'\ndone\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    tools(&path.display().to_string())
}

fn share() -> CheckKind {
    CheckKind::Marker {
        path: "/srv/share/.alive".to_owned(),
        content: None,
        write: false,
    }
}

#[tokio::test]
async fn a_helper_that_does_not_answer_is_killed_and_replaced_and_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let hang = dir.path().join("hang");
    std::fs::write(&hang, "").unwrap();
    let each = format!(
        "case $line in */srv/share/*) [ -e {} ] && exec /bin/sleep 1000;; esac",
        hang.display()
    );
    let tools = script(dir.path(), &each);
    let other = CheckKind::Marker {
        path: "/srv/other/.alive".to_owned(),
        content: None,
        write: false,
    };
    assert_eq!(tools.run(&other, LIMIT).await.verdict, Verdict::Ok);
    let (share, limit) = (share(), Duration::from_millis(200));
    let mut hanging = std::pin::pin!(tools.run(&share, Duration::from_secs(3600)));
    tokio::select! {
        biased;
        _ = &mut hanging => panic!("it hangs"),
        other = tools.run(&other, LIMIT) => assert_eq!(other.verdict, Verdict::Ok),
    }
    let result = tools.run(&share, limit).await;
    assert_eq!(result.verdict, Verdict::Unknown);
    assert!(result.evidence.contains("/srv/share/.alive"), "{result:?}");
    assert_eq!((tools.files.hung(), tools.files.waiting()), (0, 1));
    std::fs::remove_file(hang).unwrap();
    assert_eq!(tools.run(&share, LIMIT).await.verdict, Verdict::Ok);
    assert_eq!(tools.files.waiting(), 2);
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
            skip::skip(
                "a file probe that was frozen",
                "there is no freezer that may be written (needs root and cgroup v1)",
            );
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
    let tools = script(dir.path(), &format!("echo $$ > {tasks}"));
    let limit = Duration::from_millis(500);
    let hangs = tools.run(&share(), limit).await;
    assert_eq!(hangs.verdict, Verdict::Unknown);
    assert!(hangs.evidence.contains("does not even die"), "{hangs:?}");
    assert_eq!(tools.files.hung(), 1);
    let again = tools.run(&share(), limit).await;
    assert!(again.evidence.contains("still hangs"), "{again:?}");
    let started = std::fs::read_to_string(dir.path().join("started")).unwrap();
    assert_eq!(started.lines().count(), 1);
    freezer.thaw();
    while tools.files.hung() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tools.run(&share(), LIMIT).await.verdict, Verdict::Ok);
}
