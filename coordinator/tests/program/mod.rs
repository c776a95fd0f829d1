//! The coordinator's program, with the certificates of a cluster that was made for it.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use interlock_mesh::channel::{self, Expected, Target};
use interlock_mesh::credentials::{self, Files, system_clock};
use interlock_mesh::identity::{Identity, Kind};
use interlock_mesh::pki::{CertificateAuthority, Existing, IssueRequest};
use tempfile::TempDir;
use tonic::transport::Channel;

const DAY: Duration = Duration::from_secs(86_400);

/// A coordinator with a directory of its own. Killed at the end.
pub(crate) struct Program {
    cluster: &'static str,
    dir: TempDir,
    authority: CertificateAuthority,
    child: Option<Child>,
    target: Option<Target>,
    operator: Option<Channel>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Program {
    /// Of a new cluster with this name; not started.
    pub(crate) fn new(cluster: &'static str) -> Self {
        let now = SystemTime::now();
        let name = cluster.parse().unwrap();
        let authority = CertificateAuthority::init(name, now - DAY, 100 * DAY).unwrap();
        Self::of(cluster, authority)
    }

    fn of(cluster: &'static str, authority: CertificateAuthority) -> Self {
        Self {
            cluster,
            dir: tempfile::tempdir().unwrap(),
            authority,
            child: None,
            target: None,
            operator: None,
        }
    }

    /// Another one of the same cluster, with nothing in its directory; not started, and this one is killed.
    pub(crate) fn successor(mut self) -> Self {
        self.kill();
        let (cert, key) = (self.authority.cert_pem(), self.authority.key_pem());
        let authority = CertificateAuthority::load(cert, key.as_str()).unwrap();
        Self::of(self.cluster, authority)
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self, who: &str) -> Files {
        let uri = format!("interlock://{}/{who}", self.cluster);
        let identity: Identity = uri.parse().unwrap();
        let name = format!("{}-{}", identity.kind(), identity.name());
        let request = IssueRequest {
            identity,
            names: Vec::new(),
            not_before: SystemTime::now() - DAY,
            life: 10 * DAY,
        };
        let issued = self.authority.issue(&request).unwrap();
        let (dir, authority) = (self.dir.path(), self.authority.cert_pem());
        issued
            .save(dir, &name, authority, Existing::Replace)
            .unwrap()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it on its store, with this at the end of its file.
    pub(crate) async fn start(&mut self, more: &str) {
        let files = self.issue("coordinator/mgmt1");
        let here = self.dir.path().display();
        let file = format!(
            "name = 'mgmt1'\nlisten = '127.0.0.1:0'\nstate_dir = '{here}'\n[tls]\nca = '{}'\ncert = '{}'\nkey = '{}'\n{more}",
            files.authority.display(),
            files.certificate.display(),
            files.key.display()
        );
        fs::write(self.path("c.toml"), file).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_interlock-coordinator"))
            .args(["run", "--config"])
            .arg(self.path("c.toml"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        self.child = Some(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on ") else {
            panic!("it did not start: {}", self.log())
        };
        self.target = Some(Target {
            address: address.parse().unwrap(),
            expected: Expected::Coordinator,
        });
        let who = "operator/anna?role=admin";
        self.operator = Some(self.connect(who, Kind::Operator).await);
    }

    async fn connect(&self, who: &str, kind: Kind) -> Channel {
        let (_store, credentials) =
            credentials::open(self.issue(who), kind, system_clock()).unwrap();
        let target = self.target.as_ref().unwrap();
        channel::connect(target, &credentials, &channel::Options::default())
            .await
            .unwrap()
    }

    /// A channel of the agent of a node.
    pub(crate) async fn agent_channel(&self, node: &str) -> Channel {
        self.connect(&format!("agent/{node}"), Kind::Agent).await
    }

    /// A channel of an operator.
    pub(crate) fn channel(&self) -> Channel {
        self.operator.clone().unwrap()
    }

    /// What it has logged since its last start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}
