//! Members of a real nginx: marked `down` in its file and reloaded, and what goes wrong with that.
//!
//! nginx listens on a socket in a temporary directory and takes a client's address from a header, so that clients of many
//! networks can ask. Its members listen on ports that the kernel chooses.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::AttemptState as State;
use interlock_proto::v1::dispatch::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Child;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::lab::{Agent, Lab, has};
use crate::scripted::{Coordinator, PATIENCE, Session, id};

const NGINX: &str = "/usr/sbin/nginx";
const NAMES: [&str; 3] = ["a", "b", "c"];

/// An agent beside an nginx with the members `a`, `b` and `c` in its upstream `web`.
struct Bed {
    lab: Lab,
    /// Its end would end the session.
    _coordinator: Coordinator,
    agent: Option<Agent>,
    session: Session,
    nginx: Child,
    /// Where each member is, by its name.
    members: BTreeMap<&'static str, String>,
    slow: Slow,
    /// How many drains were asked for.
    drains: u32,
}

/// Requests of `/slow`.
#[derive(Clone)]
struct Slow {
    /// One permit for each that has begun.
    begun: Arc<Semaphore>,
    /// One permit lets one of this member end.
    end: BTreeMap<&'static str, Arc<Semaphore>>,
}

impl Bed {
    /// None, with a word about it, where there is no nginx. `more` is said of it in the agent's own file.
    async fn new(more: &str) -> Option<Self> {
        if !has("members of nginx", NGINX, "nginx") {
            return None;
        }
        let lab = Lab::new();
        let mut coordinator = lab.coordinator().await;
        let slow = Slow {
            begun: Arc::new(Semaphore::new(0)),
            end: NAMES.map(|name| (name, Arc::new(Semaphore::new(0)))).into(),
        };
        let mut members = BTreeMap::new();
        for name in NAMES {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            members.insert(name, listener.local_addr().unwrap().to_string());
            tokio::spawn(serve(listener, name, slow.clone()));
        }
        let here = lab.here();
        fs::write(lab.path("nginx.conf"), configuration(&here)).unwrap();
        fs::write(lab.path("web.inc"), upstream(&members)).unwrap();
        fs::set_permissions(lab.path("web.inc"), fs::Permissions::from_mode(0o640)).unwrap();
        // Stands for `nginx -t`, and waits while there is a file `hang`.
        let test = format!(
            "#!/bin/sh\nwhile [ -e {here}/hang ]; do sleep 0.02; done\nexec {NGINX} -t -e stderr -c {here}/nginx.conf\n"
        );
        fs::write(lab.path("test"), test).unwrap();
        fs::set_permissions(lab.path("test"), fs::Permissions::from_mode(0o755)).unwrap();
        lab.configure(
            &coordinator.endpoint,
            &format!(
                "[allow.services]\nlb = {{ nginx = {{ file = \"{here}/web.inc\", upstreams = [\"web\"], test = \
                 [\"{here}/test\"], pid = \"{here}/nginx.pid\"{} }} }}\n",
                more.replace("HERE", &here)
            ),
        );
        let nginx = balance(&lab).await;
        let agent = lab.start().await;
        let session = coordinator.session(1).await;
        Some(Self {
            lab,
            _coordinator: coordinator,
            agent: Some(agent),
            session,
            nginx,
            members,
            slow,
            drains: 0,
        })
    }

    fn member(&self, name: &str, within: Duration) -> v1::MemberCommand {
        let server = self.members.get(name).cloned();
        v1::MemberCommand {
            balancer: "lb".into(),
            member: Some(v1::Member {
                service: "web".into(),
                node: name.into(),
                backends: vec!["web".into()],
                server: server.unwrap_or_else(|| format!("{name}:80")),
                by: Some(v1::member::By::NginxFile(self.file().display().to_string())),
            }),
            within_ms: u64::try_from(within.as_millis()).unwrap(),
            then: "maint".into(),
        }
    }

    async fn drain(&mut self, name: &str) -> v1::AttemptReport {
        let drain = Command::Drain(self.member(name, Duration::from_secs(40)));
        self.drains += 1;
        self.dispatch(&format!("drain-{}", self.drains), drain)
            .await
    }

    async fn dispatch(&mut self, step: &str, command: Command) -> v1::AttemptReport {
        self.session.dispatch(id(step, 1), command).await;
        self.session.outcome(&id(step, 1)).await
    }

    /// Has the agent look after `b`, twenty times a second.
    async fn assign(&self, watch_only: bool) {
        let lb = v1::InstanceCommand {
            service: "lb".into(),
            parts: Vec::new(),
        };
        let member = self.member("b", Duration::ZERO).member;
        self.session
            .assign_all(&[lb], 0, Vec::new(), |instance| {
                instance.members = vec![v1::HeldMember {
                    member: member.clone(),
                    every_ms: 50,
                    watch_only,
                    ..Default::default()
                }];
            })
            .await;
    }

    fn file(&self) -> PathBuf {
        self.lab.path("web.inc")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// The line of a member, marked `down`.
    fn marked(&self, name: &str) -> String {
        let address = &self.members[name];
        upstream(&self.members).replace(
            &format!("server {address} max_fails=0;"),
            &format!("server {address} max_fails=0 down;"),
        )
    }

    /// Somebody's reload.
    async fn reload(&self) {
        let status = tokio::process::Command::new(NGINX)
            .args(["-e", "stderr", "-s", "reload", "-c"])
            .arg(self.lab.path("nginx.conf"))
            .stderr(Stdio::null())
            .status();
        assert!(status.await.unwrap().success());
    }

    /// Who answers clients of many networks.
    async fn answers(&self) -> BTreeMap<u8, String> {
        let mut answers = BTreeMap::new();
        for network in 0..60 {
            answers.insert(network, self.ask("/", network).await);
        }
        answers
    }

    /// Who answers a client of this network; empty if nobody does.
    async fn ask(&self, path: &str, network: u8) -> String {
        said(self.lab.path("front.sock"), path, network).await
    }

    /// A request that takes until it is let go, of some client that this member answers; it has arrived there.
    async fn ask_slowly(&self, member: &str) -> JoinHandle<String> {
        let answers = self.answers().await;
        let network = answers.iter().find(|(_, name)| *name == member);
        let (socket, network) = (self.lab.path("front.sock"), *network.unwrap().0);
        let asking = tokio::spawn(async move { said(socket, "/slow", network).await });
        self.slow.begun.acquire().await.unwrap().forget();
        asking
    }

    async fn until(&self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let waiting = async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}; {}", self.lab.log()));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // The master takes its workers with it.
        if let Some(pid) = self.nginx.id() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

fn configuration(here: &str) -> String {
    let temporary = |name: &str| format!(" {name}_temp_path {here}/{name};\n");
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(temporary)
        .concat();
    format!(
        "daemon off;\nuser root root;\nworker_processes 2;\npid {here}/nginx.pid;\nevents {{ worker_connections 64; \
         }}\nhttp {{\n access_log off;\n{paths} set_real_ip_from unix:;\n real_ip_header X-Real-IP;\n include \
         {here}/*.inc;\n server {{\n  listen unix:{here}/front.sock;\n  location / {{ proxy_pass http://web; \
         }}\n }}\n}}\n"
    )
}

fn upstream(members: &BTreeMap<&str, String>) -> String {
    let lines = members
        .iter()
        .map(|(name, address)| format!("    server {address} max_fails=0; # {name}\n"));
    let lines: String = lines.collect();
    format!("# of the owner\nupstream web {{\n    ip_hash;\n{lines}}}\n")
}

/// Starts nginx; returns when it answers.
async fn balance(lab: &Lab) -> Child {
    let _ = fs::remove_file(lab.path("front.sock"));
    let nginx = tokio::process::Command::new(NGINX)
        .args(["-e", "stderr", "-c"])
        .arg(lab.path("nginx.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let waiting = async {
        while said(lab.path("front.sock"), "/", 0).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, waiting).await;
    answered.expect("nginx answers");
    nginx
}

/// The last line of an answer; empty if there is none.
async fn said(socket: PathBuf, path: &str, network: u8) -> String {
    let Ok(mut stream) = UnixStream::connect(socket).await else {
        return String::new();
    };
    let request = format!("GET {path} HTTP/1.0\r\nX-Real-IP: 10.0.{network}.1\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() {
        return String::new();
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.lines().last().unwrap_or_default().to_owned()
}

/// Answers each request with the member's name; those of `/slow` when they are let go.
async fn serve(listener: TcpListener, name: &'static str, slow: Slow) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let slow = slow.clone();
        tokio::spawn(async move {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap_or(0);
            if request[..length].starts_with(b"GET /slow") {
                slow.begun.add_permits(1);
                slow.end[name].acquire().await.unwrap().forget();
            }
            let answer = format!("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n{name}\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

#[tokio::test]
async fn a_member_is_marked_down_no_other_client_moves_and_it_comes_back_to_its_own() {
    let Some(mut bed) = Bed::new("").await else {
        return;
    };
    let before = bed.answers().await;
    assert!(before.values().any(|name| name == "b"), "{before:?}");
    let owned = fs::metadata(bed.file()).unwrap();

    let done = bed.drain("b").await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(
        done.evidence.contains("no session left after")
            && done
                .evidence
                .contains(&format!("web/{}: down, 0 connections", bed.members["b"])),
        "{}",
        done.evidence
    );
    assert_eq!(bed.text(), bed.marked("b"));
    let now = fs::metadata(bed.file()).unwrap();
    assert_eq!(
        (now.mode(), now.uid(), now.gid()),
        (owned.mode(), owned.uid(), owned.gid())
    );
    for (network, name) in bed.answers().await {
        if before[&network] == "b" {
            assert_ne!(name, "b", "of network {network}");
        } else {
            assert_eq!(
                name, before[&network],
                "the client of network {network} was moved"
            );
        }
    }

    let admit = Command::Admit(bed.member("b", Duration::ZERO));
    let done = bed.dispatch("admit", admit.clone()).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(done.evidence.starts_with("ready; web/"), "{done:?}");
    assert_eq!(bed.text(), upstream(&bed.members));
    assert_eq!(bed.answers().await, before);
    let again = bed.dispatch("again", admit).await;
    assert!(again.evidence.starts_with("already ready"), "{again:?}");
}

#[tokio::test]
async fn a_drain_waits_for_what_the_member_has_and_not_for_what_others_have() {
    let Some(mut bed) = Bed::new("").await else {
        return;
    };
    let (of_a, of_b) = (bed.ask_slowly("a").await, bed.ask_slowly("b").await);
    let drain = Command::Drain(bed.member("b", Duration::from_millis(700)));
    let done = bed.dispatch("limit", drain).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(
        done.evidence.contains("its time is over: 1 session left"),
        "{}",
        done.evidence
    );
    let drain = Command::Drain(bed.member("b", Duration::from_secs(40)));
    bed.session.dispatch(id("wait", 1), drain).await;
    let waits = |state| state == State::GoingDown;
    bed.session.report(&id("wait", 1), waits).await;
    bed.slow.end["b"].add_permits(1);
    let done = bed.session.outcome(&id("wait", 1)).await;
    assert!(done.evidence.contains("no session left"), "{done:?}");
    assert_eq!(of_b.await.unwrap(), "b", "the request was lost");
    assert!(!of_a.is_finished(), "that of another member was waited for");
    bed.slow.end["a"].add_permits(1);
    assert_eq!(of_a.await.unwrap(), "a");
}

#[tokio::test]
async fn what_nginx_refuses_is_put_back_and_said_in_its_own_words() {
    let Some(mut bed) = Bed::new("").await else {
        return;
    };
    let (before, text) = (bed.answers().await, bed.text());
    for (broken, said, whose) in [
        (
            "upstream other {\n server nobody.invalid:80;\n}\n",
            "the name in server nobody.invalid:80 is not found (",
            "that is another member than the one that is switched",
        ),
        (
            "upstrem other { }\n",
            "unknown directive \"upstrem\" in",
            "that has nothing to do with this member, it was so before",
        ),
    ] {
        fs::write(bed.lab.path("other.inc"), broken).unwrap();
        let report = bed.drain("b").await;
        assert_eq!(report.state(), State::Failed, "{report:?}");
        for part in [
            "nginx refuses its configuration",
            said,
            whose,
            "web.inc is as it was",
        ] {
            assert!(
                report.evidence.contains(part),
                "{part}: {}",
                report.evidence
            );
        }
        assert_eq!(bed.text(), text);
        assert_eq!(bed.answers().await, before);
        fs::remove_file(bed.lab.path("other.inc")).unwrap();
    }
}

#[tokio::test]
async fn the_member_whose_name_is_not_found_is_told_from_others() {
    let Some(mut bed) = Bed::new("").await else {
        return;
    };
    let text = bed.text().replace(
        "    ip_hash;\n",
        "    ip_hash;\n    server gone.invalid:80 weight=2;\n",
    );
    fs::write(bed.file(), &text).unwrap();
    let report = bed.drain("gone.invalid").await;
    assert_eq!(report.state(), State::Failed, "{report:?}");
    assert!(
        report.evidence.contains("that is this member"),
        "{}",
        report.evidence
    );
    let report = bed.drain("b").await;
    assert!(
        report.evidence.contains("that is another member"),
        "{}",
        report.evidence
    );
    assert_eq!(bed.text(), text);
}

#[tokio::test]
async fn a_reload_that_is_not_taken_is_a_failure_and_the_file_is_put_back() {
    let Some(mut bed) = Bed::new(", reload = [\"/bin/false\"]").await else {
        return;
    };
    let text = bed.text();
    let report = bed.drain("b").await;
    assert_eq!(report.state(), State::Failed, "{report:?}");
    assert!(
        report
            .evidence
            .contains("`/bin/false` ended with exit code 1")
            && report.evidence.contains("web.inc is as it was"),
        "{}",
        report.evidence
    );
    assert_eq!(bed.text(), text);
    // What could not be done is not held either.
    assert_eq!(
        fs::read_to_string(bed.lab.path("state/members.json")).unwrap(),
        "[]"
    );
}

#[tokio::test]
async fn a_command_of_the_agents_file_reloads_as_well() {
    let Some(mut bed) = Bed::new(", reload = [\"/bin/sh\", \"-c\", \"kill -HUP $(cat $(dirname $0)/nginx.pid)\", \"HERE/x\"]").await else {
        return;
    };
    let done = bed.drain("b").await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(!bed.answers().await.values().any(|name| name == "b"));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_permitted_is_refused() {
    let Some(mut bed) = Bed::new("").await else {
        return;
    };
    let report = bed.drain("nobody").await;
    assert_eq!(report.state(), State::Failed, "{report:?}");
    assert!(
        report
            .evidence
            .contains("web.inc is left as it is: upstream web has no server nobody:80"),
        "{}",
        report.evidence
    );
    let mut other = bed.member("b", Duration::ZERO);
    other.member.as_mut().unwrap().backends = vec!["api".into()];
    let report = bed.dispatch("other", Command::Drain(other)).await;
    assert_eq!(report.state(), State::Refused, "{report:?}");
    assert!(
        report.evidence.contains("upstreams = [\"web\", \"api\"]"),
        "{}",
        report.evidence
    );

    let pid = rustix::process::Pid::from_raw(i32::try_from(bed.nginx.id().unwrap()).unwrap());
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::QUIT).unwrap();
    bed.nginx.wait().await.unwrap();
    let report = bed.drain("b").await;
    assert_eq!(report.state(), State::Failed, "{report:?}");
    assert!(
        report.evidence.contains("nginx does not run: there is no"),
        "{}",
        report.evidence
    );
    assert_eq!(bed.text(), upstream(&bed.members));
}

#[tokio::test]
async fn what_is_changed_behind_our_back_is_put_back_and_what_is_watched_only_is_let_be() {
    let Some(mut bed) = Bed::new("").await else {
        return;
    };
    bed.assign(false).await;
    let done = bed.drain("b").await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    // As an editor does it: another file under the same name.
    let edited = upstream(&bed.members).replace("ip_hash;", "ip_hash; keepalive 4;");
    fs::write(bed.lab.path("web.new"), &edited).unwrap();
    fs::rename(bed.lab.path("web.new"), bed.file()).unwrap();
    bed.reload().await;
    let marked = bed.marked("b").replace("ip_hash;", "ip_hash; keepalive 4;");
    bed.until("it is put back", |bed| bed.text() == marked)
        .await;
    bed.until("it is told", |bed| {
        bed.lab
            .log()
            .contains("was ready behind our back, and is put back to maint")
    })
    .await;
    assert!(!bed.answers().await.values().any(|name| name == "b"));
    let put_back = |lb: &v1::Instance| lb.members.iter().any(|it| it.put_back_ms > 0);
    let lb = bed.session.instance("lb", put_back).await;
    let [seen] = lb.members.as_slice() else {
        panic!("{lb:?}");
    };
    assert_eq!(
        (seen.node.as_str(), seen.state()),
        ("b", v1::MemberState::Maint)
    );
    assert_eq!(
        seen.put_back,
        "web@b was ready behind our back, and is put back to maint"
    );

    bed.assign(true).await;
    fs::write(bed.file(), &edited).unwrap();
    bed.until("it is told", |bed| {
        bed.lab
            .log()
            .contains("is ready behind our back, and was put to maint")
    })
    .await;
    assert_eq!(bed.text(), edited);
}

#[tokio::test]
async fn a_change_that_a_killed_agent_has_begun_is_gone_on_with_by_the_next() {
    let Some(mut bed) = Bed::new("").await else {
        return;
    };
    bed.assign(false).await;
    fs::write(bed.lab.path("hang"), "").unwrap();
    let drain = Command::Drain(bed.member("b", Duration::from_secs(40)));
    bed.session.dispatch(id("drain", 1), drain).await;
    bed.until("the file is changed", |bed| bed.text() == bed.marked("b"))
        .await;
    bed.agent.take().unwrap().kill().await;
    assert!(
        bed.answers().await.values().any(|name| name == "b"),
        "nobody has reloaded"
    );

    fs::remove_file(bed.lab.path("hang")).unwrap();
    bed.agent = Some(bed.lab.start().await);
    bed.until("the change is over", |bed| {
        let mut files = fs::read_dir(bed.lab.path("state")).unwrap();
        !files.any(|file| {
            file.unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("nginx-")
        })
    })
    .await;
    assert_eq!(bed.text(), bed.marked("b"));
    assert!(!bed.answers().await.values().any(|name| name == "b"));
}
