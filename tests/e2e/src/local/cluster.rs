//! A local cluster, and what can be done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_mesh::channel::Expected;
use interlock_mesh::credentials::Files;
use interlock_mesh::identity::Role;
use interlock_proto::v1::{InstanceState, Liveness};
use rustix::process::Pid;
use tempfile::TempDir;

use super::keeper::{self, Keeper, Start, Stay};
use super::layout::{FENCE, Places};
use super::network::Network;
use super::stand_in::FAIL;
use super::vm::{INIT, Vm, fence};
use super::{Authority, Layout, Life, Machine, Operator, Story};
use crate::{eventually, programs};

/// The last number of the coordinator's address.
const MANAGEMENT: u8 = 5;

/// A running cluster; dropping it ends everything.
#[derive(Debug)]
pub struct Cluster {
    // First, so that nothing runs any more when the directory goes.
    keeper: Keeper,
    network: Network,
    authority: Authority,
    spec: String,
    coordinator: Option<Pid>,
    agents: BTreeMap<String, Pid>,
    hosts: BTreeMap<String, u8>,
    /// Those that can be switched.
    switched: BTreeSet<String>,
    /// Those of them on which no agent runs.
    agentless: BTreeSet<String>,
    /// What starts the agent of a node, where it is not started as it is.
    under: BTreeMap<String, Vec<String>>,
    directory: TempDir,
}

impl Cluster {
    /// Writes all files, starts the coordinator and all agents, applies the spec, and waits until every agent works by
    /// it.
    ///
    /// # Errors
    /// Something of that does not succeed.
    pub fn start(layout: &Layout<'_>) -> Result<Self> {
        let mut cluster = Self::prepare(layout)?;
        cluster.start_coordinator()?;
        cluster.join()?;
        Ok(cluster)
    }

    /// Starts all agents, applies the spec, and waits until every agent works by it.
    ///
    /// # Errors
    /// Something of that does not succeed.
    pub fn join(&mut self) -> Result<()> {
        for node in self.hosts.clone().keys() {
            self.start_agent(node)?;
        }
        let admin = self.admin()?;
        admin.apply(&self.spec, 0)?;
        self.until_connected(&admin)
    }

    /// Writes all files and starts nothing.
    ///
    /// # Errors
    /// A file cannot be written, or a program is not built.
    pub fn prepare(layout: &Layout<'_>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("interlock-local-")
            .tempdir()?;
        let network = Network::take()?;
        let authority = Authority::new("local", &directory.path().join("pki"))?;
        let mut cluster = Self {
            keeper: Keeper::begin()?,
            spec: layout
                .spec
                .replace("NET.", network.prefix())
                .replace("DIR/", &format!("{}/", directory.path().display())),
            network,
            authority,
            coordinator: None,
            agents: BTreeMap::new(),
            hosts: layout
                .machines
                .iter()
                .map(|machine| (machine.node.clone(), machine.host))
                .collect(),
            switched: nodes(layout, |machine| machine.switched),
            agentless: nodes(layout, |machine| machine.agentless),
            under: BTreeMap::new(),
            directory,
        };
        let helper = programs::local()?;
        let endpoint = cluster.endpoint();
        let places = cluster.places(&helper, &endpoint);
        fs::create_dir_all(cluster.path("holds"))?;
        for machine in &layout.machines {
            let here = cluster.path("nodes").join(&machine.node);
            fs::create_dir_all(&here)?;
            let address = cluster.address(machine.host);
            let tls = cluster
                .authority
                .agent(&machine.node, &address, Life::Now)?;
            match machine.agentless {
                true => fs::write(here.join(INIT), places.init(machine).join("\n"))?,
                false => fs::write(here.join("agent.toml"), places.agent_file(machine, &tls)?)?,
            }
        }
        fs::create_dir_all(cluster.path("fence"))?;
        fence::install(&cluster.path("fence").join(FENCE))?;
        // Its machines go with the test.
        fs::write(cluster.path("nodes/owner"), std::process::id().to_string())?;
        let address = cluster.address(MANAGEMENT);
        let tls = cluster.authority.coordinator("mgmt", &address, Life::Now)?;
        let file = places.coordinator_file(&format!("{address}:7443"), &tls);
        fs::write(cluster.path("coordinator.toml"), file)?;
        let under = layout.machines.iter();
        let under = under.map(|it| (it.node.clone(), places.fill_all(&it.under)));
        cluster.under = under.collect();
        Ok(cluster)
    }

    /// Lets everything go on without this process, and tells where its files are and which process keeps it. It ends when
    /// there is a file `end` there.
    ///
    /// # Errors
    /// Nothing goes on.
    pub fn keep(self) -> Result<(PathBuf, Pid)> {
        let stay = Stay {
            until: self.path("end"),
            hold: self.network.holder(),
        };
        let keeper = self.keeper.stay(stay)?;
        Ok((self.directory.keep(), keeper))
    }

    /// Starts a helper of the cluster with these words, which logs to the file of this name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_helper(&self, words: &[&str], log: &str) -> Result<Pid> {
        self.keeper.start(Start {
            program: programs::local()?,
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            log: self.path(log),
        })
    }

    fn places<'a>(&'a self, helper: &'a Path, endpoint: &'a str) -> Places<'a> {
        Places {
            directory: self.directory.path(),
            network: self.network.prefix(),
            helper,
            endpoint,
        }
    }

    /// A file or directory of the cluster.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The address with this last number.
    #[must_use]
    pub fn address(&self, host: u8) -> String {
        format!("{}{host}", self.network.prefix())
    }

    /// Where the coordinator listens: host and port.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}:7443", self.address(MANAGEMENT))
    }

    /// Where the agent of a node listens: host and port.
    ///
    /// # Errors
    /// There is no such node.
    pub fn agent_endpoint(&self, node: &str) -> Result<String> {
        let host = self
            .hosts
            .get(node)
            .with_context(|| format!("no node {node}"))?;
        Ok(format!("{}:7444", self.address(*host)))
    }

    /// The spec as it was applied.
    #[must_use]
    pub fn spec(&self) -> &str {
        &self.spec
    }

    /// The certificate authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What happened to the stand-ins.
    #[must_use]
    pub fn story(&self) -> Story {
        Story::new(&self.path("story"))
    }

    /// The file that holds the node of a service's active side.
    #[must_use]
    pub fn active_file(&self, service: &str) -> PathBuf {
        self.path(&format!("{service}.active"))
    }

    /// The log of the coordinator so far.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn coordinator_log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("coordinator.log"))?)
    }

    /// The log of a node's agent so far.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn agent_log(&self, node: &str) -> Result<String> {
        Ok(fs::read_to_string(
            self.path("nodes").join(node).join("agent.log"),
        )?)
    }

    /// Holds a point of a stand-in: `start:db@db1` or `stop:db@db1`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn hold(&self, point: &str) -> Result<()> {
        Ok(fs::write(self.path("holds").join(point), "")?)
    }

    /// Lets a stand-in fail at a point, until it is released.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn fail(&self, point: &str) -> Result<()> {
        Ok(fs::write(self.path("holds").join(point), FAIL)?)
    }

    /// Lets an instance say that it is paused and waits for something, until `paused:INSTANCE` is released.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn pause(&self, who: &str, waits_for: &str) -> Result<()> {
        let file = self.path("holds").join(format!("paused:{who}"));
        Ok(fs::write(file, waits_for)?)
    }

    /// Lets a held point go on.
    ///
    /// # Errors
    /// It is not held.
    pub fn release(&self, point: &str) -> Result<()> {
        fs::remove_file(self.path("holds").join(point))
            .with_context(|| format!("{point} is not held"))
    }

    /// Starts the coordinator, and waits until it answers.
    ///
    /// # Errors
    /// It does not; with the end of its log.
    pub fn start_coordinator(&mut self) -> Result<()> {
        let program = programs::coordinator()?;
        let config = self.path("coordinator.toml").display().to_string();
        self.start_coordinator_as(
            program,
            vec!["run".to_owned(), "--config".to_owned(), config],
        )
    }

    /// Like [`Cluster::start_coordinator`], with this command line, which ends in being the coordinator.
    ///
    /// # Errors
    /// As [`Cluster::start_coordinator`].
    pub fn start_coordinator_as(&mut self, program: PathBuf, arguments: Vec<String>) -> Result<()> {
        let log = self.path("coordinator.log");
        let said = |log: &Path| fs::read_to_string(log).unwrap_or_default();
        let before = said(&log).len();
        let pid = self.keeper.start(Start {
            program,
            arguments,
            log: log.clone(),
        })?;
        self.coordinator = Some(pid);
        eventually("the coordinator serves", Duration::from_secs(20), || {
            let all = said(&log);
            let now = all.get(before..).unwrap_or_default();
            ensure!(now.contains("listening on"), "it does not: {now}");
            Ok(())
        })
    }

    /// The coordinator's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn coordinator_pid(&self) -> Result<Pid> {
        self.coordinator.context("the coordinator does not run")
    }

    /// Kills the coordinator with SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// It does not run, or does not go.
    pub fn kill_coordinator(&mut self) -> Result<()> {
        keeper::kill(
            self.coordinator
                .take()
                .context("the coordinator does not run")?,
        )
    }

    /// A machine that can be switched.
    #[must_use]
    pub fn vm(&self, node: &str) -> Vm {
        Vm::new(&self.path("nodes").join(node))
    }

    /// Starts the agent of a node; switches its machine on, if it is one that can be.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_agent(&mut self, node: &str) -> Result<Pid> {
        let here = self.path("nodes").join(node);
        let (words, log) = if self.switched.contains(node) {
            let words = [programs::local()?.display().to_string()].into_iter();
            let words = words.chain(["machine".to_owned(), "--directory".to_owned()]);
            (
                words.chain([here.display().to_string()]).collect(),
                "machine.log",
            )
        } else {
            let mut words = self.under.get(node).cloned().unwrap_or_default();
            words.push(programs::agent()?.display().to_string());
            words.extend(["run".to_owned(), "--config".to_owned()]);
            words.push(here.join("agent.toml").display().to_string());
            (words, "agent.log")
        };
        let mut words: Vec<String> = words;
        let pid = self.keeper.start(Start {
            program: PathBuf::from(words.remove(0)),
            arguments: words,
            log: here.join(log),
        })?;
        if !self.agentless.contains(node) {
            self.agents.insert(node.to_owned(), pid);
        }
        Ok(pid)
    }

    /// Starts what a copy of a node's machine would start: a second agent with the same certificate and nothing in its
    /// state directory. It is killed as the agent of the node that is given back.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_copy(&mut self, node: &str) -> Result<String> {
        let copy = format!("{node}-copy");
        let there = self.path("nodes").join(&copy);
        fs::create_dir_all(&there)?;
        let own = fs::read_to_string(self.path("nodes").join(node).join("agent.toml"))?;
        let file = own
            .replace(&format!("nodes/{node}/"), &format!("nodes/{copy}/"))
            .replace(":7444\"", ":7445\"");
        fs::write(there.join("agent.toml"), file)?;
        self.start_agent(&copy)?;
        Ok(copy)
    }

    /// The process of a node's agent.
    ///
    /// # Errors
    /// It does not run.
    pub fn agent_pid(&self, node: &str) -> Result<Pid> {
        self.agents
            .get(node)
            .copied()
            .with_context(|| format!("the agent of {node} does not run"))
    }

    /// Kills the agent of a node with SIGKILL, and waits until it is gone. What it manages goes on.
    ///
    /// # Errors
    /// It does not run, or does not go.
    pub fn kill_agent(&mut self, node: &str) -> Result<()> {
        let pid = self.agent_pid(node)?;
        self.agents.remove(node);
        keeper::kill(pid)
    }

    /// Somebody who may do everything.
    ///
    /// # Errors
    /// The certificate cannot be issued.
    pub fn admin(&self) -> Result<Operator> {
        self.operator("ada", Role::Admin)
    }

    /// Somebody of this name and role, at the coordinator.
    ///
    /// # Errors
    /// The certificate cannot be issued.
    pub fn operator(&self, name: &str, role: Role) -> Result<Operator> {
        self.operator_with(self.authority.operator(name, role, Life::Now)?)
    }

    /// Somebody with this certificate, at the coordinator.
    ///
    /// # Errors
    /// The certificate cannot be used.
    pub fn operator_with(&self, files: Files) -> Result<Operator> {
        Operator::at(&self.endpoint(), Expected::Coordinator, files)
    }

    /// Somebody who may do everything, at the agent of a node.
    ///
    /// # Errors
    /// There is no such node, or the certificate cannot be issued.
    pub fn at_agent(&self, node: &str) -> Result<Operator> {
        let files = self.authority.operator("ada", Role::Admin, Life::Now)?;
        Operator::at(
            &self.agent_endpoint(node)?,
            Expected::Agent(node.parse()?),
            files,
        )
    }

    /// `interlockctl` as somebody of this name and role.
    ///
    /// # Errors
    /// The certificate cannot be issued, or the program is not built.
    pub fn ctl_command(&self, name: &str, role: Role) -> Result<Command> {
        let files = self.authority.operator(name, role, Life::Now)?;
        let directory = files.key.parent().context("a key in no directory")?;
        let mut command = Command::new(programs::ctl()?);
        command
            .env("INTERLOCK_CONFIG", self.path("interlockctl.toml"))
            .env("INTERLOCK_ENDPOINT", self.endpoint())
            .env("INTERLOCK_TLS_DIR", directory);
        Ok(command)
    }

    /// Runs `interlockctl` as somebody of this name and role.
    ///
    /// # Errors
    /// It cannot be run; how it ends is the caller's to judge.
    pub fn ctl(&self, name: &str, role: Role, arguments: &[&str]) -> Result<Output> {
        self.ctl_command(name, role)?
            .args(arguments)
            .env("NO_COLOR", "1")
            .output()
            .context("cannot run interlockctl")
    }

    /// Waits until every agent is heard, works by the current generation, and has looked at its instances.
    ///
    /// # Errors
    /// One is not.
    pub fn until_connected(&self, operator: &Operator) -> Result<()> {
        eventually("all agents are connected", Duration::from_secs(20), || {
            let status = operator.status()?;
            for node in self.agents.keys() {
                let seen = status.nodes.iter().find(|seen| seen.node == *node);
                let seen = seen.with_context(|| format!("{node} is not in the status"))?;
                let alive = seen.liveness() == Liveness::Alive;
                ensure!(
                    alive && seen.agent_generation == status.generation,
                    "{node} is not there: {seen:?}"
                );
                // A hello tells the generation; the instances follow it. Every machine of a layout has one.
                ensure!(
                    !seen.instances.is_empty(),
                    "{node} has not said what it sees"
                );
                let unknown = seen
                    .instances
                    .iter()
                    .find(|instance| instance.state() == InstanceState::Unknown);
                ensure!(unknown.is_none(), "{node} does not know {unknown:?}");
            }
            Ok(())
        })
    }
}

/// The nodes whose machines are so.
fn nodes(layout: &Layout<'_>, are: impl Fn(&Machine) -> bool) -> BTreeSet<String> {
    let machines = layout.machines.iter().filter(|machine| are(machine));
    machines.map(|machine| machine.node.clone()).collect()
}
