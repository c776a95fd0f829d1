//! Interlock itself on the hosts of a lab: certificates, units, and an operator beside them.
//!
//! Everything is installed as the README tells a person to: certificates by `interlockctl pki`, the unit
//! files of `deploy/systemd`, and on each node the file that `interlockctl spec agent-config` prints for it.
//! What a package would do besides (programs in `/usr/bin`, the user of the coordinator) is done by hand.
//! The operator's commands run on the lab's network, as from a workstation.

mod journal;
mod shipped;
mod site;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{Host, Lab, Machine, programs};
pub use journal::{Entry, Journal};
pub use shipped::{SECRET, adapt, options};
pub use site::{BOOT, SOON, Site};

/// The user of the coordinator's unit, with a number that no package of the hosts has.
const COORDINATOR_USER: (&str, u32) = ("interlock", 890);

const COORDINATOR_UNIT: &str =
    include_str!("../../../../deploy/systemd/interlock-coordinator.service");
const AGENT_UNIT: &str = include_str!("../../../../deploy/systemd/interlock-agent.service");

/// Exit status of `interlockctl` after an operation that needs attention (`docs/exit-codes.md`).
pub const NEEDS_ATTENTION: i32 = 4;

/// Exit status of `interlockctl` if no plan is possible.
pub const NO_PLAN: i32 = 5;

/// A cluster on a lab's hosts.
#[derive(Debug)]
pub struct Cluster<'lab> {
    lab: &'lab Lab,
    name: String,
    directory: PathBuf,
    endpoints: Vec<String>,
}

impl<'lab> Cluster<'lab> {
    /// Writes the spec to a file of the lab, has `interlockctl` check it, and makes the certificate authority
    /// and an operator with role admin.
    ///
    /// # Errors
    ///
    /// The spec is not valid, or a program is not built.
    pub fn create(lab: &'lab Lab, name: &str, spec: &str) -> Result<Self> {
        let cluster = Self {
            lab,
            name: name.to_owned(),
            directory: lab.directory().join("cluster"),
            endpoints: Vec::new(),
        };
        fs::create_dir_all(&cluster.directory)
            .with_context(|| format!("cannot make {}", cluster.directory.display()))?;
        fs::write(cluster.spec(), spec).context("cannot write the spec")?;
        cluster.run(&["spec", "check", &cluster.spec()])?;
        cluster.pki(&["init", "--cluster", name])?;
        cluster.pki(&["issue", "operator", "anna", "--role", "admin"])?;
        Ok(cluster)
    }

    /// Its name, as in the spec.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file with its spec.
    pub fn spec(&self) -> String {
        self.directory.join("cluster.yaml").display().to_string()
    }

    /// Installs the coordinator on a host that is off; it starts when the host does. Of several one leads at a time, where the file of
    /// each names an etcd as their store.
    ///
    /// # Errors
    ///
    /// The files cannot be made or written.
    pub fn install_coordinator(&mut self, host: &Host) -> Result<()> {
        let address = host.address().to_string();
        self.pki(&["issue", "coordinator", host.name(), "--address", &address])?;
        self.install_credentials(host, "coordinator", Some(COORDINATOR_USER.1))?;
        let (user, id) = COORDINATOR_USER;
        for (file, line) in [
            (
                "etc/passwd",
                format!("{user}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin\n"),
            ),
            ("etc/group", format!("{user}:x:{id}:\n")),
        ] {
            let path = host.root().join(file);
            let known = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            fs::write(&path, known + &line)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let config = format!(
            "name = \"{}\"\n\n[tls]\nca = \"/etc/interlock/tls/ca.crt\"\ncert = \
             \"/etc/interlock/tls/coordinator.crt\"\nkey = \"/etc/interlock/tls/coordinator.key\"\n",
            host.name()
        );
        host.put_file(
            "/etc/interlock/interlock-coordinator.toml",
            config.as_bytes(),
            0o644,
        )?;
        install_program(host, "interlock-coordinator")?;
        install_unit(host, "interlock-coordinator.service", COORDINATOR_UNIT)?;
        enable_unit(host, "interlock-coordinator.service")?;
        self.endpoints.push(format!("https://{address}:7443"));
        Ok(())
    }

    /// Installs an agent on a host that is off; it starts when the host does. Its file is what
    /// `spec agent-config` prints, with `commands` in place of what that leaves to be filled in.
    ///
    /// # Errors
    ///
    /// The files cannot be made or written, or a command is not one that the spec asks for.
    pub fn install_agent(&self, host: &Host, commands: &[(&str, &[&str])]) -> Result<()> {
        let address = host.address().to_string();
        self.pki(&["issue", "agent", host.name(), "--address", &address])?;
        self.install_credentials(host, "agent", None)?;
        let mut config =
            self.run(&["spec", "agent-config", host.name(), "--file", &self.spec()])?;
        for (name, argv) in commands {
            let blank = format!("[exec.{name}]\ncheck = [\"/usr/bin/false\"]");
            ensure!(
                config.contains(&blank),
                "no check {name} is asked of {}:\n{config}",
                host.name()
            );
            config = config.replace(
                &blank,
                &format!("[exec.{name}]\ncheck = {}", serde_json::to_string(argv)?),
            );
        }
        host.put_file(
            "/etc/interlock/interlock-agent.toml",
            config.as_bytes(),
            0o644,
        )?;
        install_program(host, "interlock-agent")?;
        install_unit(host, "interlock-agent.service", AGENT_UNIT)?;
        enable_unit(host, "interlock-agent.service")
    }

    /// Puts a secret where the agent of a host looks for it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn install_secret(&self, host: &Host, name: &str, secret: &str) -> Result<()> {
        host.put_file(
            &format!("/etc/interlock/secrets/{name}"),
            secret.as_bytes(),
            0o600,
        )
    }

    /// A command of the operator, ready to run.
    ///
    /// # Errors
    ///
    /// `interlockctl` is not built.
    pub fn ctl(&self, arguments: &[&str]) -> Result<Command> {
        let program = programs::ctl()?.display().to_string();
        let mut command = self
            .lab
            .command(&[&[program.as_str()], arguments].concat())?;
        command
            .env("INTERLOCK_CONFIG", self.directory.join("interlockctl.toml"))
            .env(
                "INTERLOCK_TLS_DIR",
                self.directory.join("pki/operator/anna"),
            );
        if !self.endpoints.is_empty() {
            command.env("INTERLOCK_ENDPOINT", self.endpoints.join(","));
        }
        Ok(command)
    }

    /// Runs a command of the operator to its end, whatever its exit status.
    ///
    /// # Errors
    ///
    /// It cannot be run.
    pub fn output(&self, arguments: &[&str]) -> Result<Output> {
        crate::run::capture(&mut self.ctl(arguments)?)
    }

    /// Runs a command of the operator that has to succeed, and returns what it printed.
    ///
    /// # Errors
    ///
    /// Its exit status is not 0; the message has all that it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        ensure!(
            output.status.success(),
            "interlockctl {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command of the operator that has to end with this exit status, and returns all that it said.
    ///
    /// # Errors
    ///
    /// Its exit status is another one.
    pub fn run_to(&self, status: i32, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(
            output.status.code() == Some(status),
            "interlockctl {} ended with {}, not with {status}:\n{said}",
            arguments.join(" "),
            output.status
        );
        Ok(said)
    }

    /// What a command of the operator prints as JSON.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and if it is no JSON.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&said)
            .with_context(|| format!("interlockctl {} printed {said}", arguments.join(" ")))
    }

    /// The newest operation, in a line.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be asked for.
    pub fn newest_operation(&self) -> Result<Value> {
        let list = self.ask(&["operation", "list"])?;
        list.get(0).cloned().context("there is no operation")
    }

    /// The journal of an operation.
    ///
    /// # Errors
    ///
    /// It cannot be asked for.
    pub fn journal(&self, operation: &str) -> Result<Journal> {
        Journal::read(operation, &self.ask(&["operation", "journal", operation])?)
    }

    /// What the cluster knows about a node.
    ///
    /// # Errors
    ///
    /// It cannot be asked, or there is no such node.
    pub fn node(&self, node: &str) -> Result<Value> {
        let status = self.ask(&["status"])?;
        find(&status["nodes"], "node", node)
    }

    /// What the cluster knows about a service.
    ///
    /// # Errors
    ///
    /// It cannot be asked, or there is no such service.
    pub fn service(&self, service: &str) -> Result<Value> {
        let status = self.ask(&["status"])?;
        find(&status["services"], "service", service)
    }

    fn pki(&self, arguments: &[&str]) -> Result<()> {
        let directory = self.directory.join("pki").display().to_string();
        self.run(&[&["pki"], arguments, &["--dir", &directory]].concat())
            .map(drop)
    }

    fn install_credentials(&self, host: &Host, kind: &str, owner: Option<u32>) -> Result<()> {
        let issued = self.directory.join("pki").join(kind).join(host.name());
        for file in [
            "ca.crt".to_owned(),
            format!("{kind}.crt"),
            format!("{kind}.key"),
        ] {
            let to = format!("/etc/interlock/tls/{file}");
            let mode = if file.ends_with(".key") { 0o600 } else { 0o644 };
            host.copy_file(&issued.join(&file), &to, mode)?;
            if owner.is_some() && file.ends_with(".key") {
                let path = host.root().join(to.trim_start_matches('/'));
                chown(&path, owner, owner)
                    .with_context(|| format!("cannot give {} away", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Writes a unit file of a host that is off, or that is told by `systemctl daemon-reload`.
///
/// # Errors
///
/// It cannot be written.
pub fn install_unit(host: &Host, name: &str, text: &str) -> Result<()> {
    host.put_file(
        &format!("/etc/systemd/system/{name}"),
        text.as_bytes(),
        0o644,
    )
}

/// Has a unit start with the host, which is off.
///
/// # Errors
///
/// The link cannot be made.
pub fn enable_unit(host: &Host, name: &str) -> Result<()> {
    let wants = host
        .root()
        .join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).with_context(|| format!("cannot make {}", wants.display()))?;
    let unit = [
        format!("/etc/systemd/system/{name}"),
        format!("/lib/systemd/system/{name}"),
    ]
    .into_iter()
    .find(|unit| host.root().join(unit.trim_start_matches('/')).is_file())
    .with_context(|| format!("{} has no unit {name}", host.name()))?;
    link(&unit, &wants.join(name))
}

/// Puts a built program on the search path of units.
fn install_program(host: &Host, name: &str) -> Result<()> {
    let target = format!("{}/{name}", crate::machine::PROGRAMS);
    link(&target, &host.root().join("usr/bin").join(name))
}

fn link(target: &str, at: &Path) -> Result<()> {
    symlink(target, at).with_context(|| format!("cannot link {} to {target}", at.display()))
}

fn find(list: &Value, key: &str, name: &str) -> Result<Value> {
    let list = list
        .as_array()
        .with_context(|| format!("the status has no {key}s"))?;
    let found = list.iter().find(|entry| entry[key] == name);
    found
        .cloned()
        .with_context(|| format!("the status has no {key} {name}"))
}
