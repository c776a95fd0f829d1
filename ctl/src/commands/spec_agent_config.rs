//! `spec agent-config`: the file of a node's agent, with an allow-list of just what the spec asks of it.
//!
//! What the spec cannot know stands there as a comment to be filled in: the commands behind a `process` or an `exec`
//! belong to whoever owns the machine. A fresh file can be checked with `interlock-agent config check`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use interlock_engine::coordinator::assignments;
use interlock_model::action::{OptionValue, Part, ShutdownBy};
use interlock_model::check::CheckKind;
use interlock_model::ids::Generation;
use interlock_model::member::Balancer;
use interlock_model::names::{LocalName, NodeName};
use interlock_model::ocf::Resource;
use interlock_model::spec::{Node, Spec};

use crate::context::COORDINATOR_PORT;
use crate::failure::Failure;

/// The secret with the password of whoever copies a MariaDB server, unless the agent's file is changed.
const COPY: &str = "mariadb-replication";

/// The whole file. `origin` says which spec it is from.
pub(super) fn render(spec: &Spec, name: &NodeName, origin: &str) -> Result<String, Failure> {
    let node = spec.nodes.get(name).ok_or_else(|| {
        let known: Vec<&str> = spec.nodes.keys().map(NodeName::as_str).collect();
        Failure::Refused(format!(
            "the spec has no node {name}; it has {}",
            known.join(", ")
        ))
    })?;
    if let Some(probed_from) = &node.agentless {
        let from: Vec<&str> = probed_from.iter().map(NodeName::as_str).collect();
        return Err(Failure::Refused(format!(
            "{name} is agentless: no agent runs on it; {} probe it",
            from.join(", ")
        )));
    }
    let wanted = Wanted::of(spec, node);
    let mut text = format!(
        "# interlock-agent.toml of {name} in cluster {}, for {origin}.\n\
         # It belongs to whoever owns this machine: the cluster can ask for nothing that is not permitted here.\n\n",
        spec.cluster
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "coordinators = [{}]\n", quoted(coordinators(spec)));
    let _ = writeln!(
        text,
        "[node]\nname = \"{name}\"\nstate_dir = \"/var/lib/interlock-agent\"\n"
    );
    text.push_str(
        "[tls]\nca = \"/etc/interlock/tls/ca.crt\"\ncert = \"/etc/interlock/tls/agent.crt\"\n\
         key = \"/etc/interlock/tls/agent.key\"\n",
    );
    if wanted.authorities {
        text.push_str(
            "# The authorities of the servers that are checked over TLS, if they are not those of the machine.\n\
             # check_ca = \"/etc/interlock/tls/servers.crt\"\n",
        );
    }
    text.push_str("\n[listen]\naddress = \"0.0.0.0:7444\"\n\n");
    wanted.write_allow(&mut text);
    wanted.write_commands(&mut text);
    Ok(text)
}

/// Where the agent finds the coordinators: by the address of the node that runs one, or by its name.
fn coordinators(spec: &Spec) -> Vec<String> {
    let address = |name: &NodeName| {
        let host = match spec.nodes.get(name) {
            Some(node) if node.address.contains(':') => format!("[{}]", node.address),
            Some(node) => node.address.clone(),
            None => name.to_string(),
        };
        format!("https://{host}:{COORDINATOR_PORT}")
    };
    if spec.control.coordinators.is_empty() {
        vec![format!("https://COORDINATOR:{COORDINATOR_PORT}")]
    } else {
        spec.control.coordinators.iter().map(address).collect()
    }
}

/// What the spec may ever ask of one node.
#[derive(Default)]
struct Wanted {
    shutdown: bool,
    by_command: bool,
    reboot: bool,
    fence_agents: Vec<String>,
    secrets: Vec<LocalName>,
    checks: Vec<LocalName>,
    files: Vec<String>,
    written: Vec<String>,
    sockets: Vec<String>,
    authorities: bool,
    check_secrets: BTreeMap<LocalName, BTreeSet<String>>,
    services: BTreeMap<String, Vec<Part>>,
    /// The files that a restart may write, by service.
    written_files: BTreeMap<String, Vec<LocalName>>,
    /// The load balancers, and the backends whose members are switched there, by service.
    balancers: BTreeMap<String, (Balancer, BTreeSet<String>)>,
}

impl Wanted {
    fn of(spec: &Spec, node: &Node) -> Self {
        let mut wanted = Self::default();
        if let Some(power) = &node.power {
            wanted.shutdown = power.shutdown != ShutdownBy::Manual;
            wanted.by_command = power.shutdown == ShutdownBy::Command;
        }
        wanted.reboot = spec.reboots_by_agent(node);
        for device in spec.power.values() {
            if device.via.contains(&node.name) {
                wanted.fence_agents.push(device.fence.clone());
                wanted
                    .secrets
                    .extend(device.options.values().filter_map(secret));
            }
        }
        if let Some(assignment) = assignments(spec, Generation(0)).remove(&node.name) {
            for instance in assignment.instances {
                let mut parts = instance.parts;
                parts.extend(instance.primary_parts);
                for part in &parts {
                    if let Part::Ocf(resource) = part {
                        let secrets = resource.parameters.values().filter_map(secret);
                        wanted.secrets.extend(secrets);
                    }
                    if part.mariadb().is_some() {
                        wanted.secrets.extend(COPY.parse());
                    }
                }
                let service = instance.service.to_string();
                if !instance.files.is_empty() {
                    let files = instance.files.clone();
                    wanted.written_files.insert(service.clone(), files);
                }
                wanted.services.insert(service, parts);
            }
            for (_, check) in assignment.checks {
                wanted.checks.extend(check.kind.command().cloned());
                wanted.files.extend(check.kind.file());
                if let CheckKind::Marker {
                    path, write: true, ..
                } = &check.kind
                {
                    wanted.written.push(path.clone());
                }
                if let CheckKind::Haproxy(haproxy) = &check.kind {
                    wanted.sockets.push(haproxy.socket.clone());
                }
                wanted.authorities |= check.kind.tls().is_some();
                // Connections are free unless targets are listed; what a secret is sent to is not.
                if let (Some(secret), Some(target)) = (check.kind.password(), check.kind.target()) {
                    let targets = wanted.check_secrets.entry(secret.clone()).or_default();
                    targets.insert(target.to_owned());
                    wanted.secrets.push(secret.clone());
                }
            }
        }
        wanted.members(spec, node);
        for list in [
            &mut wanted.fence_agents,
            &mut wanted.files,
            &mut wanted.written,
            &mut wanted.sockets,
        ] {
            list.sort();
            list.dedup();
        }
        for list in [&mut wanted.secrets, &mut wanted.checks] {
            list.sort();
            list.dedup();
        }
        wanted
    }

    /// What is switched in the load balancers that run here.
    fn members(&mut self, spec: &Spec, node: &Node) {
        for service in spec.services.values() {
            for (balancer, membership) in &service.member_of {
                let declared = spec.services.get(balancer);
                let here = declared.filter(|it| it.nodes.contains(&node.name));
                let Some(told) = here.and_then(|it| it.balancer.as_ref()) else {
                    continue;
                };
                let of = self.balancers.entry(balancer.to_string());
                let (_, backends) = of.or_insert_with(|| (told.clone(), BTreeSet::new()));
                backends.extend(membership.backends.iter().cloned());
            }
        }
    }

    fn write_allow(&self, text: &mut String) {
        text.push_str("[allow]\n");
        let _ = writeln!(text, "shutdown = {}", self.shutdown);
        let _ = writeln!(text, "reboot = {}", self.reboot);
        if !self.fence_agents.is_empty() {
            let _ = writeln!(text, "power = [{}]", quoted(&self.fence_agents));
        }
        if !self.checks.is_empty() {
            let _ = writeln!(text, "checks = [{}]", quoted(&self.checks));
        }
        if !self.files.is_empty() {
            let _ = writeln!(text, "marker_paths = [{}]", quoted(&self.files));
        }
        if !self.written.is_empty() {
            let _ = writeln!(text, "marker_writes = [{}]", quoted(&self.written));
        }
        if !self.sockets.is_empty() {
            let _ = writeln!(text, "check_sockets = [{}]", quoted(&self.sockets));
        }
        text.push('\n');
        if !self.check_secrets.is_empty() {
            text.push_str("[allow.check_secrets]\n");
            for (secret, targets) in &self.check_secrets {
                let _ = writeln!(text, "{} = [{}]", key(secret.as_str()), quoted(targets));
            }
            text.push('\n');
        }
        if self.services.is_empty() {
            return;
        }
        text.push_str("[allow.services]\n");
        for (service, parts) in &self.services {
            let balancer = self.balancers.get(service);
            let files = self.written_files.get(service);
            let files = files.map(Vec::as_slice).unwrap_or_default();
            let managers = managers(parts, balancer, files);
            let _ = writeln!(text, "{} = {managers}", key(service));
        }
        text.push('\n');
    }

    /// The sections that only the machine's owner can fill in.
    fn write_commands(&self, text: &mut String) {
        let parts = || self.services.values().flatten();
        let (mut servers, mut others, mut databases) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts() {
            match part {
                Part::Systemd { .. } | Part::Ocf(_) | Part::Address(_) => {}
                // It is among the parts of every instance and among those of the primary.
                Part::Postgres(server) if servers.contains(&server) => {}
                Part::Postgres(server) => {
                    servers.push(server);
                    let _ = write!(
                        text,
                        "# To be filled in: where the server's data and programs are, and what runs it.\n[postgres.{}]\n\
                         data = \"/var/lib/postgresql/15/main\"\nprograms = \"/usr/lib/postgresql/15/bin\"\n\
                         config = \"/etc/postgresql/15/main/postgresql.conf\"\nunit = \"postgresql@15-main.service\"\n\n",
                        key(server.cluster.as_str())
                    );
                }
                Part::Redis(server) if others.contains(&server) => {}
                Part::Redis(server) => {
                    others.push(server);
                    let _ = write!(
                        text,
                        "# To be filled in: the server's configuration, whose last line is `include /etc/redis/interlock.conf`, and \
                         what runs it.\n[redis.{}]\nconfig = \"/etc/redis/redis.conf\"\nport = {}\n\
                         unit = \"redis-server.service\"\n\n",
                        key(server.server.as_str()),
                        server.port
                    );
                }
                Part::Mariadb(server) if databases.contains(&server) => {}
                Part::Mariadb(server) => {
                    databases.push(server);
                    let _ = write!(
                        text,
                        "# To be filled in: the server's configuration, the agent's own file that is the last one read of it, the secret \
                         with the password of {}, and what runs it.\n[mariadb.{}]\nconfig = \"/etc/mysql/mariadb.cnf\"\n\
                         include = \"/etc/mysql/mariadb.conf.d/zz-interlock.cnf\"\nsocket = \"/run/mysqld/mysqld.sock\"\n\
                         replication_password = \"{COPY}\"\nunit = \"mariadb.service\"\n\n",
                        server.user,
                        key(server.server.as_str()),
                    );
                }
                Part::Process { name } => {
                    let _ = write!(
                        text,
                        "# To be filled in: a command that stays in the foreground.\n[process.{}]\n\
                         command = [\"/usr/bin/false\"]\n\n",
                        key(name.as_str())
                    );
                }
                Part::Exec { name } => {
                    let _ = write!(
                        text,
                        "# To be filled in: commands that start and stop it, and tell whether it runs.\n[exec.{}]\n\
                         start = [\"/usr/bin/false\"]\nstop = [\"/usr/bin/false\"]\ncheck = [\"/usr/bin/false\"]\n\n",
                        key(name.as_str())
                    );
                }
            }
        }
        let operated: Vec<&LocalName> = parts()
            .filter_map(|part| match part {
                Part::Exec { name } => Some(name),
                Part::Systemd { .. }
                | Part::Process { .. }
                | Part::Ocf(_)
                | Part::Address(_)
                | Part::Postgres(_)
                | Part::Redis(_)
                | Part::Mariadb(_) => None,
            })
            .collect();
        for check in self.checks.iter().filter(|check| !operated.contains(check)) {
            let _ = write!(
                text,
                "# To be filled in: a command whose exit status is the check.\n[exec.{}]\n\
                 check = [\"/usr/bin/false\"]\n\n",
                key(check.as_str())
            );
        }
        self.write_files(text);
        if self.by_command {
            text.push_str(
                "# To be filled in: what shuts this machine down.\n[shutdown]\ncommand = [\"/usr/bin/false\"]\n\n",
            );
        }
        if !self.secrets.is_empty() {
            let _ = write!(
                text,
                "# One file per secret, mode 0600; needed here: {}.\n[secrets]\ndir = \"/etc/interlock/secrets\"\n",
                self.secrets
                    .iter()
                    .map(LocalName::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        let end = text.trim_end().len();
        text.truncate(end);
        text.push('\n');
    }
}

impl Wanted {
    /// The files that a restart may write: where each lies is known to the machine's owner alone.
    fn write_files(&self, text: &mut String) {
        let mut services: BTreeMap<&LocalName, Vec<&str>> = BTreeMap::new();
        for (service, files) in &self.written_files {
            for file in files {
                services.entry(file).or_default().push(service);
            }
        }
        for (file, services) in services {
            let _ = write!(
                text,
                "# To be filled in: where this file of {} lies, who owns it, what checks a text of it ({{file}} stands for that\n\
                 # text, before it is in its place), and the secrets of this node that a text may name.\n[file.{}]\n\
                 path = \"/etc/{}/{file}\"\n# owner = \"root\"\n# mode = \"0640\"\n\
                 # check = [\"/usr/bin/false\", \"{{file}}\"]\n# secrets = []\n\n",
                services.join(" and "),
                key(file.as_str()),
                services.first().unwrap_or(&""),
            );
        }
    }
}

fn secret(value: &OptionValue) -> Option<LocalName> {
    match value {
        OptionValue::Secret(name) => Some(name.clone()),
        OptionValue::Plain(_) => None,
    }
}

/// `{ systemd = ["a.service"], process = "web" }`.
fn managers(
    parts: &[Part],
    balancer: Option<&(Balancer, BTreeSet<String>)>,
    files: &[LocalName],
) -> String {
    let units: Vec<&String> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Systemd { unit } => Some(unit),
            Part::Process { .. }
            | Part::Exec { .. }
            | Part::Ocf(_)
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => None,
        })
        .collect();
    let mut fields = Vec::new();
    if !units.is_empty() {
        fields.push(format!("systemd = [{}]", quoted(units)));
    }
    let processes: Vec<&str> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Process { name } => Some(name.as_str()),
            Part::Systemd { .. }
            | Part::Exec { .. }
            | Part::Ocf(_)
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => None,
        })
        .collect();
    match processes.as_slice() {
        [] => {}
        [only] => fields.push(format!("process = \"{only}\"")),
        several => fields.push(format!("process = [{}]", quoted(several))),
    }
    for part in parts {
        if let Part::Exec { name } = part {
            fields.push(format!("exec = \"{name}\""));
        }
    }
    let resources: Vec<String> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Ocf(resource) => Some(permit(resource)),
            Part::Systemd { .. }
            | Part::Process { .. }
            | Part::Exec { .. }
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => None,
        })
        .collect();
    if !resources.is_empty() {
        fields.push(format!("ocf = [{}]", resources.join(", ")));
    }
    let addresses: Vec<String> = parts.iter().filter_map(address).collect();
    if !addresses.is_empty() {
        fields.push(format!("address = [{}]", addresses.join(", ")));
    }
    let servers: BTreeSet<&LocalName> = parts
        .iter()
        .filter_map(Part::postgres)
        .map(|server| &server.cluster)
        .collect();
    if !servers.is_empty() {
        fields.push(format!("postgres = [{}]", quoted(servers)));
    }
    let servers: BTreeSet<&LocalName> = parts
        .iter()
        .filter_map(Part::redis)
        .map(|server| &server.server)
        .collect();
    if !servers.is_empty() {
        fields.push(format!("redis = [{}]", quoted(servers)));
    }
    let servers: BTreeSet<&LocalName> = parts
        .iter()
        .filter_map(Part::mariadb)
        .map(|server| &server.server)
        .collect();
    if !servers.is_empty() {
        fields.push(format!("mariadb = [{}]", quoted(servers)));
    }
    if let Some((told, backends)) = balancer {
        let backends = quoted(backends);
        fields.push(match told {
            Balancer::Haproxy { socket } => {
                let socket = quoted([socket]);
                format!("haproxy = {{ socket = {socket}, backends = [{backends}] }}")
            }
            Balancer::Nginx { file } => {
                let file = quoted([file]);
                format!("nginx = {{ file = {file}, upstreams = [{backends}] }}")
            }
        });
    }
    if !files.is_empty() {
        fields.push(format!("files = [{}]", quoted(files)));
    }
    format!("{{ {} }}", fields.join(", "))
}

/// `{ ip = "10.0.0.10", prefix = 24, interface = "eth0" }`, of an address.
fn address(part: &Part) -> Option<String> {
    let Part::Address(address) = part else {
        return None;
    };
    let whole = match address.whole_interface {
        true => ", whole_interface = true",
        false => "",
    };
    Some(format!(
        "{{ ip = {}, prefix = {}, interface = {}{whole} }}",
        quoted([&address.ip]),
        address.prefix,
        quoted([&address.interface])
    ))
}

/// `{ agent = "heartbeat:IPaddr2", parameters = { ip = ["10.0.0.10"] } }`.
fn permit(resource: &Resource) -> String {
    let parameters = resource.parameters.iter().map(|(name, value)| {
        let permitted = match value {
            OptionValue::Plain(text) => format!("[{}]", quoted([text])),
            OptionValue::Secret(secret) => format!("{{ secret = {} }}", quoted([secret])),
        };
        format!("{} = {permitted}", key(name))
    });
    let parameters: Vec<String> = parameters.collect();
    let agent = quoted([&resource.agent]);
    match parameters.is_empty() {
        true => format!("{{ agent = {agent} }}"),
        false => format!(
            "{{ agent = {agent}, parameters = {{ {} }} }}",
            parameters.join(", ")
        ),
    }
}

/// Texts as the items of a TOML array.
fn quoted<T: ToString>(texts: impl IntoIterator<Item = T>) -> String {
    texts
        .into_iter()
        .map(|text| toml::Value::String(text.to_string()).to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// A name as a key: bare where TOML allows it.
fn key(name: &str) -> String {
    let bare = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if bare {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}
