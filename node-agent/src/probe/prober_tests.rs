use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use interlock_model::check::{CheckFrom, CheckKind, Threshold};
use interlock_model::names::LocalName;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::super::{CommandOutput, CommandRunner, FileProbes, Running};
use super::*;
use crate::systemd::{Options, Systemd};

const PATIENCE: Duration = Duration::from_secs(60);
const NEVER: Duration = Duration::from_secs(3600);

/// A command that ends when it is let go, and counts.
struct Gated {
    gate: Semaphore,
    started: AtomicUsize,
    together: AtomicUsize,
    most: AtomicUsize,
}

impl Gated {
    fn new(open: usize) -> Arc<Self> {
        Arc::new(Self {
            gate: Semaphore::new(open),
            started: AtomicUsize::new(0),
            together: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }
}

impl CommandRunner for Gated {
    fn run<'r>(&'r self, _: &'r LocalName, _: Duration) -> Running<'r> {
        Box::pin(async {
            self.started.fetch_add(1, Ordering::SeqCst);
            let together = self.together.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(together, Ordering::SeqCst);
            self.gate.acquire().await.unwrap().forget();
            self.together.fetch_sub(1, Ordering::SeqCst);
            Ok(CommandOutput {
                code: Some(0),
                output: String::new(),
            })
        })
    }
}

struct Bed {
    prober: Prober,
    reports: mpsc::UnboundedReceiver<Report>,
}

fn tools(runner: Arc<Gated>) -> Tools {
    let address = Some("unix:path=/nonexistent".to_owned());
    let systemd = Systemd::new(Options {
        address,
        ..Options::default()
    });
    let files = Arc::new(FileProbes::new("/bin/true".into(), "n1".parse().unwrap()));
    Tools {
        runner,
        systemd,
        files,
        names: crate::probe::Names::default(),
        passwords: crate::probe::Passwords::new(crate::config::Secrets {
            dir: "/nonexistent".into(),
        }),
        trust: crate::probe::Trust::default(),
        put_out: Arc::new(crate::probe::NobodyPutOut),
    }
}

impl Bed {
    fn new(runner: Arc<Gated>) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let prober = Prober::start(tools(runner), move |report| {
            // The test may have seen enough.
            let _ = sender.send(report);
        });
        Self { prober, reports }
    }

    async fn assign(&self, checks: &[(&str, Check)]) {
        self.prober
            .assign(
                checks
                    .iter()
                    .map(|(name, check)| (id(name), check.clone()))
                    .collect(),
            )
            .await;
    }

    async fn next(&mut self) -> Report {
        tokio::time::timeout(PATIENCE, self.reports.recv())
            .await
            .expect("a report came")
            .unwrap()
    }

    /// The first report that fits; all before it are skipped.
    async fn until(&mut self, fits: impl Fn(&Report) -> bool) -> Report {
        loop {
            let report = self.next().await;
            if fits(&report) {
                return report;
            }
        }
    }
}

fn id(name: &str) -> CheckId {
    CheckId {
        service: "web".parse().unwrap(),
        check: name.parse().unwrap(),
    }
}

fn check(kind: CheckKind, every: Duration) -> Check {
    Check {
        kind,
        from: CheckFrom::Own,
        every,
        timeout: PATIENCE,
        fail: Threshold::ONE,
        pass: Threshold::ONE,
        fresh: NEVER,
    }
}

fn command(every: Duration) -> Check {
    check(
        CheckKind::Exec {
            command: "probe".parse().unwrap(),
        },
        every,
    )
}

fn tcp(listener: &TcpListener, every: Duration) -> Check {
    check(
        CheckKind::Tcp {
            target: listener.local_addr().unwrap().to_string(),
        },
        every,
    )
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

const SOON: Duration = Duration::from_millis(5);

#[tokio::test]
async fn a_service_that_goes_away_turns_bad_after_the_failures_that_the_spec_allows() {
    let mut bed = Bed::new(Gated::new(0));
    let port = listener().await;
    bed.assign(&[(
        "port",
        Check {
            fail: Threshold::in_a_row(3),
            ..tcp(&port, SOON)
        },
    )])
    .await;
    let good = bed
        .until(|report| report.result.verdict == Verdict::Ok)
        .await;
    drop(port);
    let first = bed.next().await;
    assert_eq!(first.result.verdict, Verdict::Ok, "{first:?}");
    assert!(
        first.result.evidence.starts_with("1 of 3 failures: "),
        "{first:?}"
    );
    assert!(
        bed.next()
            .await
            .result
            .evidence
            .starts_with("2 of 3 failures: ")
    );
    let third = bed.next().await;
    assert_eq!(third.result.verdict, Verdict::Bad);
    assert!(third.at > first.at && first.at >= good.at);
}

#[tokio::test]
async fn a_verdict_that_failing_runs_no_longer_support_does_not_look_fresher() {
    let mut bed = Bed::new(Gated::new(0));
    let port = listener().await;
    bed.assign(&[(
        "port",
        Check {
            fail: Threshold::in_a_row(1000),
            fresh: Duration::ZERO,
            ..tcp(&port, SOON)
        },
    )])
    .await;
    bed.until(|report| report.result.verdict == Verdict::Ok)
        .await;
    drop(port);
    let failing = |report: &Report| report.result.evidence.contains("of 1000 failures");
    let first = bed.until(failing).await;
    let later = bed.until(failing).await;
    assert_eq!((first.result.verdict, first.at), (Verdict::Ok, later.at));
}

#[tokio::test]
async fn an_unchanged_result_is_repeated_before_it_is_stale_and_not_at_every_run() {
    let runner = Gated::new(10_000);
    let mut bed = Bed::new(Arc::clone(&runner));
    let fresh = Duration::from_millis(300);
    bed.assign(&[(
        "command",
        Check {
            fresh,
            ..command(Duration::from_millis(1))
        },
    )])
    .await;
    let (first, second) = (bed.next().await, bed.next().await);
    assert_eq!(first.result, second.result);
    assert!(second.at > first.at);
    assert!(
        runner.started.load(Ordering::SeqCst) > 2,
        "runs in between were not reported"
    );
}

#[tokio::test]
async fn a_run_that_was_asked_for_is_reported_although_nothing_changed() {
    let mut bed = Bed::new(Gated::new(0));
    let port = listener().await;
    bed.assign(&[("port", tcp(&port, NEVER))]).await;
    bed.prober
        .run_now(vec![id("port"), id("nobody-knows-me")])
        .await;
    let first = bed.next().await;
    bed.prober.run_now(vec![id("port")]).await;
    let second = bed.next().await;
    assert_eq!(first.result, second.result);
    assert!(first.asked && second.asked && second.at > first.at);
}

#[tokio::test]
async fn a_run_that_is_going_on_does_not_answer_a_later_question() {
    let runner = Gated::new(0);
    let mut bed = Bed::new(Arc::clone(&runner));
    bed.assign(&[("command", command(NEVER))]).await;
    bed.prober.run_now(vec![id("command")]).await;
    while runner.started.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    bed.prober.run_now(vec![id("command")]).await;
    let asked = Instant::now();
    runner.gate.add_permits(2);
    assert!(bed.next().await.at < asked);
    let answer = bed.next().await;
    assert!(
        answer.asked && runner.started.load(Ordering::SeqCst) == 2,
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_check_never_runs_twice_at_a_time() {
    let runner = Gated::new(0);
    let mut bed = Bed::new(Arc::clone(&runner));
    let every = Duration::from_millis(1);
    bed.assign(&[(
        "command",
        Check {
            fresh: Duration::ZERO,
            ..command(every)
        },
    )])
    .await;
    for _ in 0..50 {
        runner.gate.add_permits(1);
        bed.next().await;
    }
    assert_eq!(runner.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_check_that_hangs_is_unknown_at_its_limit_and_delays_no_other() {
    let mut bed = Bed::new(Gated::new(0));
    let silent = listener().await;
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let http = CheckKind::Http {
        url,
        server_name: None,
        status: vec![],
        body: None,
        json: BTreeMap::new(),
        paused: BTreeMap::new(),
        why: None,
    };
    let hanging = Check {
        timeout: Duration::from_millis(100),
        ..check(http, NEVER)
    };
    bed.assign(&[
        ("hanging", hanging),
        ("blocked", command(NEVER)),
        ("port", tcp(&silent, SOON)),
    ])
    .await;
    bed.prober.run_now(vec![id("hanging"), id("blocked")]).await;
    bed.until(|report| report.check == id("port") && report.result.verdict == Verdict::Ok)
        .await;
    let report = bed.until(|report| report.check == id("hanging")).await;
    assert_eq!(report.result.verdict, Verdict::Unknown);
    assert!(
        report
            .result
            .evidence
            .contains("does not answer within 100ms"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_new_set_keeps_the_history_of_what_stays_and_drops_the_rest() {
    let runner = Gated::new(0);
    let mut bed = Bed::new(Arc::clone(&runner));
    let port = listener().await;
    let stays = Check {
        pass: Threshold::in_a_row(2),
        ..tcp(&port, NEVER)
    };
    bed.assign(&[("stays", stays.clone()), ("goes", command(NEVER))])
        .await;
    bed.prober.run_now(vec![id("stays"), id("goes")]).await;
    assert_eq!(
        bed.next().await.result.verdict,
        Verdict::Unknown,
        "one of two successes"
    );
    bed.assign(&[("stays", stays)]).await;
    runner.gate.add_permits(1);
    bed.prober.run_now(vec![id("stays")]).await;
    let report = bed.next().await;
    assert_eq!(
        (report.check, report.result.verdict),
        (id("stays"), Verdict::Ok)
    );
}

#[tokio::test]
async fn a_unit_on_a_machine_without_systemd_is_unknown() {
    let mut bed = Bed::new(Gated::new(0));
    bed.assign(&[(
        "unit",
        check(
            CheckKind::Unit {
                unit: "a.service".to_owned(),
            },
            SOON,
        ),
    )])
    .await;
    assert_eq!(bed.next().await.result.verdict, Verdict::Unknown);
}

/// A thousand of them begin each second, and each is moved more than once until it is where it stays.
#[test]
fn a_run_is_no_larger_than_what_most_checks_need() {
    let tools = tools(Gated::new(0));
    let kind = CheckKind::Tcp {
        target: "127.0.0.1:1".to_owned(),
    };
    let run = tools.run(&kind, NEVER);
    let size = size_of_val(&run);
    assert!(size <= 3072, "{size}");
}
