//! The files and processes of the demo's cluster.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use interlock_e2e::local::keeper::descendants;
use interlock_e2e::local::vm::{Process, Vm, fence};
use interlock_e2e::programs;
use rustix::process::{Pid, Signal, kill_process};

use super::end::COORDINATOR;

/// The nodes that are switched, with the last number of their address.
const NODES: [(&str, u8); 13] = [
    ("store", 11),
    ("lb1", 21),
    ("lb2", 22),
    ("dbm1", 31),
    ("dbm2", 32),
    ("dbs1", 41),
    ("dbs2", 42),
    ("tel1", 51),
    ("tel2", 52),
    ("jb1", 61),
    ("jb2", 62),
    ("jb3", 63),
    ("jb4", 64),
];

/// The node that runs the coordinator and the fence agent.
const MANAGEMENT: (&str, u8) = ("mgmt1", 5);

/// The spec, with the network and the directory that stand in the file.
const SPEC: &str = include_str!("../../../deploy/clusters/demo.yaml");
const SPEC_NETWORK: &str = "127.77.0.";
const SPEC_MACHINES: &str = "/tmp/interlock-demo/machines";

/// The demo's cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: PathBuf,
    network: String,
    coordinator: Option<Child>,
    keep: bool,
}

impl Cluster {
    /// Writes certificates, configurations and the spec; starts nothing but the management node.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let cluster = Self {
            directory: directory.to_owned(),
            network: free_network()?,
            coordinator: None,
            keep: false,
        };
        fs::create_dir_all(cluster.machines())?;
        fs::write(
            cluster.machines().join("owner"),
            std::process::id().to_string(),
        )?;
        cluster.write_certificates()?;
        cluster.write_fence_agent()?;
        let spec = SPEC
            .replace(SPEC_NETWORK, &cluster.network)
            .replace(SPEC_MACHINES, &cluster.machines().display().to_string());
        fs::write(cluster.spec(), spec)?;
        for (node, host) in NODES.iter().chain([&MANAGEMENT]) {
            cluster.write_machine(node, *host)?;
        }
        fs::write(
            directory.join("coordinator.toml"),
            cluster.coordinator_config(),
        )?;
        Ok(cluster)
    }

    pub(crate) fn spec(&self) -> PathBuf {
        self.directory.join("cluster.yaml")
    }
    fn machines(&self) -> PathBuf {
        self.directory.join("machines")
    }
    fn pki(&self) -> PathBuf {
        self.directory.join("pki")
    }
    /// Where the coordinator listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("https://{}{}:7443", self.network, MANAGEMENT.1)
    }
    /// A machine by its name.
    pub(crate) fn machine(&self, node: &str) -> Vm {
        Vm::new(&self.machines().join(node))
    }
    /// The machines that are on.
    pub(crate) fn on(&self) -> Vec<&'static str> {
        NODES
            .iter()
            .map(|(node, _)| *node)
            .filter(|node| self.machine(node).is_on())
            .collect()
    }

    /// `interlockctl`, ready to talk to this cluster.
    pub(crate) fn ctl(&self) -> Result<Command> {
        let mut command = Command::new(programs::ctl()?);
        command
            .env("INTERLOCK_CONFIG", self.directory.join("interlockctl.toml"))
            .env("INTERLOCK_ENDPOINT", self.endpoint())
            .env("INTERLOCK_TLS_DIR", self.pki().join("operator/demo"));
        Ok(command)
    }

    fn write_certificates(&self) -> Result<()> {
        let pki = self.pki();
        let issue = |arguments: &[&str]| -> Result<()> {
            let output = Command::new(programs::ctl()?)
                .arg("pki")
                .args(arguments)
                .arg("--dir")
                .arg(&pki)
                .output()?;
            ensure!(
                output.status.success(),
                "interlockctl pki {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(())
        };
        issue(&["init", "--cluster", "demo"])?;
        let address = |host: u8| format!("{}{host}", self.network);
        issue(&[
            "issue",
            "coordinator",
            MANAGEMENT.0,
            "--address",
            &address(MANAGEMENT.1),
        ])?;
        issue(&["issue", "operator", "demo", "--role", "admin"])?;
        for (node, host) in NODES.iter().chain([&MANAGEMENT]) {
            issue(&["issue", "agent", node, "--address", &address(*host)])?;
        }
        Ok(())
    }

    /// The program that the power device of the spec names.
    fn write_fence_agent(&self) -> Result<()> {
        let directory = self.directory.join("fence");
        fs::create_dir_all(&directory)?;
        fence::install(&directory.join("fence_demo"))
    }

    fn write_machine(&self, node: &str, host: u8) -> Result<()> {
        let directory = self.machines().join(node);
        fs::create_dir_all(directory.join("state"))?;
        let credentials = self.pki().join("agent").join(node);
        let mut config = format!(
            "coordinators = [\"{}\"]\n\n[node]\nname = \"{node}\"\nstate_dir = \"{here}/state\"\nboot_id_path = \
             \"{here}/boot_id\"\n\n[tls]\nca = \"{tls}/ca.crt\"\ncert = \"{tls}/agent.crt\"\nkey = \
             \"{tls}/agent.key\"\n\n[listen]\naddress = \"{}{host}:7444\"\n\n[shutdown]\ncommand = [\"{own}\", \"press\", \
             \"--directory\", \"{here}\"]\n\n[allow]\nshutdown = true\n",
            self.endpoint(),
            self.network,
            here = directory.display(),
            tls = credentials.display(),
            own = programs::local()?.display(),
        );
        if node == MANAGEMENT.0 {
            config += &format!(
                "power = [\"fence_demo\"]\nfence_dir = [\"{}/fence\"]\n",
                self.directory.display()
            );
        } else {
            config += &self.service(node, host)?;
        }
        fs::write(directory.join("agent.toml"), config)?;
        Ok(())
    }

    /// What runs on a node: the stand-in of the node's service, with the addresses of what that depends on.
    fn service(&self, node: &str, host: u8) -> Result<String> {
        let service = node.trim_end_matches(|c: char| c.is_ascii_digit());
        let mut command = vec![
            own_program()?.display().to_string(),
            "stand-in".to_owned(),
            "--listen".to_owned(),
            format!("{}{host}:8080", self.network),
        ];
        let needs: &[&str] = match service {
            "dbs" => &["dbm"],
            "jb" | "tel" => &["dbs", "dbm", "lb", "store"],
            _ => &[],
        };
        for need in needs {
            for (_, other) in NODES
                .iter()
                .filter(|(name, _)| name.trim_end_matches(|c: char| c.is_ascii_digit()) == *need)
            {
                command.extend([
                    "--needs".to_owned(),
                    format!("{need}={}{other}:8080", self.network),
                ]);
            }
        }
        if matches!(service, "lb" | "dbm") {
            command.extend([
                "--lock".to_owned(),
                self.directory
                    .join(format!("{service}.lock"))
                    .display()
                    .to_string(),
            ]);
        }
        Ok(format!(
            "\n[allow.services]\n{service} = {{ process = \"{service}\" }}\n\n[process.{service}]\ncommand = {}\nready = {{ \
             tcp = \"{}{host}:8080\" }}\nstop_grace = \"2s\"\n",
            serde_json::to_string(&command)?,
            self.network
        ))
    }

    fn coordinator_config(&self) -> String {
        let tls = self.pki().join("coordinator").join(MANAGEMENT.0);
        format!(
            "name = \"{}\"\nlisten = \"{}{}:7443\"\nstate_dir = \"{}\"\n\n[tls]\nca = \"{tls}/ca.crt\"\ncert = \
             \"{tls}/coordinator.crt\"\nkey = \"{tls}/coordinator.key\"\n",
            MANAGEMENT.0,
            self.network,
            MANAGEMENT.1,
            self.directory.join("coordinator").display(),
            tls = tls.display(),
        )
    }

    /// Starts the coordinator; returns when it serves.
    pub(crate) fn start_coordinator(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("coordinator.log"))?;
        let mut child = Command::new(programs::coordinator()?)
            .args(["run", "--config"])
            .arg(self.directory.join("coordinator.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start the coordinator")?;
        let stdout = child
            .stdout
            .take()
            .context("the coordinator has no output")?;
        self.coordinator = Some(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(
            line.starts_with("listening on"),
            "the coordinator did not start; see {}",
            self.directory.join("coordinator.log").display()
        );
        Ok(())
    }

    /// Kills the coordinator as hard as it gets.
    pub(crate) fn kill_coordinator(&mut self) -> Result<()> {
        let Some(mut child) = self.coordinator.take() else {
            bail!("the coordinator does not run")
        };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Kills the process of a service on a node, and tells its pid.
    pub(crate) fn kill_service(&self, node: &str) -> Result<Pid> {
        let pid = self
            .service_pid(node)
            .with_context(|| format!("no service runs on {node}"))?;
        kill_process(pid, Signal::KILL)?;
        Ok(pid)
    }

    /// The process of the service on a node.
    pub(crate) fn service_pid(&self, node: &str) -> Option<Pid> {
        descendants(self.machine(node).keeper()?)
            .into_iter()
            .find(|pid| {
                let command =
                    fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
                let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
                words.get(1) == Some(&b"stand-in".as_slice())
            })
    }

    /// Leaves everything running when this value is dropped, for [`end`](super::end) to end.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.keep = true;
        let coordinator = self.coordinator.as_ref().map(Pid::from_child);
        let process = Process::running(coordinator.context("the coordinator does not run")?)?;
        process.write(&self.directory.join(COORDINATOR))?;
        fs::write(self.machines().join("owner"), "keep")?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if self.coordinator.is_some() {
            // What cannot be ended here ends by itself: its owner is gone.
            drop(self.kill_coordinator());
        }
        for (node, _) in NODES.iter().chain([&MANAGEMENT]) {
            drop(self.machine(node).pull_plug());
        }
    }
}

/// This program: it is the machines' services as well.
fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the running executable")
}

/// A network of the loopback range on which nobody listens, so that two demos do not meet.
fn free_network() -> Result<String> {
    let seed = std::process::id();
    for attempt in 0..50_u32 {
        let number = seed.wrapping_add(attempt.wrapping_mul(7919));
        let network = format!("127.{}.{}.", 64 + number % 128, (number / 128) % 250);
        let address = format!("{network}{}:7443", MANAGEMENT.1);
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(network);
        }
    }
    bail!("no free address in 127.0.0.0/8: does this machine allow to listen there?")
}
