//! Units of a real systemd.
//!
//! These tests write units into `/run/systemd/system`, so they run only as root and only where
//! `INTERLOCK_TEST_SYSTEMD=1` says that the machine is there for it (a container that boots systemd). Elsewhere they
//! say that they were skipped. What disturbs the other tests runs alone: `=reexec`, `=poweroff`, `=reboot`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use interlock_agent::systemd::{
    Activity, Error, JobResult, Options, Progress, Systemd, UnitEvent, UnitWatch, Verb,
};

const LONG: Duration = Duration::from_secs(60);

/// Units of one test, removed at its end.
struct Units {
    names: BTreeSet<String>,
}

impl Units {
    /// Writes units `(name, [Service] section)` and makes systemd read them.
    fn new(units: &[(&str, &str)]) -> Self {
        let names = units.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (name, section) in units {
            let text = format!("[Unit]\nDescription=test\n[Service]\n{section}\n");
            std::fs::write(path(name), text).unwrap();
        }
        systemctl(&["daemon-reload"]);
        Self { names }
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        let all = |verb: &[&str]| {
            systemctl(
                &[
                    verb,
                    &self.names.iter().map(String::as_str).collect::<Vec<_>>(),
                ]
                .concat(),
            );
        };
        all(&["kill", "--signal=KILL"]);
        all(&["stop"]);
        all(&["reset-failed"]);
        for name in &self.names {
            let _ = std::fs::remove_file(path(name));
        }
        systemctl(&["daemon-reload"]);
    }
}

fn path(unit: &str) -> PathBuf {
    Path::new("/run/systemd/system").join(unit)
}

fn systemctl(arguments: &[&str]) {
    Command::new("systemctl").args(arguments).output().unwrap();
}

/// A connection, or a note that this test could not run.
async fn systemd() -> Option<Systemd> {
    connect_for("1").await
}

/// The same for a test that wants a value of its own.
async fn connect_for(wanted: &str) -> Option<Systemd> {
    if std::env::var("INTERLOCK_TEST_SYSTEMD").as_deref() != Ok(wanted) {
        eprintln!(
            "SKIPPED: not a machine for this test of systemd (INTERLOCK_TEST_SYSTEMD={wanted})"
        );
        return None;
    }
    Some(Systemd::connect(Options::default()).await.unwrap())
}

async fn until(watch: &mut UnitWatch, wanted: impl Fn(&UnitEvent) -> bool) -> UnitEvent {
    let search = async {
        loop {
            let event = watch.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LONG, search)
        .await
        .expect("the event came")
}

fn is(event: &UnitEvent, activity: Activity) -> bool {
    event
        .state
        .as_ref()
        .is_ok_and(|state| state.activity == activity)
}

#[tokio::test]
async fn a_unit_is_started_observed_restarted_and_stopped() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let unit = "interlock-test-plain.service";
    let _units = Units::new(&[(unit, "ExecStart=/bin/sleep infinity")]);
    assert_eq!(
        systemd.observe(unit).await.unwrap().activity,
        Activity::Stopped
    );
    systemd.start(unit, LONG).await.unwrap();
    let first = systemd.observe(unit).await.unwrap();
    assert_eq!(
        (first.activity, &*first.sub_state),
        (Activity::Running, "running")
    );
    assert!(first.main_pid.is_some() && first.since.is_some() && first.invocation_id.is_some());
    assert_eq!(systemd.activity(unit).await.unwrap(), Activity::Running);
    systemd.start(unit, LONG).await.unwrap();
    assert_eq!(
        systemd.observe(unit).await.unwrap().invocation_id,
        first.invocation_id
    );
    systemd.restart(unit, LONG).await.unwrap();
    let second = systemd.observe(unit).await.unwrap();
    assert_ne!(second.invocation_id, first.invocation_id);
    assert_ne!(second.main_pid, first.main_pid);
    systemd.stop(unit, LONG).await.unwrap();
    let stopped = systemd.observe(unit).await.unwrap();
    assert_eq!(
        (stopped.activity, stopped.main_pid),
        (Activity::Stopped, None)
    );
}

#[tokio::test]
async fn units_that_do_not_exist_or_are_masked_are_named() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let absent = "interlock-test-absent.service";
    for error in [
        systemd.start(absent, LONG).await.unwrap_err(),
        systemd.stop(absent, LONG).await.unwrap_err(),
        systemd.observe(absent).await.unwrap_err(),
        systemd.activity(absent).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::NoSuchUnit { unit } if unit == absent),
            "{error:?}"
        );
    }
    let masked = "interlock-test-masked.service";
    std::os::unix::fs::symlink("/dev/null", path(masked)).unwrap();
    systemctl(&["daemon-reload"]);
    let error = systemd.start(masked, LONG).await.unwrap_err();
    std::fs::remove_file(path(masked)).unwrap();
    assert!(matches!(error, Error::Masked { .. }), "{error:?}");
}

#[tokio::test]
async fn a_start_that_fails_is_a_failed_job() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let unit = "interlock-test-fails.service";
    let _units = Units::new(&[(unit, "Type=oneshot\nExecStart=/bin/false")]);
    let error = systemd.start(unit, LONG).await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::JobFailed {
                verb: Verb::Start,
                result: JobResult::Failed,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!error.outcome_is_unknown());
    let state = systemd.observe(unit).await.unwrap();
    assert_eq!(state.activity, Activity::Failed);
    assert_eq!(
        (state.result.as_deref(), state.exec_main_status),
        (Some("exit-code"), Some(1))
    );
    systemd.reset_failed(unit).await.unwrap();
    assert_eq!(
        systemd.observe(unit).await.unwrap().activity,
        Activity::Stopped
    );
}

#[tokio::test]
async fn a_slow_stop_is_seen_running_and_its_limit_leaves_it_unknown() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let unit = "interlock-test-slow.service";
    let stop = "ExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 3";
    let _units = Units::new(&[(unit, stop)]);
    systemd.start(unit, LONG).await.unwrap();
    let error = systemd
        .stop(unit, Duration::from_millis(300))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::JobUnfinished { .. }) && error.outcome_is_unknown());
    assert_eq!(
        systemd.observe(unit).await.unwrap().activity,
        Activity::Stopping
    );
    let mut stages = Vec::new();
    systemd
        .run(Verb::Stop, unit, LONG, &mut |stage| stages.push(stage))
        .await
        .unwrap();
    assert_eq!(stages, [Progress::Accepted, Progress::Running]);
    assert_eq!(
        systemd.observe(unit).await.unwrap().activity,
        Activity::Stopped
    );
}

#[tokio::test]
async fn a_job_that_waits_for_another_one_is_accepted_before_it_runs() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let (first, second) = (
        "interlock-test-first.service",
        "interlock-test-second.service",
    );
    let slow = "Type=oneshot\nExecStart=/bin/sleep 2\nRemainAfterExit=yes";
    let after = format!("ExecStart=/bin/sleep infinity\n[Unit]\nAfter={first}\n");
    let _units = Units::new(&[(first, slow), (second, &after)]);
    let runner = systemd.clone();
    let slow_start = tokio::spawn(async move { runner.start(first, LONG).await });
    while systemd.observe(first).await.unwrap().activity != Activity::Starting {
        tokio::task::yield_now().await;
    }
    let watcher = systemd.clone();
    let mut stages = Vec::new();
    let mut seen = |stage| stages.push(stage);
    let mut queued = Box::pin(watcher.run(Verb::Start, second, LONG, &mut seen));
    tokio::select! {
        done = &mut queued => panic!("it must wait: {done:?}"),
        outcome = slow_start => outcome.unwrap().unwrap(),
    }
    queued.await.unwrap();
    assert_eq!(stages.first(), Some(&Progress::Accepted));
    assert_eq!(
        systemd.observe(second).await.unwrap().activity,
        Activity::Running
    );
}

/// Two units, of which the second waits for the first, whose start takes longer than the test.
fn queue_of_two(first: &str, second: &str) -> Units {
    let slow = "Type=oneshot\nExecStart=/bin/sleep 1000\nRemainAfterExit=yes";
    let after = format!("ExecStart=/bin/sleep infinity\n[Unit]\nAfter={first}\n");
    Units::new(&[(first, slow), (second, &after)])
}

fn has_job(unit: &str) -> bool {
    let jobs = Command::new("systemctl")
        .args(["list-jobs", "--no-legend", "--full"])
        .output();
    String::from_utf8_lossy(&jobs.unwrap().stdout).contains(unit)
}

#[tokio::test]
async fn at_its_limit_a_job_that_waits_is_withdrawn_and_one_that_runs_is_left_alone() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let (first, second) = (
        "interlock-test-busy.service",
        "interlock-test-waits.service",
    );
    let _units = queue_of_two(first, second);
    let limit = Duration::from_millis(300);
    let running = systemd.start(first, limit).await.unwrap_err();
    assert!(
        matches!(running, Error::JobUnfinished { .. }),
        "{running:?}"
    );
    assert!(has_job(first), "it goes on");
    let waiting = systemd.start(second, limit).await.unwrap_err();
    assert!(
        matches!(waiting, Error::JobWithdrawn { .. }) && !waiting.outcome_is_unknown(),
        "{waiting:?}"
    );
    assert!(!has_job(second), "nothing starts it when the first is up");
    assert_eq!(
        systemd.observe(second).await.unwrap().activity,
        Activity::Stopped
    );
    assert_eq!(
        systemd.observe(first).await.unwrap().activity,
        Activity::Starting
    );
}

#[tokio::test]
async fn a_job_that_somebody_else_has_queued_is_not_withdrawn() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let (first, second) = (
        "interlock-test-busy2.service",
        "interlock-test-theirs.service",
    );
    let _units = queue_of_two(first, second);
    systemctl(&["start", "--no-block", first]);
    systemctl(&["start", "--no-block", second]);
    assert!(has_job(second));
    let error = systemd
        .start(second, Duration::from_millis(300))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::JobUnfinished { .. }), "{error:?}");
    assert!(has_job(second), "theirs still waits");
}

#[tokio::test]
async fn a_stop_that_ends_badly_is_told_from_a_crash() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let unit = "interlock-test-143.service";
    let section = "Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'trap \"exit 143\" TERM; systemd-notify --ready; \
                   while :; do sleep 0.05; done'";
    let _units = Units::new(&[(unit, section)]);
    systemd.start(unit, LONG).await.unwrap();
    systemctl(&["stop", unit]);
    let stopped = systemd.observe(unit).await.unwrap();
    assert_eq!(
        (
            stopped.activity,
            stopped.exec_main_status,
            stopped.told_to_stop
        ),
        (Activity::Failed, Some(143), true),
        "{stopped:?}"
    );
    systemd.start(unit, LONG).await.unwrap();
    assert!(!systemd.observe(unit).await.unwrap().told_to_stop);
    systemctl(&["kill", "--kill-whom=main", "--signal=KILL", unit]);
    while systemd.observe(unit).await.unwrap().activity != Activity::Failed {
        tokio::task::yield_now().await;
    }
    let crashed = systemd.observe(unit).await.unwrap();
    assert!(!crashed.told_to_stop, "{crashed:?}");
}

#[tokio::test]
async fn death_and_return_of_a_watched_unit_are_events() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let unit = "interlock-test-watched.service";
    let _units = Units::new(&[(unit, "ExecStart=/bin/sleep infinity")]);
    let mut watch = systemd.watch([unit.to_owned()]).unwrap();
    until(&mut watch, |event| is(event, Activity::Stopped)).await;
    systemctl(&["start", unit]);
    let running = until(&mut watch, |event| {
        event
            .state
            .as_ref()
            .is_ok_and(|state| state.activity == Activity::Running && state.main_pid.is_some())
    })
    .await;
    let pid = running.state.unwrap().main_pid.unwrap().to_string();
    Command::new("/bin/kill")
        .args(["-9", &pid])
        .status()
        .unwrap();
    let dead = until(&mut watch, |event| is(event, Activity::Failed))
        .await
        .state
        .unwrap();
    assert_eq!(dead.result.as_deref(), Some("signal"));
    systemctl(&["stop", unit]);
    systemctl(&["reset-failed", unit]);
    systemctl(&["start", unit]);
    until(&mut watch, |event| is(event, Activity::Running)).await;
}

#[tokio::test]
async fn no_job_of_a_burst_is_lost() {
    let Some(systemd) = systemd().await else {
        return;
    };
    let names: Vec<String> = (0..150)
        .map(|n| format!("interlock-test-burst{n}.service"))
        .collect();
    let section = "Type=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes";
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), section)).collect();
    let _units = Units::new(&units);
    let starts = names.iter().map(|name| systemd.start(name, LONG));
    for outcome in futures_util::future::join_all(starts).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn a_bus_that_goes_away_is_reported_and_found_again() {
    let Some(direct) = systemd().await else {
        return;
    };
    let unit = "interlock-test-bus.service";
    let _units = Units::new(&[(unit, "ExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 2")]);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("bus");
    let relay = Relay::start(&socket);
    let options = Options {
        address: Some(format!("unix:path={}", socket.display())),
        call_limit: Duration::from_secs(10),
    };
    let systemd = Systemd::connect(options).await.unwrap();
    let mut watch = systemd.watch([unit.to_owned()]).unwrap();
    until(&mut watch, |event| is(event, Activity::Stopped)).await;
    systemd.start(unit, LONG).await.unwrap();
    until(&mut watch, |event| is(event, Activity::Running)).await;

    let stop = systemd.stop(unit, LONG);
    let cut = async {
        while direct.observe(unit).await.unwrap().activity != Activity::Stopping {
            tokio::task::yield_now().await;
        }
        relay.stop();
    };
    let (stopped, ()) = tokio::join!(stop, cut);
    let error = stopped.unwrap_err();
    assert!(
        matches!(error, Error::Lost { .. }) && error.outcome_is_unknown(),
        "{error:?}"
    );
    until(&mut watch, |event| event.state.is_err()).await;
    assert!(matches!(
        systemd.observe(unit).await,
        Err(Error::NoBus { .. })
    ));

    let _relay = Relay::start(&socket);
    until(&mut watch, |event| is(event, Activity::Stopped)).await;
    assert_eq!(
        systemd.observe(unit).await.unwrap().activity,
        Activity::Stopped
    );
}

#[tokio::test]
async fn a_new_systemd_process_ends_the_link_and_the_next_request_makes_a_new_one() {
    let Some(systemd) = connect_for("reexec").await else {
        return;
    };
    let unit = "interlock-test-reexec.service";
    let _units = Units::new(&[(unit, "ExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 2")]);
    systemd.start(unit, LONG).await.unwrap();
    let stop = systemd.stop(unit, LONG);
    let reexec = async {
        while systemd.observe(unit).await.unwrap().activity != Activity::Stopping {
            tokio::task::yield_now().await;
        }
        tokio::process::Command::new("systemctl")
            .arg("daemon-reexec")
            .status()
            .await
            .unwrap();
    };
    let (stopped, ()) = tokio::join!(stop, reexec);
    let error = stopped.unwrap_err();
    assert!(error.outcome_is_unknown(), "{error:?}");
    systemd.stop(unit, LONG).await.unwrap();
    assert_eq!(
        systemd.observe(unit).await.unwrap().activity,
        Activity::Stopped
    );
}

#[tokio::test]
async fn the_machine_powers_off_when_asked() {
    let Some(systemd) = connect_for("poweroff").await else {
        return;
    };
    systemd.poweroff().await.unwrap();
}

#[tokio::test]
async fn the_machine_reboots_when_asked() {
    let Some(systemd) = connect_for("reboot").await else {
        return;
    };
    systemd.reboot().await.unwrap();
}

/// Passes connections on to the system bus until it is stopped.
struct Relay {
    socket: PathBuf,
    tasks: Arc<tokio::sync::Notify>,
}

impl Relay {
    fn start(socket: &Path) -> Self {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let stop = Arc::new(tokio::sync::Notify::new());
        let tasks = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    () = stop.notified() => return,
                    accepted = listener.accept() => {
                        let (mut near, _) = accepted.unwrap();
                        connections.spawn(async move {
                            let bus = "/run/dbus/system_bus_socket";
                            let mut far = tokio::net::UnixStream::connect(bus).await.unwrap();
                            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                        });
                    }
                }
            }
        });
        Self {
            socket: socket.to_owned(),
            tasks,
        }
    }

    fn stop(self) {
        self.tasks.notify_one();
        std::fs::remove_file(&self.socket).unwrap();
    }
}
