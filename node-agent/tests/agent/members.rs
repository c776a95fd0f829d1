//! Members of a real HAProxy: drained, put to maint, admitted, and what goes wrong with that.
//!
//! HAProxy and its servers meet on sockets in a temporary directory, so that no port is taken.

mod servers;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::AttemptState as State;
use interlock_proto::v1::coordinator_message::Message as Order;
use interlock_proto::v1::dispatch::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;
use tokio::sync::Semaphore;

use crate::lab::{Agent, Lab, has};
use crate::scripted::{Coordinator, PATIENCE, Session, id};

const HAPROXY: &str = "/usr/sbin/haproxy";

/// An agent beside an HAProxy with the servers `jb1` and `jb2` in its backend `web`.
struct Bed {
    lab: Lab,
    coordinator: Coordinator,
    agent: Option<Agent>,
    session: Session,
    haproxy: Child,
    /// One permit lets one request of `/slow` end.
    slow: Arc<Semaphore>,
}

impl Bed {
    /// None, with a word about it, where there is no HAProxy.
    async fn new(backends: &str) -> Option<Self> {
        if !has("members of HAProxy", HAPROXY, "haproxy") {
            return None;
        }
        let lab = Lab::new();
        let mut coordinator = lab.coordinator().await;
        let socket = lab.path("admin.sock").display().to_string();
        lab.configure(
            &coordinator.endpoint,
            &format!(
                "[allow]\ncheck_sockets = [\"{socket}\"]\n[allow.services]\nlb = {{ haproxy = {{ socket = \"{socket}\", \
                 backends = [{backends}] }} }}\n"
            ),
        );
        let slow = Arc::new(Semaphore::new(0));
        for server in ["jb1", "jb2"] {
            let listener = UnixListener::bind(lab.path(server)).unwrap();
            tokio::spawn(serve(listener, server, Arc::clone(&slow)));
        }
        let haproxy = balance(&lab);
        let agent = lab.start().await;
        let session = coordinator.session(1).await;
        let bed = Self {
            lab,
            coordinator,
            agent: Some(agent),
            session,
            haproxy,
            slow,
        };
        bed.until_up().await;
        Some(bed)
    }

    /// Waits until HAProxy has found both servers up by its own checks.
    async fn until_up(&self) {
        let waiting = async {
            loop {
                let said = self.tell("show stat web 4 -1").await;
                if said.matches(",UP,").count() == 2 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("both servers are up");
    }

    fn member(&self, backend: &str, server: &str, within: Duration) -> v1::MemberCommand {
        let socket = self.lab.path("admin.sock").display().to_string();
        v1::MemberCommand {
            balancer: "lb".into(),
            member: Some(v1::Member {
                service: "web".into(),
                node: "jb1".into(),
                backends: vec![backend.into()],
                server: server.into(),
                by: Some(v1::member::By::HaproxySocket(socket)),
            }),
            within_ms: u64::try_from(within.as_millis()).unwrap(),
            then: "maint".into(),
        }
    }

    async fn dispatch(&mut self, step: &str, command: Command) -> v1::AttemptReport {
        self.session.dispatch(id(step, 1), command).await;
        self.session.outcome(&id(step, 1)).await
    }

    /// Has the agent look after `jb1`, twenty times a second.
    async fn assign(&self, watch_only: bool) {
        self.assign_with(watch_only, Vec::new()).await;
    }

    /// The same with these checks.
    async fn assign_with(&self, watch_only: bool, checks: Vec<v1::AssignedCheck>) {
        let lb = v1::InstanceCommand {
            service: "lb".into(),
            parts: Vec::new(),
        };
        let member = self.member("web", "jb1", Duration::ZERO).member;
        self.session
            .assign_all(&[lb], 0, checks, |instance| {
                instance.members = vec![v1::HeldMember {
                    member: member.clone(),
                    every_ms: 50,
                    watch_only,
                    ..Default::default()
                }];
            })
            .await;
    }

    /// What HAProxy answers on its runtime socket; empty while nobody listens there.
    async fn tell(&self, command: &str) -> String {
        said(self.lab.path("admin.sock"), &format!("{command}\n")).await
    }

    /// The administrative state of `jb1`: 0 is ready, 1 maint, 8 drain.
    async fn admin(&self) -> String {
        let states = self.tell("show servers state web").await;
        let row = states.lines().find(|line| line.contains(" jb1 ")).unwrap();
        row.split(' ').nth(6).unwrap().to_owned()
    }

    /// Who answers a request, which may carry the cookie of a server.
    async fn ask(&self, path: &str, cookie: &str) -> String {
        let request = format!("GET {path} HTTP/1.0\r\nCookie: SERVER={cookie}\r\n\r\n");
        let answer = said(self.lab.path("front.sock"), &request).await;
        answer.lines().last().unwrap_or_default().to_owned()
    }

    async fn until_admin(&self, wanted: &str) {
        let waiting = async {
            while self.admin().await != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never {wanted}"));
    }

    /// What is put back is logged a little after it.
    async fn until_log(&self, wanted: &str) {
        let waiting = async {
            while !self.lab.log().contains(wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never {wanted}: {}", self.lab.log()));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.haproxy.start_kill();
    }
}

async fn said(socket: PathBuf, request: &str) -> String {
    let Ok(mut stream) = UnixStream::connect(socket).await else {
        return String::new();
    };
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// Answers each request with the server's name; those of `/slow` when they are let go.
async fn serve(listener: UnixListener, name: &'static str, slow: Arc<Semaphore>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let slow = Arc::clone(&slow);
        tokio::spawn(async move {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap_or(0);
            if request[..length].starts_with(b"GET /slow") {
                slow.acquire().await.unwrap().forget();
            }
            let answer = format!("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n{name}\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

fn balance(lab: &Lab) -> Child {
    let here = lab.here();
    let mut file = format!(
        "global\n stats socket {here}/admin.sock mode 600 level admin\ndefaults\n mode http\n timeout connect 5s\n \
         timeout client 100s\n timeout server 100s\n option redispatch\nfrontend front\n bind \
         unix@{here}/front.sock\n default_backend web\nbackend web\n cookie SERVER insert indirect nocache\n option \
         httpchk GET /\n"
    );
    for server in ["jb1", "jb2"] {
        writeln!(
            file,
            " server {server} unix@{here}/{server} cookie {server} check inter 50ms"
        )
        .unwrap();
    }
    let path = lab.path("haproxy.cfg");
    std::fs::write(&path, file).unwrap();
    tokio::process::Command::new(HAPROXY)
        .args(["-db", "-f"])
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_drain_waits_for_the_sessions_then_maint_and_an_admission_is_found_up() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    let slow = {
        let front = bed.lab.path("front.sock");
        let request = "GET /slow HTTP/1.0\r\nCookie: SERVER=jb1\r\n\r\n";
        tokio::spawn(async move { said(front, request).await })
    };
    while !bed
        .tell("show stat web 4 -1")
        .await
        .contains("web,jb1,0,0,1,")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_secs(50)));
    bed.session.dispatch(id("drain", 1), drain).await;
    bed.until_admin("8").await;
    // The trap: with its cookie a client still gets there.
    assert_eq!(bed.ask("/", "jb1").await, "jb1");
    assert_eq!(bed.ask("/", "").await, "jb2");

    bed.slow.add_permits(1);
    let done = bed.session.outcome(&id("drain", 1)).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(
        done.evidence.contains("no session left") && done.evidence.contains("web/jb1: MAINT"),
        "{}",
        done.evidence
    );
    assert!(
        slow.await.unwrap().ends_with("jb1\n"),
        "the request was lost"
    );
    assert_eq!(bed.ask("/", "jb1").await, "jb2");

    let admit = Command::Admit(bed.member("web", "jb1", Duration::ZERO));
    let done = bed.dispatch("admit", admit.clone()).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(
        done.evidence.contains("ready; web/jb1: UP,"),
        "{}",
        done.evidence
    );
    assert_eq!(bed.ask("/", "jb1").await, "jb1");
    let again = bed.dispatch("again", admit).await;
    assert!(again.evidence.starts_with("already ready"), "{again:?}");
}

#[tokio::test]
async fn a_drain_ends_with_its_time_and_says_how_many_sessions_are_left() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    let front = bed.lab.path("front.sock");
    let request = "GET /slow HTTP/1.0\r\nCookie: SERVER=jb1\r\n\r\n";
    let slow = tokio::spawn(async move { said(front, request).await });
    while !bed
        .tell("show stat web 4 -1")
        .await
        .contains("web,jb1,0,0,1,")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_millis(300)));
    let done = bed.dispatch("drain", drain).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(
        done.evidence.contains("its time is over: 1 session left")
            && done.evidence.contains("MAINT"),
        "{}",
        done.evidence
    );
    assert_eq!(bed.admin().await, "1");
    slow.abort();
}

#[tokio::test]
async fn a_server_that_does_not_come_up_for_the_balancer_is_not_admitted() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    std::fs::remove_file(bed.lab.path("jb1")).unwrap();
    let admit = Command::Admit(bed.member("web", "jb1", Duration::ZERO));
    while !bed.tell("show stat web 4 -1").await.contains(",DOWN,") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bed.session
        .dispatch_within(id("admit", 1), admit, 1_000)
        .await;
    let report = bed.session.outcome(&id("admit", 1)).await;
    assert_ne!(report.state(), State::Done, "{report:?}");
    assert!(
        report.evidence.contains("web/jb1: DOWN"),
        "{}",
        report.evidence
    );
}

#[tokio::test]
async fn what_does_not_exist_is_a_failure_that_names_what_does() {
    let Some(mut bed) = Bed::new("\"web\", \"wbe\"").await else {
        return;
    };
    let limit = Duration::from_secs(1);
    let server = bed.member("web", "jb9", limit);
    let report = bed.dispatch("server", Command::Drain(server)).await;
    assert_eq!(report.state(), State::Failed, "{report:?}");
    assert!(
        report
            .evidence
            .contains("backend web has no server jb9; it has jb1, jb2"),
        "{}",
        report.evidence
    );
    let backend = bed.member("wbe", "jb1", limit);
    let report = bed.dispatch("backend", Command::Drain(backend)).await;
    assert!(
        report
            .evidence
            .contains("haproxy has no backend wbe; it has web"),
        "{}",
        report.evidence
    );
}

#[tokio::test]
async fn what_the_agents_file_does_not_permit_is_refused_with_the_line_that_would() {
    let Some(mut bed) = Bed::new("\"api\"").await else {
        return;
    };
    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_secs(1)));
    let report = bed.dispatch("drain", drain).await;
    assert_eq!(report.state(), State::Refused, "{report:?}");
    assert!(
        report.evidence.contains("backends = [\"api\", \"web\"]"),
        "{}",
        report.evidence
    );
    assert_eq!(bed.admin().await, "0");
}

#[tokio::test]
async fn a_cancelled_drain_leaves_the_member_as_it_was_put_and_says_so() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    let front = bed.lab.path("front.sock");
    let request = "GET /slow HTTP/1.0\r\nCookie: SERVER=jb1\r\n\r\n";
    let slow = tokio::spawn(async move { said(front, request).await });
    while !bed
        .tell("show stat web 4 -1")
        .await
        .contains("web,jb1,0,0,1,")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_secs(50)));
    bed.session.dispatch(id("drain", 1), drain).await;
    bed.until_admin("8").await;
    let cancel = v1::Cancel {
        term: 1,
        id: Some(id("drain", 1)),
    };
    bed.session.order(Order::Cancel(cancel)).await;
    let report = bed.session.outcome(&id("drain", 1)).await;
    assert_eq!((report.state(), report.repeatable), (State::Unknown, true));
    assert!(report.evidence.contains("1 session"), "{}", report.evidence);
    assert_eq!(bed.admin().await, "8");
    slow.abort();
}

#[tokio::test]
async fn what_changes_behind_our_back_is_put_back_also_by_the_next_agent_and_after_a_restart_of_haproxy()
 {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    bed.assign(false).await;
    // What no plan has put to anything is let be.
    bed.tell("set server web/jb1 state drain").await;
    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_secs(1)));
    let done = bed.dispatch("drain", drain).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(!bed.lab.log().contains("behind our back"));
    bed.tell("set server web/jb1 state ready").await;
    bed.until_log("was ready behind our back, and is put back to maint")
        .await;
    bed.until_admin("1").await;

    drop(bed.agent.take());
    bed.haproxy.kill().await.unwrap();
    bed.haproxy = balance(&bed.lab);
    bed.until_up().await;
    bed.agent = Some(bed.lab.start().await);
    bed.session = bed.coordinator.session(2).await;
    bed.assign(false).await;
    bed.until_admin("1").await;
}

#[tokio::test]
async fn what_is_only_watched_is_told_of_and_left_as_it_is() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    bed.assign(true).await;
    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_secs(1)));
    let done = bed.dispatch("drain", drain).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    bed.tell("set server web/jb1 state ready").await;
    bed.until_log("is ready behind our back, and was put to maint")
        .await;
    assert_eq!(bed.admin().await, "0");
}

#[tokio::test]
async fn a_balancer_that_dies_is_waited_for_and_the_switch_goes_on_when_it_is_back() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    bed.haproxy.kill().await.unwrap();
    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_secs(1)));
    bed.session.dispatch(id("drain", 1), drain).await;
    bed.until_log("a member is switched").await;
    bed.haproxy = balance(&bed.lab);
    let done = bed.session.outcome(&id("drain", 1)).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert_eq!(bed.admin().await, "1");
}

#[tokio::test]
async fn a_balancer_that_stays_away_is_told_of_with_what_there_is_to_do() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    bed.haproxy.kill().await.unwrap();
    let within = Duration::from_secs(1);
    for (step, command, way_out) in [
        (
            "drain",
            Command::Drain(bed.member("web", "jb1", within)),
            "while it is down it sends nobody",
        ),
        (
            "admit",
            Command::Admit(bed.member("web", "jb1", within)),
            "`interlockctl startup --service web` lets web@jb1 in again",
        ),
    ] {
        bed.session
            .dispatch_within(id(step, 1), command, 4_000)
            .await;
        let report = bed.session.outcome(&id(step, 1)).await;
        assert_eq!(report.state(), State::Failed, "{report:?}");
        for part in ["cannot be reached", "start lb on this node", way_out] {
            assert!(report.evidence.contains(part), "{report:?}");
        }
    }
}
