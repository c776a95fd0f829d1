//! What the cluster may ask of this node.
//!
//! The agent does only what its own file permits, whatever the cluster spec says: a mistake there, or a stolen
//! operator's certificate, reaches no further. An empty list permits to observe and nothing else. Looking at units and
//! at the machine's addresses is observing; running a command, reading a named file and connecting somewhere are not,
//! though connections are free as long as `probe_targets` is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use interlock_model::action::{Command, Part};
use interlock_model::address::FloatingAddress;
use interlock_model::check::CheckKind;
use interlock_model::file::{FileWork, Text};
use interlock_model::member::{Balancer, Member};
use interlock_model::names::{LocalName, ServiceName};
use interlock_model::ocf::AgentName;

use super::files::ManagedFile;
use super::ocf::OcfPermit;
use super::refusal::Refusal;
use super::target::{ProbeTarget, host_and_port};

/// The allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// The file that it is from, for refusals.
    pub file: PathBuf,
    /// What may be started and stopped, by service.
    pub services: BTreeMap<ServiceName, Managers>,
    /// Which of these are not started and stopped all the same, and what of each is another one's as well: who stops the one
    /// would stop the other.
    pub contested: BTreeMap<ServiceName, String>,
    /// May this machine be shut down?
    pub shutdown: bool,
    /// May this machine be restarted?
    pub reboot: bool,
    /// The fence agents that may be run here.
    pub power: Vec<String>,
    /// Where fence agents are looked for; the first that has one wins.
    pub fence_dir: Vec<PathBuf>,
    /// Options of fence agents that the spec may set although they make an agent run a program or write a file.
    pub fence_options: BTreeSet<String>,
    /// The check commands that may be run.
    pub checks: Vec<LocalName>,
    /// Where probes may connect to; anywhere if none.
    pub probe_targets: Option<Vec<ProbeTarget>>,
    /// Which secrets checks may log in with, and where each of them may be sent to.
    pub check_secrets: BTreeMap<LocalName, Vec<ProbeTarget>>,
    /// Which files checks may read. A directory permits what is below it.
    pub marker_paths: Vec<PathBuf>,
    /// Beside which of them checks may write `FILE.NODE`. A directory permits what is below it.
    pub marker_writes: Vec<PathBuf>,
    /// The runtime sockets of load balancers that checks may ask.
    pub check_sockets: Vec<PathBuf>,
    /// The files of `[file]`, by name; each for the services that name it.
    pub files: BTreeMap<LocalName, ManagedFile>,
}

/// What may be operated in the name of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Managers {
    /// systemd units, with their suffix.
    pub systemd: Vec<String>,
    /// Processes of this file.
    pub process: Vec<LocalName>,
    /// Commands of this file.
    pub exec: Option<LocalName>,
    /// OCF resource agents, with what they may be given.
    pub ocf: Vec<OcfPermit>,
    /// Addresses that the primary may have here.
    pub address: Vec<FloatingAddress>,
    /// PostgreSQL servers of this file, with what runs them.
    pub postgres: Vec<LocalName>,
    /// Redis servers of this file, with what runs them.
    pub redis: Vec<LocalName>,
    /// MariaDB servers of this file, with what runs them.
    pub mariadb: Vec<LocalName>,
    /// Whose members may be switched, if it is HAProxy.
    pub haproxy: Option<Haproxy>,
    /// The same, if it is nginx.
    pub nginx: Option<Nginx>,
    /// Files of this file that may be written.
    pub files: Vec<LocalName>,
}

/// An HAProxy whose members may be switched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haproxy {
    /// Its runtime socket.
    pub socket: PathBuf,
    /// The backends in which that is permitted.
    pub backends: Vec<String>,
}

/// An nginx whose members may be switched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nginx {
    /// The file of its configuration that lists them.
    pub file: PathBuf,
    /// The upstreams in which that is permitted.
    pub upstreams: Vec<String>,
    /// What tests the configuration.
    pub test: Vec<String>,
    /// The file that names its master process.
    pub pid: PathBuf,
    /// What has it reload; none to signal its master process.
    pub reload: Option<Vec<String>>,
}

impl Nginx {
    /// What tests the configuration if nothing is said.
    pub(super) const TEST: [&str; 2] = ["/usr/sbin/nginx", "-t"];
    /// The file that names the master process if nothing is said: that of Debian's package.
    pub(super) const PID: &str = "/run/nginx.pid";

    /// With nothing said but its file.
    fn at(file: &str) -> Self {
        Self {
            file: file.into(),
            upstreams: Vec::new(),
            test: Self::TEST.map(str::to_owned).to_vec(),
            pid: Self::PID.into(),
            reload: None,
        }
    }

    /// As the file writes it, without what it need not say.
    fn written(&self) -> String {
        let mut text = format!(
            "nginx = {{ file = {:?}, upstreams = {:?}",
            self.file, self.upstreams
        );
        if self.test != Self::TEST {
            text += &format!(", test = {:?}", self.test);
        }
        if self.pid != Path::new(Self::PID) {
            text += &format!(", pid = {:?}", self.pid);
        }
        if let Some(reload) = &self.reload {
            text += &format!(", reload = {reload:?}");
        }
        text + " }"
    }
}

/// A load balancer whose members may be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// HAProxy.
    Haproxy(&'a Haproxy),
    /// nginx.
    Nginx(&'a Nginx),
}

impl Managers {
    fn permits(&self, part: &Part) -> bool {
        match part {
            Part::Systemd { unit } => self.systemd.contains(unit),
            Part::Process { name } => self.process.contains(name),
            Part::Exec { name } => self.exec.as_ref() == Some(name),
            Part::Ocf(resource) => self.ocf.iter().any(|permit| permit.permits(resource)),
            Part::Address(address) => self.address.contains(address),
            Part::Postgres(postgres) => self.postgres.contains(&postgres.cluster),
            Part::Redis(redis) => self.redis.contains(&redis.server),
            Part::Mariadb(mariadb) => self.mariadb.contains(&mariadb.server),
        }
    }

    fn permits_member(&self, member: &Member) -> Option<Told<'_>> {
        let (told, path, permitted) = match &member.by {
            Balancer::Haproxy { socket } => {
                let haproxy = self.haproxy.as_ref()?;
                let told = Told::Haproxy(haproxy);
                (told, haproxy.socket == Path::new(socket), &haproxy.backends)
            }
            Balancer::Nginx { file } => {
                let nginx = self.nginx.as_ref()?;
                (
                    Told::Nginx(nginx),
                    nginx.file == Path::new(file),
                    &nginx.upstreams,
                )
            }
        };
        let all = member.backends.iter().all(|it| permitted.contains(it));
        (path && all).then_some(told)
    }

    /// With this member as well.
    fn and_member(mut self, member: &Member) -> Self {
        let permitted = match &member.by {
            Balancer::Haproxy { socket } => {
                let known = self.haproxy.take().map(|it| it.backends);
                let haproxy = Haproxy {
                    socket: socket.into(),
                    backends: known.unwrap_or_default(),
                };
                &mut self.haproxy.insert(haproxy).backends
            }
            Balancer::Nginx { file } => {
                let nginx = self.nginx.take().unwrap_or_else(|| Nginx::at(file));
                let file = file.into();
                &mut self.nginx.insert(Nginx { file, ..nginx }).upstreams
            }
        };
        for backend in &member.backends {
            if !permitted.contains(backend) {
                permitted.push(backend.clone());
            }
        }
        self
    }

    /// With this part as well.
    fn and(mut self, part: &Part) -> Self {
        match part {
            Part::Systemd { unit } => self.systemd.push(unit.clone()),
            Part::Process { name } => self.process.push(name.clone()),
            Part::Exec { name } => self.exec = Some(name.clone()),
            Part::Ocf(resource) => self.ocf.push(OcfPermit::of(resource)),
            Part::Address(address) => self.address.push(address.clone()),
            Part::Postgres(postgres) => self.postgres.push(postgres.cluster.clone()),
            Part::Redis(redis) => self.redis.push(redis.server.clone()),
            Part::Mariadb(mariadb) => self.mariadb.push(mariadb.server.clone()),
        }
        self
    }

    /// As the file writes it.
    fn written(&self) -> String {
        let mut fields = Vec::new();
        if !self.systemd.is_empty() {
            fields.push(format!("systemd = {:?}", self.systemd));
        }
        match self.process.as_slice() {
            [] => {}
            [only] => fields.push(format!("process = \"{only}\"")),
            several => {
                let names: Vec<&str> = several.iter().map(LocalName::as_str).collect();
                fields.push(format!("process = {names:?}"));
            }
        }
        fields.extend(self.exec.iter().map(|name| format!("exec = \"{name}\"")));
        if !self.ocf.is_empty() {
            let permits: Vec<String> = self.ocf.iter().map(ToString::to_string).collect();
            fields.push(format!("ocf = [{}]", permits.join(", ")));
        }
        if !self.address.is_empty() {
            let permits = self.address.iter().map(|address| {
                format!(
                    "{{ ip = \"{}\", prefix = {}, interface = {:?} }}",
                    address.ip, address.prefix, address.interface
                )
            });
            let permits: Vec<String> = permits.collect();
            fields.push(format!("address = [{}]", permits.join(", ")));
        }
        if !self.postgres.is_empty() {
            let names: Vec<&str> = self.postgres.iter().map(LocalName::as_str).collect();
            fields.push(format!("postgres = {names:?}"));
        }
        if !self.redis.is_empty() {
            let names: Vec<&str> = self.redis.iter().map(LocalName::as_str).collect();
            fields.push(format!("redis = {names:?}"));
        }
        if !self.mariadb.is_empty() {
            let names: Vec<&str> = self.mariadb.iter().map(LocalName::as_str).collect();
            fields.push(format!("mariadb = {names:?}"));
        }
        fields.extend(self.haproxy.iter().map(|haproxy| {
            format!(
                "haproxy = {{ socket = {:?}, backends = {:?} }}",
                haproxy.socket, haproxy.backends
            )
        }));
        fields.extend(self.nginx.iter().map(Nginx::written));
        if !self.files.is_empty() {
            let names: Vec<&str> = self.files.iter().map(LocalName::as_str).collect();
            fields.push(format!("files = {names:?}"));
        }
        format!("{{ {} }}", fields.join(", "))
    }
}

impl Allow {
    /// The resource agents that may be used.
    #[must_use]
    pub fn resource_agents(&self) -> BTreeSet<AgentName> {
        let permits = self.services.values().flat_map(|managers| &managers.ocf);
        permits.map(|permit| permit.agent.clone()).collect()
    }

    /// Is everything that the command asks for permitted?
    ///
    /// # Errors
    /// The first part of it that is not.
    pub fn permits(&self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Start { service, parts }
            | Command::Stop { service, parts }
            | Command::Verify { service, parts } => parts
                .iter()
                .try_for_each(|part| self.permits_part(service, part)),
            Command::Drain {
                balancer, member, ..
            }
            | Command::Admit { balancer, member } => {
                self.permits_member(balancer, member).map(drop)
            }
            Command::File {
                service,
                file,
                work,
            } => {
                let managed = self.permits_file(service, file)?;
                match work {
                    FileWork::Try(text) | FileWork::Write(text) => {
                        self.permits_secrets(file, managed, text)
                    }
                    FileWork::Restore => Ok(()),
                }
            }
            // What it brings with it was permitted with the parts.
            Command::Promote { .. } => Ok(()),
            Command::Shutdown { .. } => {
                self.flag(self.shutdown, "shutdown", "to shut this machine down")
            }
            Command::Reboot => self.flag(self.reboot, "reboot", "to restart this machine"),
            Command::Fence { request } => self.permits_fence(&request.agent),
        }
    }

    /// May this part be operated in the name of this service?
    ///
    /// # Errors
    /// If not.
    pub fn permits_part(&self, service: &ServiceName, part: &Part) -> Result<(), Refusal> {
        if let Some(why) = self.contested.get(service) {
            let what = format!("to operate service {service}: {why}");
            return Err(self.refuse(what, "allow.services", String::new()));
        }
        let managers = self.services.get(service).cloned().unwrap_or_default();
        if managers.permits(part) {
            return Ok(());
        }
        let line = format!(
            "{} = {}",
            quoted_key(service.as_str()),
            managers.and(part).written()
        );
        Err(self.refuse(
            format!("to operate {part} for service {service}"),
            "allow.services",
            line,
        ))
    }

    /// May this file be written in the name of this service? Then what is known of it.
    ///
    /// # Errors
    /// If not.
    pub fn permits_file(
        &self,
        service: &ServiceName,
        file: &LocalName,
    ) -> Result<&ManagedFile, Refusal> {
        let managers = self.services.get(service);
        let permitted = managers.is_some_and(|it| it.files.contains(file));
        if let Some(found) = self.files.get(file).filter(|_| permitted) {
            return Ok(found);
        }
        let mut managers = managers.cloned().unwrap_or_default();
        managers.files.push(file.clone());
        let line = format!("{} = {}", quoted_key(service.as_str()), managers.written());
        let what = format!("to write the file {file} of service {service}");
        Err(self.refuse(what, "allow.services", line))
    }

    fn permits_secrets(
        &self,
        name: &LocalName,
        file: &ManagedFile,
        text: &Text,
    ) -> Result<(), Refusal> {
        let Some(missing) = text.secrets().find(|it| !file.secrets.contains(it)) else {
            return Ok(());
        };
        let table = format!("file.{}", quoted_key(name.as_str()));
        let line = list("secrets", file.secrets.iter(), missing);
        let what = format!("to put the secret {missing} into the file {name}");
        Err(self.refuse(what, table, line))
    }

    /// May this member be switched in this load balancer? Then how that one is told.
    ///
    /// # Errors
    /// If not.
    pub fn permits_member(
        &self,
        balancer: &ServiceName,
        member: &Member,
    ) -> Result<Told<'_>, Refusal> {
        let managers = self.services.get(balancer);
        if let Some(told) = managers.and_then(|it| it.permits_member(member)) {
            return Ok(told);
        }
        let managers = managers.cloned().unwrap_or_default();
        let line = format!(
            "{} = {}",
            quoted_key(balancer.as_str()),
            managers.and_member(member).written()
        );
        let what = format!(
            "to switch the member {member} of backend {} in load balancer {balancer} ({})",
            member.backends.join(", "),
            member.by
        );
        Err(self.refuse(what, "allow.services", line))
    }

    /// May this check run?
    ///
    /// # Errors
    /// If not.
    pub fn permits_check(&self, check: &CheckKind) -> Result<(), Refusal> {
        if let Some(command) = check.command()
            && !self.checks.contains(command)
        {
            let line = list("checks", self.checks.iter(), command);
            return Err(self.refuse(format!("to run the check command {command}"), "allow", line));
        }
        if let Some(path) = check.file() {
            self.permits_reading(Path::new(&path))?;
        }
        if let CheckKind::Marker {
            path, write: true, ..
        } = check
        {
            self.permits_writing(Path::new(path))?;
        }
        if let CheckKind::Haproxy(haproxy) = check {
            self.permits_asking(Path::new(&haproxy.socket))?;
        }
        if let Some(target) = check.target() {
            self.permits_target(target)?;
            if let Some(secret) = check.password() {
                self.permits_secret(secret, target)?;
            }
        }
        Ok(())
    }

    /// May this fence agent be run here?
    ///
    /// # Errors
    /// If not.
    pub fn permits_fence(&self, agent: &str) -> Result<(), Refusal> {
        if self.power.iter().any(|allowed| allowed == agent) {
            return Ok(());
        }
        let line = list("power", self.power.iter().map(String::as_str), agent);
        Err(self.refuse(format!("to run the fence agent {agent}"), "allow", line))
    }

    fn permits_target(&self, target: &str) -> Result<(), Refusal> {
        let Some(allowed) = &self.probe_targets else {
            return Ok(());
        };
        if is_among(target, allowed) {
            return Ok(());
        }
        let line = list(
            "probe_targets",
            allowed.iter().map(ToString::to_string),
            entry(target),
        );
        Err(self.refuse(format!("to connect to {target}"), "allow", line))
    }

    /// A secret goes only where its owner lets it go: a spec that names another server must not get it sent there.
    fn permits_secret(&self, secret: &LocalName, target: &str) -> Result<(), Refusal> {
        let allowed = self
            .check_secrets
            .get(secret)
            .map_or(&[][..], Vec::as_slice);
        if is_among(target, allowed) {
            return Ok(());
        }
        let line = list(
            &quoted_key(secret.as_str()),
            allowed.iter().map(ToString::to_string),
            entry(target),
        );
        let what = format!("to log in at {target} with the secret {secret}");
        Err(self.refuse(what, "allow.check_secrets", line))
    }

    fn permits_reading(&self, path: &Path) -> Result<(), Refusal> {
        if is_within(path, &self.marker_paths) {
            return Ok(());
        }
        Err(self.refuse_path("to read", "marker_paths", &self.marker_paths, path))
    }

    fn permits_asking(&self, socket: &Path) -> Result<(), Refusal> {
        if self.check_sockets.iter().any(|allowed| allowed == socket) {
            return Ok(());
        }
        Err(self.refuse_path("to ask", "check_sockets", &self.check_sockets, socket))
    }

    fn permits_writing(&self, path: &Path) -> Result<(), Refusal> {
        if is_within(path, &self.marker_writes) {
            return Ok(());
        }
        Err(self.refuse_path(
            "to write beside",
            "marker_writes",
            &self.marker_writes,
            path,
        ))
    }

    fn refuse_path(&self, what: &str, key: &str, allowed: &[PathBuf], path: &Path) -> Refusal {
        let line = list(
            key,
            allowed.iter().map(|path| path.display()),
            path.display(),
        );
        self.refuse(format!("{what} {}", path.display()), "allow", line)
    }

    fn flag(&self, allowed: bool, key: &str, what: &str) -> Result<(), Refusal> {
        if allowed {
            Ok(())
        } else {
            Err(self.refuse(what.to_owned(), "allow", format!("{key} = true")))
        }
    }

    fn refuse(&self, what: String, table: impl Into<String>, line: String) -> Refusal {
        Refusal {
            what,
            file: self.file.clone(),
            table: table.into(),
            line,
        }
    }
}

/// Is the file one of these, or below one of these?
fn is_within(path: &Path, allowed: &[PathBuf]) -> bool {
    // `starts_with` compares whole components; `..` would lead out again.
    let straight = !path
        .components()
        .any(|component| component == Component::ParentDir);
    straight && allowed.iter().any(|allowed| path.starts_with(allowed))
}

/// Does one of these permit this target?
fn is_among(target: &str, allowed: &[ProbeTarget]) -> bool {
    host_and_port(target)
        .is_some_and(|(host, port)| allowed.iter().any(|entry| entry.permits(host, port)))
}

/// The entry that permits this target and no other.
fn entry(target: &str) -> String {
    match host_and_port(target) {
        Some((host, port)) => ProbeTarget::Host {
            host: host.to_owned(),
            port: Some(port),
        }
        .to_string(),
        None => "HOST:PORT".to_owned(),
    }
}

/// The line of a list with one more entry.
fn list<T: ToString>(key: &str, allowed: impl Iterator<Item = T>, more: T) -> String {
    let entries: Vec<String> = allowed
        .chain([more])
        .map(|entry| format!("{:?}", entry.to_string()))
        .collect();
    format!("{key} = [{}]", entries.join(", "))
}

/// A name as a TOML key: bare unless it has a dot.
fn quoted_key(name: &str) -> String {
    if name.contains('.') {
        format!("\"{name}\"")
    } else {
        name.to_string()
    }
}
