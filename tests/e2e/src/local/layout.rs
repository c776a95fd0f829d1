//! What a local cluster consists of, and the files that say so.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use interlock_mesh::credentials::Files;

/// The port of a stand-in; the second one of a machine has the next.
const SERVICE_PORT: u16 = 8080;

/// Where resource agents are installed.
const OCF_PATH: &str = "/usr/lib/ocf/resource.d";

/// The fence agent of the machines that can be switched; its option `machines` is `DIR/nodes`.
pub const FENCE: &str = "fence_local";

/// A cluster to be.
#[derive(Debug, Clone)]
pub struct Layout<'a> {
    /// The spec, with `NET` for the network and `DIR` for the directory of the cluster: `address: NET.11`.
    pub spec: &'a str,
    /// The machines with an agent.
    pub machines: Vec<Machine>,
}

/// A machine to be.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) node: String,
    pub(super) host: u8,
    processes: Vec<String>,
    execs: Vec<String>,
    resources: Vec<(String, String)>,
    permits: Vec<(String, String)>,
    allowed: Vec<String>,
    balancers: Vec<Balancer>,
    commands: Vec<Program>,
    files: Vec<(String, String)>,
    pub(super) under: Vec<String>,
    pub(super) switched: bool,
    pub(super) agentless: bool,
    sections: String,
}

/// A program to be: the name of its service, its command, the port that tells that it is ready, and further lines of its
/// section in the agent's own file.
#[derive(Debug, Clone)]
struct Program {
    name: String,
    command: Vec<String>,
    ready: Option<u16>,
    more: Vec<String>,
}

/// A load balancer to be: its service, and the group whose members are switched.
#[derive(Debug, Clone)]
enum Balancer {
    Haproxy(String, String),
    Nginx(String, String),
}

impl Machine {
    /// The machine of this node, at the network's address with this last number.
    #[must_use]
    pub fn new(node: &str, host: u8) -> Self {
        Self {
            node: node.to_owned(),
            host,
            processes: Vec::new(),
            execs: Vec::new(),
            resources: Vec::new(),
            permits: Vec::new(),
            allowed: Vec::new(),
            balancers: Vec::new(),
            commands: Vec::new(),
            files: Vec::new(),
            under: Vec::new(),
            switched: false,
            agentless: false,
            sections: String::new(),
        }
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// It may run a process of this name, for the service of the same name. The first one listens on port 8080.
    #[must_use]
    pub fn process(mut self, name: &str) -> Self {
        self.processes.push(name.to_owned());
        self
    }

    /// It has commands of this name, for the service of the same name. They must not be repeated blindly.
    #[must_use]
    pub fn exec(mut self, name: &str) -> Self {
        self.execs.push(name.to_owned());
        self
    }

    /// It may use a resource agent for the service of this name: `{ agent = ... }` of the agent's own file. Those below
    /// `DIR/ocf.d` come before the installed ones.
    #[must_use]
    pub fn ocf(mut self, name: &str, permit: &str) -> Self {
        self.resources.push((name.to_owned(), permit.to_owned()));
        self
    }

    /// What it may do for a service, in the words of the agent's own file: `postgres = ["main"]`.
    #[must_use]
    pub fn permit(mut self, service: &str, permit: &str) -> Self {
        self.permits.push((service.to_owned(), permit.to_owned()));
        self
    }

    /// It may run HAProxy, for the service of this name, and switch the members of a backend. Its file is `NAME.cfg` in the
    /// directory of the cluster, its runtime socket `NAME.sock`, and it listens on port 8080. A reload is SIGUSR2. It is
    /// stopped by SIGUSR1: nobody new gets in, and who is in has his answer first.
    #[must_use]
    pub fn haproxy(mut self, name: &str, backend: &str) -> Self {
        let balancer = Balancer::Haproxy(name.to_owned(), backend.to_owned());
        self.balancers.push(balancer);
        self
    }

    /// It may run nginx, for the service of this name, and switch the members of an upstream. In the directory of the
    /// cluster its file is `NAME.conf`, that of the upstream `NAME.members`, that of its process `NAME.pid`, and it listens
    /// on port 8080.
    #[must_use]
    pub fn nginx(mut self, name: &str, upstream: &str) -> Self {
        let balancer = Balancer::Nginx(name.to_owned(), upstream.to_owned());
        self.balancers.push(balancer);
        self
    }

    /// It may run this command, for the service of this name. `NET.` and `DIR/` in its words stand for the network and the
    /// directory, as in the spec. It is ready when this port of its machine takes connections, or at once.
    #[must_use]
    pub fn command(mut self, name: &str, command: &[&str], ready: Option<u16>) -> Self {
        self.commands.push(Program {
            name: name.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ready,
            more: Vec::new(),
        });
        self
    }

    /// A further line of the section of the last [`Machine::command`] in the agent's own file: `user = "nobody"`.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        if let Some(last) = self.commands.last_mut() {
            last.more.push(line.to_owned());
        }
        self
    }

    /// The file of this name may be written for the service of a [`Machine::command`]; its section is for
    /// [`Machine::sections`].
    #[must_use]
    pub fn file(mut self, service: &str, name: &str) -> Self {
        self.files.push((service.to_owned(), name.to_owned()));
        self
    }

    /// Its agent's own file has these sections besides. `NET.` and `DIR/` as in [`Machine::command`].
    #[must_use]
    pub fn sections(mut self, text: &str) -> Self {
        self.sections += text;
        self
    }

    /// Its agent is started by this command, which ends in being what follows it. `NET.` and `DIR/` as in
    /// [`Machine::command`].
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// It can be switched: a [`Vm`](super::vm::Vm) whose plug has the name of its node. The others are on for good.
    #[must_use]
    pub fn switched(mut self) -> Self {
        self.switched = true;
        self.allow("shutdown = true")
    }

    /// It can be switched, and no agent runs on it: its first process comes and goes with it.
    #[must_use]
    pub fn agentless(mut self) -> Self {
        self.agentless = true;
        self.switched()
    }

    /// It may switch the machines that can be, by the fence agent [`FENCE`].
    #[must_use]
    pub fn switches(self) -> Self {
        self.allow(&format!("power = [\"{FENCE}\"]"))
            .allow("fence_dir = [\"DIR/fence\"]")
    }

    /// Its agent permits this besides: a line of `[allow]` in the agent's own file. `NET.` and `DIR/` as in
    /// [`Machine::command`].
    #[must_use]
    pub fn allow(mut self, line: &str) -> Self {
        self.allowed.push(line.to_owned());
        self
    }
}

/// Where the files of a cluster are.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// The directory of the cluster.
    pub(super) directory: &'a Path,
    /// `127.x.y.`.
    pub(super) network: &'a str,
    /// The helper program.
    pub(super) helper: &'a Path,
    /// Where the coordinator is.
    pub(super) endpoint: &'a str,
}

impl Places<'_> {
    /// The agent's own file of a machine.
    pub(super) fn agent_file(&self, machine: &Machine, tls: &Files) -> Result<String> {
        let Machine {
            node,
            host,
            processes,
            execs,
            resources,
            permits,
            allowed,
            balancers,
            commands,
            files,
            under: _,
            switched,
            agentless: _,
            sections,
        } = machine;
        let here = self.directory.join("nodes").join(node);
        let (boot, shutdown) = match switched {
            true => self.machine_sections(&here)?,
            false => Default::default(),
        };
        let mut file = format!(
            "coordinators = [\"https://{}\"]\n\n[node]\nname = \"{node}\"\nstate_dir = \"{}\"\n{boot}\n{}\n{shutdown}[listen]\naddress = \
             \"{}{host}:7444\"\n\n[allow]\n{}\n[allow.services]\n",
            self.endpoint,
            here.join("state").display(),
            tls_section(tls),
            self.network,
            self.fill(&allowed.join("\n")),
        );
        for name in processes.iter().chain(commands.iter().map(|it| &it.name)) {
            let files = files.iter().filter(|(service, _)| service == name);
            let files: Vec<&String> = files.map(|(_, file)| file).collect();
            let files = match files.is_empty() {
                true => String::new(),
                false => format!(", files = {files:?}"),
            };
            writeln!(file, "{name} = {{ process = \"{name}\"{files} }}")?;
        }
        for name in execs {
            writeln!(file, "{name} = {{ exec = \"{name}\" }}")?;
        }
        for (name, permit) in resources {
            writeln!(file, "{name} = {{ ocf = [{permit}] }}")?;
        }
        for (name, permit) in permits {
            writeln!(file, "{name} = {{ {permit} }}")?;
        }
        for balancer in balancers {
            writeln!(file, "{}", self.allowed_balancer(balancer)?)?;
        }
        if !resources.is_empty() {
            let state = here.join("ocf");
            let path = self.directory.join("ocf.d");
            let path = format!("[\"{}\", \"{OCF_PATH}\"]", path.display());
            writeln!(
                file,
                "\n[ocf]\npath = {path}\nstate = \"{}\"",
                state.display()
            )?;
        }
        for balancer in balancers {
            let (name, command) = self.balancer_command(balancer);
            writeln!(
                file,
                "\n[process.{name}]\ncommand = {}\nready = {{ tcp = \"{}{host}:{SERVICE_PORT}\" }}",
                serde_json::to_string(&command)?,
                self.network
            )?;
            if let Balancer::Haproxy(..) = balancer {
                writeln!(file, "stop_signal = \"USR1\"\nstop_grace = \"60s\"")?;
            }
        }
        for Program {
            name,
            command,
            ready,
            more,
        } in commands
        {
            let command = serde_json::to_string(&self.fill_all(command))?;
            writeln!(file, "\n[process.{name}]\ncommand = {command}")?;
            for line in more {
                writeln!(file, "{line}")?;
            }
            if let Some(port) = ready {
                writeln!(
                    file,
                    "ready = {{ tcp = \"{}{host}:{port}\" }}",
                    self.network
                )?;
            }
        }
        for (name, port) in processes.iter().zip(SERVICE_PORT..) {
            let listen = format!("{}{host}:{port}", self.network);
            let command = self.serve(name, node, *host, port);
            writeln!(
                file,
                "\n[process.{name}]\ncommand = {}\nready = {{ tcp = \"{listen}\" }}\nstop_grace = \"60s\"",
                serde_json::to_string(&command)?
            )?;
        }
        for name in execs {
            let state = here.join(format!("{name}.runs")).display().to_string();
            writeln!(file, "\n[exec.{name}]\ntime_limit = \"60s\"")?;
            for verb in ["start", "stop", "check"] {
                let mut command = self.stand_in("act", name, node);
                command.extend(["--state".to_owned(), state.clone(), verb.to_owned()]);
                writeln!(file, "{verb} = {}", serde_json::to_string(&command)?)?;
            }
        }
        file += &self.fill(sections);
        Ok(file)
    }

    /// What runs on a machine without an agent.
    pub(super) fn init(&self, machine: &Machine) -> Vec<String> {
        let name = machine.processes.first().map_or("nothing", String::as_str);
        self.serve(name, &machine.node, machine.host, SERVICE_PORT)
    }

    /// A process of the service of this name.
    fn serve(&self, name: &str, node: &str, host: u8, port: u16) -> Vec<String> {
        let mut command = self.stand_in("serve", name, node);
        command.extend([
            "--listen".to_owned(),
            format!("{}{host}:{port}", self.network),
            "--active".to_owned(),
            self.active(name).display().to_string(),
        ]);
        command
    }

    /// Where its boot id is, and what shuts it down.
    fn machine_sections(&self, here: &Path) -> Result<(String, String)> {
        let press = [
            &self.helper.display().to_string(),
            "press",
            "--directory",
            &here.display().to_string(),
        ];
        Ok((
            format!("boot_id_path = \"{}\"\n", here.join("boot_id").display()),
            format!(
                "[shutdown]\ncommand = {}\n\n",
                serde_json::to_string(&press)?
            ),
        ))
    }

    /// With the network and the directory in their places.
    pub(super) fn fill(&self, text: &str) -> String {
        let directory = format!("{}/", self.directory.display());
        text.replace("NET.", self.network)
            .replace("DIR/", &directory)
    }

    /// The same of each.
    pub(super) fn fill_all(&self, words: &[String]) -> Vec<String> {
        words.iter().map(|word| self.fill(word)).collect()
    }

    /// What the agent of a load balancer permits.
    fn allowed_balancer(&self, balancer: &Balancer) -> Result<String> {
        let path = |name: &str, end: &str| self.directory.join(format!("{name}.{end}"));
        Ok(match balancer {
            Balancer::Haproxy(name, backend) => format!(
                "{name} = {{ process = \"{name}\", haproxy = {{ socket = {:?}, backends = [\"{backend}\"] }} }}",
                path(name, "sock")
            ),
            Balancer::Nginx(name, upstream) => {
                let (_, mut test) = self.balancer_command(balancer);
                test.push("-t".to_owned());
                format!(
                    "{name} = {{ process = \"{name}\", nginx = {{ file = {:?}, upstreams = [\"{upstream}\"], pid = {:?}, \
                     test = {} }} }}",
                    path(name, "members"),
                    path(name, "pid"),
                    serde_json::to_string(&test)?
                )
            }
        })
    }

    /// The name of a load balancer, and what runs it.
    fn balancer_command(&self, balancer: &Balancer) -> (String, Vec<String>) {
        let (name, end, program) = match balancer {
            Balancer::Haproxy(name, _) => {
                (name, "cfg", &["/usr/sbin/haproxy", "-W", "-db", "-f"][..])
            }
            Balancer::Nginx(name, _) => {
                (name, "conf", &["/usr/sbin/nginx", "-e", "stderr", "-c"][..])
            }
        };
        let file = self.directory.join(format!("{name}.{end}"));
        let words = program.iter().map(|word| (*word).to_owned());
        (
            name.clone(),
            words.chain([file.display().to_string()]).collect(),
        )
    }

    fn stand_in(&self, role: &str, name: &str, node: &str) -> Vec<String> {
        let words = [
            self.helper.display().to_string(),
            role.to_owned(),
            "--who".to_owned(),
            format!("{name}@{node}"),
            "--story".to_owned(),
            self.directory.join("story").display().to_string(),
            "--holds".to_owned(),
            self.directory.join("holds").display().to_string(),
        ];
        words.to_vec()
    }

    /// The file that says which side of a service is active.
    pub(super) fn active(&self, service: &str) -> std::path::PathBuf {
        self.directory.join(format!("{service}.active"))
    }

    /// The coordinator's own file.
    pub(super) fn coordinator_file(&self, listen: &str, tls: &Files) -> String {
        format!(
            "name = \"mgmt\"\nlisten = \"{listen}\"\nstate_dir = \"{}\"\n\n{}",
            self.directory.join("coordinator").display(),
            tls_section(tls)
        )
    }
}

fn tls_section(tls: &Files) -> String {
    format!(
        "[tls]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
        tls.authority.display(),
        tls.certificate.display(),
        tls.key.display()
    )
}
