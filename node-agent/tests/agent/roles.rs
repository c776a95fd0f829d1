//! Who is primary of a leased service, and when it is not any more.

#[path = "../address/lab.rs"]
#[expect(dead_code, reason = "no hosts are needed here")]
mod apart;
mod failsafe;
mod health;
mod leftovers;
mod mariadb;
mod ocf;
mod path;
mod permits;
mod redis;
mod watchdog;

use std::fs;
use std::path::Path;

use interlock_model::lease::{ControlLoss, Profile, Terms, Timings, VmPause};
use interlock_proto::convert::terms_to_wire;
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::coordinator_message::Message as Order;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::lease_report::Report;
use interlock_proto::v1::lease_word::Word;

use crate::lab::Lab;
use crate::scripted::{Session, id, patiently};

/// `base` runs on every instance, `main` is what only the primary has.
const DB: &str = "[allow.services]\ndb = { process = [\"base\", \"main\"] }\n[process.base]\ncommand = [\"/bin/sleep\", \
                  \"1000\"]\n[process.main]\ncommand = [\"/bin/sleep\", \"1000\"]\n";

/// The last of the leases: what is acknowledged, and for how long.
struct Book {
    terms: v1::LeaseTerms,
    acknowledges: bool,
}

impl Book {
    fn new(on_control_loss: ControlLoss, profile: Profile) -> Self {
        let terms = Terms {
            timings: Timings::of(profile),
            on_control_loss,
            vm_pause: VmPause::Accepted,
            members: ["n1", "n2"].map(|node| node.parse().unwrap()).into(),
            max_lag: 0,
        };
        Self {
            terms: terms_to_wire(&terms),
            acknowledges: true,
        }
    }

    async fn say(&self, session: &Session, term: u64, word: Word) {
        let word = v1::LeaseWord {
            service: "db".into(),
            term,
            word: Some(word),
        };
        session.order(Order::Lease(word)).await;
    }

    /// Tells the node to be primary in this epoch.
    async fn promote(&self, session: &Session, epoch: u64) {
        self.say(session, session.term, self.promotion(epoch)).await;
    }

    fn promotion(&self, epoch: u64) -> Word {
        Word::Promote(v1::LeasePromote {
            epoch,
            holder: Some(v1::LeaseHolder {
                node: "n1".into(),
                boot_id: "boot-1".into(),
            }),
            terms: Some(self.terms.clone()),
        })
    }

    /// Waits for a message that is as wanted, and acknowledges renewals meanwhile.
    async fn until(&self, session: &mut Session, wanted: impl Fn(&Said) -> bool) -> Said {
        let waiting = async {
            loop {
                let said = self.next(session).await;
                if wanted(&said) {
                    return said;
                }
            }
        };
        patiently(waiting).await
    }

    /// The next message; a renewal is acknowledged.
    async fn next(&self, session: &mut Session) -> Said {
        let said = session.next().await;
        if let Some(renewal) = renewal_in(&said)
            && self.acknowledges
        {
            self.acknowledge(session, renewal).await;
        }
        said
    }

    async fn acknowledge(&self, session: &Session, renewal: &v1::LeaseRenewal) {
        let renewed = v1::LeaseRenewed {
            epoch: renewal.epoch,
            sent_ns: renewal.sent_ns,
            terms: Some(self.terms.clone()),
        };
        self.say(session, session.term, Word::Renewed(renewed))
            .await;
    }

    /// Waits until the role looks as wanted, which it may do already.
    async fn role(&self, session: &mut Session, wanted: impl Fn(&v1::Role) -> bool) -> v1::Role {
        let waiting = async {
            loop {
                let role = session.last("db").and_then(|it| it.role.as_ref());
                if let Some(role) = role.filter(|role| wanted(role)) {
                    return role.clone();
                }
                self.next(session).await;
            }
        };
        patiently(waiting).await
    }

    async fn standing(
        &self,
        session: &mut Session,
        wanted: impl Fn(&v1::LeaseStanding) -> bool,
    ) -> v1::LeaseStanding {
        let said = self
            .until(session, |said| standing_in(said).is_some_and(&wanted))
            .await;
        standing_in(&said).cloned().unwrap()
    }

    async fn release(&self, session: &mut Session) -> v1::LeaseRelease {
        let said = self.until(session, |said| release_in(said).is_some()).await;
        release_in(&said).cloned().unwrap()
    }
}

fn report_in(said: &Said) -> Option<&Report> {
    match said {
        Said::Lease(report) => report.report.as_ref(),
        _ => None,
    }
}

fn standing_in(said: &Said) -> Option<&v1::LeaseStanding> {
    match report_in(said)? {
        Report::Standing(standing) => Some(standing),
        Report::Renewal(_) | Report::Release(_) => None,
    }
}

fn release_in(said: &Said) -> Option<&v1::LeaseRelease> {
    match report_in(said)? {
        Report::Release(release) => Some(release),
        Report::Standing(_) | Report::Renewal(_) => None,
    }
}

fn renewal_in(said: &Said) -> Option<&v1::LeaseRenewal> {
    match report_in(said)? {
        Report::Renewal(renewal) => Some(renewal),
        Report::Standing(_) | Report::Release(_) => None,
    }
}

fn part(name: &str) -> v1::Part {
    v1::Part {
        part: Some(v1::part::Part::Process(name.into())),
    }
}

fn base() -> v1::InstanceCommand {
    v1::InstanceCommand {
        service: "db".into(),
        parts: vec![part("base")],
    }
}

fn configure(lab: &Lab, endpoint: &str) {
    configure_with(lab, endpoint, "");
}

/// The same with more to say of the process that only the primary has.
fn configure_with(lab: &Lab, endpoint: &str, main: &str) {
    let here = lab.here();
    lab.configure(
        endpoint,
        &format!("{DB}{main}[lease]\nruntime_dir = \"{here}/run\"\n"),
    );
}

async fn assign(session: &Session, budget: u32) {
    session
        .assign_all(&[base()], budget, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = vec![part("main")];
            instance.lease = Some(v1::LeaseAssignment::default());
        })
        .await;
}

/// Assigned, started, and ready to be promoted.
async fn standby(session: &mut Session, book: &Book, budget: u32) {
    assign(session, budget).await;
    session
        .dispatch(id("start", 1), Command::Start(base()))
        .await;
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    book.standing(session, |it| it.idle && it.unready.is_empty())
        .await;
}

async fn primary(session: &mut Session, book: &Book, epoch: u64) {
    book.promote(session, epoch).await;
    book.role(session, |role| {
        role.side() == v1::Side::Primary && role.epoch == epoch
    })
    .await;
}

/// The process of the primary's part, as its run says; none if it was never started.
fn main_pid(lab: &Lab) -> Option<u32> {
    pid_in(lab, "main")
}

fn pid_in(lab: &Lab, process: &str) -> Option<u32> {
    let record = format!("state/runs/service.{process}/run.json");
    let record = fs::read(lab.path(&record)).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
    u32::try_from(record["child"]["pid"].as_u64()?).ok()
}

fn lives(pid: u32) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    status.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_node_is_primary_only_when_its_own_renewal_was_acknowledged() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let _agent = lab.start().await;
    let mut session = coordinator.session(3).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    session
        .dispatch(
            id("promote", 1),
            Command::Promote(v1::PromoteCommand {
                service: "db".into(),
            }),
        )
        .await;

    book.acknowledges = false;
    book.say(&session, 2, book.promotion(1)).await;
    book.promote(&session, 2).await;
    let said = book
        .until(&mut session, |said| renewal_in(said).is_some())
        .await;
    let renewal = renewal_in(&said).unwrap();
    assert_eq!(
        (renewal.epoch, renewal.client_path, renewal.watchdog),
        (2, false, false),
        "what an older term says is not obeyed, and nothing is promised that is not there"
    );
    assert_eq!(main_pid(&lab), None, "a command gives no right");

    book.acknowledges = true;
    book.acknowledge(&session, renewal).await;
    let report = book
        .until(&mut session, |said| {
            matches!(said, Said::Attempt(report) if report.id == Some(id("promote", 1)) && report.state() == v1::AttemptState::Done)
        })
        .await;
    let Said::Attempt(report) = report else {
        panic!("{report:?}");
    };
    assert!(
        report.evidence.starts_with("primary in epoch 2 since"),
        "{report:?}"
    );
    assert!(main_pid(&lab).is_some_and(lives));
    let facts = fs::read_to_string(lab.path("state/roles/db.json")).unwrap();
    let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
    assert_eq!(
        facts["mark"]["epoch"], 2,
        "it is durable that it was primary"
    );
}

#[tokio::test]
async fn without_an_acknowledgement_a_primary_is_ended_and_never_takes_that_epoch_up_again() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Fast);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    let pid = main_pid(&lab).unwrap();

    book.acknowledges = false;
    let release = book.release(&mut session).await;
    assert!(!lives(pid), "it is said only when nothing is left");
    assert_eq!((release.epoch, release.began), (1, true));
    assert!(
        lab.log()
            .contains("stopping by force: its lease is about to end")
    );

    agent.kill().await;
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let again = book.release(&mut session).await;
    assert_eq!(again.epoch, 1, "it is said until it is written");
    book.acknowledges = true;
    book.standing(&mut session, |it| it.unready.is_empty())
        .await;
    book.promote(&session, 1).await;
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    book.promote(&session, 2).await;
    let said = book
        .until(&mut session, |said| renewal_in(said).is_some())
        .await;
    assert_eq!(renewal_in(&said).unwrap().epoch, 2);
}

#[tokio::test]
async fn an_agent_that_was_killed_finds_its_primary_and_goes_on_with_it() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Hold, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 4).await;
    let pid = main_pid(&lab).unwrap();

    agent.kill().await;
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let holds = |it: &v1::LeaseStanding| it.holding.as_ref().is_some_and(|it| it.epoch == 4);
    book.standing(&mut session, holds).await;
    book.role(&mut session, |role| role.side() == v1::Side::Primary)
        .await;
    book.until(&mut session, |said| renewal_in(said).is_some())
        .await;
    assert!(main_pid(&lab) == Some(pid) && lives(pid));
}

#[tokio::test]
async fn a_stop_gives_the_role_back_before_anything_else_is_stopped() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    let pid = main_pid(&lab).unwrap();

    session.dispatch(id("stop", 1), Command::Stop(base())).await;
    let release = book.release(&mut session).await;
    assert!(
        !lives(pid) && release.epoch == 1 && release.began,
        "{release:?}"
    );
    let done = session.outcome(&id("stop", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    assert!(
        done.evidence
            .starts_with("the role of epoch 1 is given back; stopped"),
        "{done:?}"
    );
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    book.promote(&session, 2).await;
    let standing = book
        .standing(&mut session, |it| !it.unready.contains("attempt"))
        .await;
    assert!(
        standing.idle && standing.unready == "it is not wanted running",
        "{standing:?}"
    );
}

#[tokio::test]
async fn a_part_of_the_primary_that_dies_is_restarted_within_its_budget_and_then_the_role_goes() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 1).await;
    primary(&mut session, &book, 1).await;
    let first = main_pid(&lab).unwrap();

    crate::lab::signal(first, rustix::process::Signal::KILL);
    let restarted = |_: &Said| main_pid(&lab).is_some_and(|pid| pid != first && lives(pid));
    book.until(&mut session, restarted).await;
    let second = main_pid(&lab).unwrap();
    book.role(&mut session, |role| {
        role.side() == v1::Side::Primary && role.detail.is_empty()
    })
    .await;

    crate::lab::signal(second, rustix::process::Signal::KILL);
    let release = book.release(&mut session).await;
    assert!(release.epoch == 1 && release.began, "{release:?}");
    assert_eq!(main_pid(&lab), Some(second), "nothing was started again");
}

#[tokio::test]
async fn a_promotion_that_hangs_is_ended_with_its_lease() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    // It lives and is never ready.
    let never = "ready = { tcp = \"127.0.0.1:1\" }\n";
    configure_with(&lab, &coordinator.endpoint, never);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Fast);
    standby(&mut session, &book, 0).await;
    book.promote(&session, 1).await;
    book.until(&mut session, |_| main_pid(&lab).is_some_and(lives))
        .await;
    let pid = main_pid(&lab).unwrap();
    book.acknowledges = false;
    let release = book.release(&mut session).await;
    assert!(!lives(pid) && release.epoch == 1, "{release:?}");
}

#[tokio::test]
async fn an_agent_that_is_told_to_end_has_it_recorded_that_its_primary_holds_on() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    let pid = main_pid(&lab).unwrap();

    book.acknowledges = false;
    let renewals = async {
        let said = book
            .until(&mut session, |said| {
                let terms = renewal_in(said).and_then(|renewal| renewal.terms.as_ref());
                terms.is_some_and(|terms| terms.on_control_loss == "hold")
            })
            .await;
        let held = Book::new(ControlLoss::Hold, Profile::Conservative);
        held.acknowledge(&session, renewal_in(&said).unwrap()).await;
        held
    };
    let (held, ()) = tokio::join!(renewals, agent.stop());
    assert!(lives(pid), "what is primary goes on");

    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    held.standing(&mut session, |it| it.holding.is_some()).await;
    assert_eq!(main_pid(&lab), Some(pid));
}

#[tokio::test]
async fn a_part_that_the_primary_rests_on_takes_the_role_with_it() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    let (pid, base) = (main_pid(&lab).unwrap(), pid_in(&lab, "base").unwrap());
    crate::lab::signal(base, rustix::process::Signal::KILL);
    let release = book.release(&mut session).await;
    assert!(!lives(pid) && release.began, "{release:?}");
    let standing = book
        .standing(&mut session, |it| it.unready.contains("base"))
        .await;
    assert!(standing.idle && standing.holding.is_none(), "{standing:?}");
}

#[tokio::test]
async fn a_service_that_is_no_longer_assigned_gives_its_role_back() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    let pid = main_pid(&lab).unwrap();
    let nothing = v1::Assignment {
        term: session.term,
        generation: 2,
        ..v1::Assignment::default()
    };
    session.order(Order::Assignment(nothing)).await;
    let release = book.release(&mut session).await;
    assert!(!lives(pid) && release.began, "{release:?}");
    assert!(pid_in(&lab, "base").is_some_and(lives), "no more than that");
    let again = book.release(&mut session).await;
    assert_eq!(again.epoch, 1, "it is said until it is written");
}
