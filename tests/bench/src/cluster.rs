//! A cluster under measurement: certificates, the real coordinator, and the operator who asks it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::programs;
use interlock_mesh::channel::{self, Expected, Target};
use interlock_mesh::credentials::{self, Credentials, Files, system_clock};
use interlock_mesh::identity::{Identity, Kind};
use interlock_mesh::pki::{CertificateAuthority, IssueRequest};
use interlock_model::names::NodeName;
use interlock_proto::v1;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::operation_service_client::OperationServiceClient;
use interlock_proto::v1::plan_service_client::PlanServiceClient;
use tempfile::TempDir;
use tokio::process::Command;
use tonic::transport::Channel;

use crate::body::Trace;
use crate::program::Program;

/// The cluster's name.
const CLUSTER: &str = "bench";

/// The machine of the coordinator.
pub(crate) const MANAGEMENT: &str = "mgmt1";

/// How long certificates live; a run takes minutes.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the cluster may take for whatever is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How often is looked whether it is there.
const LOOK: Duration = Duration::from_millis(50);

/// The longest answer that is taken.
pub(crate) const MESSAGE: usize = 16 << 20;

/// The files of a cluster, in a directory of its own.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
    authority: CertificateAuthority,
}

impl Site {
    /// A cluster with an authority and nothing else.
    pub(crate) fn create() -> Result<Self> {
        let since = SystemTime::now() - Duration::from_secs(60);
        Ok(Self {
            directory: tempfile::Builder::new()
                .prefix("interlock-bench")
                .tempdir()?,
            authority: CertificateAuthority::init(CLUSTER.parse()?, since, LIFE * 2)?,
        })
    }

    /// Where the files are.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a certificate, such as that of `agent/n1`, unless it has been written before. Nothing is flushed: the files
    /// live as long as the run.
    pub(crate) fn issue(&self, member: &str) -> Result<Files> {
        let identity: Identity = format!("interlock://{CLUSTER}/{member}").parse()?;
        let files = Files::named(
            self.path(),
            &format!("{}-{}", identity.kind(), identity.name()),
        );
        if files.key.exists() {
            return Ok(files);
        }
        let issued = self.authority.issue(&IssueRequest {
            identity,
            names: vec!["127.0.0.1".parse()?],
            not_before: SystemTime::now() - Duration::from_secs(60),
            life: LIFE,
        })?;
        let private = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&files.key);
        private?.write_all(issued.key_pem.as_bytes())?;
        fs::write(&files.certificate, issued.cert_pem)?;
        fs::write(&files.authority, self.authority.cert_pem())?;
        Ok(files)
    }

    /// A certificate, ready for use.
    pub(crate) fn member(&self, member: &str, kind: Kind) -> Result<Credentials> {
        let (_, credentials) = credentials::open(self.issue(member)?, kind, system_clock())?;
        Ok(credentials)
    }

    /// Certificates of the agents of these nodes.
    pub(crate) fn agents(&self, nodes: &[NodeName]) -> Result<Vec<(NodeName, Credentials)>> {
        let agent = |node: &NodeName| {
            Ok((
                node.clone(),
                self.member(&format!("agent/{node}"), Kind::Agent)?,
            ))
        };
        nodes.iter().map(agent).collect()
    }
}

/// Names for that many nodes.
pub(crate) fn nodes(count: usize) -> Result<Vec<NodeName>> {
    (1..=count)
        .map(|number| Ok(format!("n{number:04}").parse()?))
        .collect()
}

/// What a coordinator is reached by.
pub(crate) fn target(address: &str) -> Result<Target> {
    Ok(Target {
        address: address.parse()?,
        expected: Expected::Coordinator,
    })
}

/// An operation that is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operated {
    /// How many steps it had.
    pub(crate) steps: usize,
    /// From its start to its end, by the coordinator's clock.
    pub(crate) took: Duration,
}

/// The real coordinator.
#[derive(Debug)]
pub(crate) struct Coordinator {
    /// The program.
    pub(crate) program: Program,
    channel: Channel,
    state: PathBuf,
}

impl Coordinator {
    /// Starts it on a store in a file, and connects to it as an operator.
    pub(crate) async fn start(site: &Site) -> Result<Self> {
        Self::configured(site, "").await
    }

    /// Starts it with further sections in its configuration, and connects to it as an operator. On a site that had one
    /// before it goes on where that one ended.
    pub(crate) async fn configured(site: &Site, sections: &str) -> Result<Self> {
        let files = site.issue(&format!("coordinator/{MANAGEMENT}"))?;
        let operator = site.member("operator/bench?role=admin", Kind::Operator)?;
        let state = site.path().join("coordinator");
        let config = format!(
            "name = {MANAGEMENT:?}\nlisten = '127.0.0.1:0'\nstate_dir = {state:?}\n[tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n{sections}",
            files.authority, files.certificate, files.key,
        );
        let path = site.path().join("coordinator.toml");
        fs::write(&path, config)?;
        let mut command = Command::new(programs::coordinator()?);
        command.args(["run", "--config"]).arg(path);
        let program = Program::start(command, &site.path().join("coordinator.log")).await?;
        let target = target(&program.address.to_string())?;
        let channel = channel::connect(&target, &operator, &channel::Options::default()).await?;
        Ok(Self {
            program,
            channel,
            state,
        })
    }

    /// What agents connect to.
    pub(crate) fn target(&self) -> Result<Target> {
        target(&self.program.address.to_string())
    }

    /// For what agents are asked for, and when.
    pub(crate) fn trace(&self) -> Result<Trace> {
        Ok(Trace::new(self.program.process()?))
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        self.state.join("store.redb")
    }

    /// Applies a spec.
    pub(crate) async fn apply(&self, spec: &str) -> Result<()> {
        let request = v1::ApplySpecRequest {
            source: spec.as_bytes().to_vec(),
            file_name: "bench.yaml".to_owned(),
            ..v1::ApplySpecRequest::default()
        };
        let mut client = ClusterServiceClient::new(self.channel.clone());
        client
            .apply_spec(request)
            .await
            .context("the spec is refused")?;
        Ok(())
    }

    /// Waits until that many nodes are alive and every instance is known.
    pub(crate) async fn settled(&self, nodes: usize) -> Result<()> {
        let known = |instance: &v1::Instance| instance.state() != v1::InstanceState::Unknown;
        self.wait("the agents are not all here", |status| {
            let ready = status.nodes.iter().filter(|node| {
                node.liveness() == v1::Liveness::Alive
                    && node.agent_generation == status.generation
                    && node.instances.iter().all(known)
            });
            ready.count() >= nodes
        })
        .await
    }

    /// Waits until that many checks are green.
    pub(crate) async fn green(&self, checks: usize) -> Result<()> {
        self.wait("the checks are not green", |status| {
            let all = status.nodes.iter().flat_map(|node| &node.checks);
            all.filter(|check| check.verdict() == v1::Verdict::Ok)
                .count()
                >= checks
        })
        .await
    }

    async fn wait(&self, or_else: &'static str, ready: impl Fn(&v1::Status) -> bool) -> Result<()> {
        let mut client =
            ClusterServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE);
        let look = async {
            loop {
                let request = v1::GetStatusRequest {};
                if ready(client.get_status(request).await?.get_ref()) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .context(or_else)?
    }

    /// Plans and runs an operation on the whole cluster, and waits for its end. Nobody watches it meanwhile: watching
    /// costs.
    pub(crate) async fn operate(&self, kind: &str) -> Result<Operated> {
        let request = v1::MakePlanRequest {
            kind: kind.to_owned(),
            all: true,
            ..v1::MakePlanRequest::default()
        };
        let mut plans =
            PlanServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE);
        let plan = plans.make_plan(request).await?.into_inner();
        ensure!(
            !plan.digest.is_empty(),
            "there is no plan for a {kind}: {}",
            plan.report_json
        );
        let mut operations =
            OperationServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE);
        let request = v1::StartOperationRequest {
            digest: plan.digest,
            confirm_cluster: CLUSTER.to_owned(),
            reason: "to measure it".to_owned(),
            single_step: false,
            ..v1::StartOperationRequest::default()
        };
        let started = operations.start_operation(request).await?.into_inner();
        let summary = started.summary.context("an operation without summary")?;
        let wait = async {
            loop {
                tokio::time::sleep(LOOK * 4).await;
                let request = v1::ListOperationsRequest {
                    limit: 1,
                    before: String::new(),
                };
                let listed = operations
                    .list_operations(request)
                    .await?
                    .into_inner()
                    .operations;
                let now = listed
                    .into_iter()
                    .find(|listed| listed.operation == summary.operation);
                let now = now.context("the operation is not listed")?;
                match now.state.as_str() {
                    "done" => return Ok(now),
                    "running" => {}
                    other => anyhow::bail!("{} is {other}: {}", now.operation, now.reason),
                }
            }
        };
        let done = tokio::time::timeout(PATIENCE, wait)
            .await
            .context("the operation does not end")??;
        Ok(Operated {
            steps: started.steps.len(),
            took: Duration::from_millis(done.ended_ms.saturating_sub(done.started_ms)),
        })
    }
}

/// A spec of services one above the other, each on some of `nodes`.
pub(crate) fn spec(nodes: &[NodeName], services: &[(&str, &[NodeName])]) -> String {
    let mut text =
        format!("cluster: {CLUSTER}\ncontrol: {{ coordinators: [{MANAGEMENT}] }}\nnodes:\n");
    for (number, node) in nodes.iter().enumerate() {
        // Writing to a text cannot fail. Nobody connects to these addresses.
        let _ = writeln!(
            text,
            "  {node}: {{ address: 10.{}.{}.1 }}",
            number / 250,
            number % 250 + 1
        );
    }
    text.push_str("services:\n");
    let mut below = None;
    for (service, on) in services {
        let on: Vec<&str> = on.iter().map(NodeName::as_str).collect();
        let _ = writeln!(
            text,
            "  {service}:\n    nodes: [{}]\n    active: all\n    manager: {{ process: {{ name: {service} }} }}",
            on.join(", ")
        );
        if let Some(below) = below {
            let _ = writeln!(text, "    requires: [{below}]");
        }
        below = Some(service);
    }
    text
}
