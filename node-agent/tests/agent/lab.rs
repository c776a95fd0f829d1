//! A node in a temporary directory: certificates, a file, the agent's program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use interlock_mesh::channel::{self, Expected, Target};
use interlock_mesh::credentials::{self, Files, system_clock};
use interlock_mesh::identity::{Identity, Kind};
use interlock_mesh::pki::{CertificateAuthority, Existing, IssueRequest};
use interlock_proto::v1;
use interlock_proto::v1::node_service_client::NodeServiceClient;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::scripted::{Coordinator, PATIENCE};

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) use crate::skip::skip;

/// Is this program here? What cannot be tested without it is said otherwise.
pub(crate) fn has(what: &str, program: &str, package: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        skip(
            what,
            &format!("{program} is missing; `cargo xtask test` installs {package}"),
        );
    }
    there
}

/// A node of a cluster `lab`, `n1` if nothing else is said.
pub(crate) struct Lab {
    authority: Arc<CertificateAuthority>,
    dir: TempDir,
    node: &'static str,
    listen: &'static str,
}

/// A running agent. Killed when dropped, with everything that it manages.
pub(crate) struct Agent {
    child: Child,
    pub(crate) address: String,
    state: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let cluster = "lab".parse().unwrap();
        let authority =
            CertificateAuthority::init(cluster, SystemTime::now() - DAY, 100 * DAY).unwrap();
        Self::of(Arc::new(authority), "n1", "127.0.0.1:0")
    }

    /// Another node of the same cluster, whose agent listens here.
    pub(crate) fn beside(&self, node: &'static str, listen: &'static str) -> Self {
        Self::of(Arc::clone(&self.authority), node, listen)
    }

    fn of(authority: Arc<CertificateAuthority>, node: &'static str, listen: &'static str) -> Self {
        let lab = Self {
            authority,
            dir: tempfile::tempdir().unwrap(),
            node,
            listen,
        };
        fs::write(lab.path("boot_id"), "boot-1\n").unwrap();
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn issue(&self, uri: &str) -> Files {
        let identity: Identity = uri.parse().unwrap();
        let name = format!("{}-{}", identity.kind(), identity.name());
        let request = IssueRequest {
            identity,
            names: Vec::new(),
            not_before: SystemTime::now() - DAY,
            life: 10 * DAY,
        };
        let issued = self.authority.issue(&request).unwrap();
        issued
            .save(
                self.dir.path(),
                &name,
                self.authority.cert_pem(),
                Existing::Replace,
            )
            .unwrap()
    }

    pub(crate) async fn coordinator(&self) -> Coordinator {
        Coordinator::start(self.issue("interlock://lab/coordinator/mgmt1")).await
    }

    /// Writes the agent's file.
    pub(crate) fn configure(&self, endpoint: &str, rest: &str) {
        let (node, listen) = (self.node, self.listen);
        let files = self.issue(&format!("interlock://lab/agent/{node}"));
        let here = self.dir.path().display();
        let file = format!(
            "coordinators = [\"{endpoint}\"]\n[node]\nname = \"{node}\"\nstate_dir = \"{here}/state\"\nboot_id_path = \
             \"{here}/boot_id\"\n[tls]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n[listen]\naddress = \
             \"{listen}\"\n{rest}",
            files.authority.display(),
            files.certificate.display(),
            files.key.display(),
        );
        fs::write(self.path("agent.toml"), file).unwrap();
    }

    /// Starts the agent; returns when it listens.
    pub(crate) async fn start(&self) -> Agent {
        self.start_in(None).await
    }

    /// The same in a control group, as an init system would start it.
    pub(crate) async fn start_in(&self, group: Option<&Path>) -> Agent {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        // Ignored also by the program that is executed: a limit of a file's size is an error then, not the end. That its
        // parent ignored SIGCHLD must make no difference to an agent (sigaction(2): children then need no wait).
        let script = "trap '' XFSZ; if [ -n \"$2\" ]; then echo 0 > \"$2/cgroup.procs\" || exit 1; fi; exec env --ignore-signal=CHLD \"$0\" run --config \"$1\"";
        let mut child = Command::new("/bin/sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_interlock-agent")])
            .arg(self.path("agent.toml"))
            .arg(group.unwrap_or(Path::new("")))
            .env("INTERLOCK_LOG", "debug")
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .expect("it listens")
            .unwrap();
        let Some(line) = line else {
            panic!("the agent ended: {}", self.log())
        };
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        Agent {
            child,
            address,
            state: self.path("state"),
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// A client of the agent's own service, as this person.
    pub(crate) async fn node_service(
        &self,
        agent: &Agent,
        uri: &str,
    ) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel(agent, uri).await)
    }

    pub(crate) async fn channel(&self, agent: &Agent, uri: &str) -> Channel {
        self.channel_as(agent, uri, Kind::Operator).await
    }

    /// The same, as somebody of this kind.
    pub(crate) async fn channel_as(&self, agent: &Agent, uri: &str, kind: Kind) -> Channel {
        let (_store, credentials) =
            credentials::open(self.issue(uri), kind, system_clock()).unwrap();
        let target = Target {
            address: agent.address.parse().unwrap(),
            expected: Expected::Agent(self.node.parse().unwrap()),
        };
        channel::connect(&target, &credentials, &channel::Options::default())
            .await
            .unwrap()
    }

    /// The directory of this lab as text, without a slash at its end.
    pub(crate) fn here(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// Does any command of a run live?
    pub(crate) fn any_run_lives(&self) -> bool {
        running(&self.path("state")).into_iter().any(lives)
    }

    /// Waits until the shim of every run has written down how it ended, or is gone.
    pub(crate) async fn runs_have_ended(&self) {
        let waiting = async {
            while !running(&self.path("state")).is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("every run ends");
    }

    /// Asks the agent until what it says is as wanted.
    pub(crate) async fn node(&self, agent: &Agent, wanted: impl Fn(&v1::Node) -> bool) -> v1::Node {
        let mut client = self
            .node_service(agent, "interlock://lab/operator/rita?role=reader")
            .await;
        let asking = async {
            loop {
                let node = client
                    .get_node(v1::GetNodeRequest {})
                    .await
                    .unwrap()
                    .into_inner();
                if wanted(&node) {
                    return node;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| panic!("never as wanted: {}", self.log()))
    }
}

impl Agent {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Tells it to end and waits until it has.
    pub(crate) async fn stop(mut self) {
        signal(self.pid(), Signal::TERM);
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .unwrap();
        assert!(status.success(), "{status}");
        self.state = PathBuf::new();
    }

    /// As a power cut would end it, but for what it manages.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
        self.state = PathBuf::new();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.state.as_os_str().is_empty() {
            return;
        }
        // First the agent, so that its guard restarts nothing.
        let _ = self.child.start_kill();
        for pid in running(&self.state) {
            signal(pid, Signal::KILL);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What agents left that were stopped in peace.
        for pid in running(&self.path("state")) {
            signal(pid, Signal::KILL);
        }
    }
}

/// The pids of commands whose runs have not ended.
fn running(state: &Path) -> Vec<u32> {
    let Ok(runs) = fs::read_dir(state.join("runs")) else {
        return Vec::new();
    };
    let pid = |dir: PathBuf| {
        if dir.join("exit.json").exists() {
            return None;
        }
        // A look at an exec service is a run of its own, and may be under way at any moment.
        let name = dir.file_name()?.to_str()?;
        if name.starts_with("check.") {
            return None;
        }
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.join("run.json")).ok()?).ok()?;
        u32::try_from(record["child"]["pid"].as_u64()?).ok()
    };
    runs.filter_map(|run| pid(run.ok()?.path())).collect()
}

/// Is it there, and not a zombie? The shim writes down the end of its command a little after it: `State` of proc(5).
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| !state.trim_start().starts_with('Z'))
    })
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid");
    // It may just have ended.
    let _ = kill_process(pid, signal);
}

/// The pid in the reason of a running process.
pub(crate) fn pid_of(instance: &v1::Instance) -> u32 {
    instance
        .reason
        .strip_prefix("pid ")
        .unwrap_or_else(|| panic!("{instance:?}"))
        .parse()
        .unwrap()
}

/// Waits until a file has this content.
pub(crate) async fn content(path: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let looking = async {
        loop {
            if let Ok(text) = fs::read_to_string(path)
                && wanted(&text)
            {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .expect("the file is written")
}
