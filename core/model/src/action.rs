//! What a step can do, and the two vocabularies of it.
//!
//! A plan speaks of [`Action`]s: *stop this instance*, *power this node off*. An agent is asked for [`Command`]s: typed,
//! allow-listed, with every name and argument spelled out, never a shell string. One action may need commands on two
//! machines: a power-off is a shutdown on the node itself and a question to the power source on another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::FloatingAddress;
use crate::file::FileWork;
use crate::mariadb::Mariadb;
use crate::member::{Member, Then};
use crate::names::{GateName, LocalName, NodeName, PowerName, ServiceName};
use crate::ocf::Resource;
use crate::plan::Digest;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::time::human;

/// How long a process that an agent supervises gets between the polite signal and SIGKILL, if the agent's own file does not
/// say.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// What a step of a plan does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Make the instance run. Proof: its manager says running.
    Start,
    /// Make the instance stop. Proof: its manager says stopped.
    Stop,
    /// The instance comes up with its machine: restart it if it was running before its requirements were met, start
    /// it if it is not running. Proof: it runs, since after this attempt began.
    Verify,
    /// Make the instance primary, and whoever was it a standby. Proof: its agent says that it is primary. Nobody is asked
    /// for it by command: the lease moves (`interlock_engine::lease`), and the step waits for that.
    Promote,
    /// Make sure that a role has arrived. Proof: by the word of its agent, heard since the step's turn came, the instance is the
    /// primary and takes writes; the one that had the role takes none, by its own or its power source's; nobody else who is heard
    /// says to be primary; and at each of the `addresses` one of `from` gets an answer, asked since then.
    VerifyRole {
        /// The addresses by which the primary is reached; empty if the service has none.
        addresses: BTreeSet<String>,
        /// The nodes that are no members of the service and are asked; empty if none was heard.
        from: Vec<NodeName>,
    },
    /// Wait until the instance, a standby, has what its primary has. Proof: the leader of the service's lease says that it
    /// could take the role.
    CatchUp,
    /// Switch the node on at its power source. Proof: its agent is alive with a new boot id (agentless: power on).
    PowerOn {
        /// The power source.
        power: PowerRef,
    },
    /// Shut the node's operating system down. Proof: its power source says off. Never a hard off.
    PowerOff {
        /// The power source.
        power: PowerRef,
    },
    /// Restart the node's operating system. Proof: its agent is alive with a new boot id.
    Reboot,
    /// Take a member out of the load balancer that is the step's instance: nothing new, wait for its sessions, then what
    /// the spec says. Proof: the balancer's own state, read back.
    Drain {
        /// The member.
        member: Member,
        /// How long its sessions get.
        #[serde(with = "human")]
        within: Duration,
        /// What it is put to after that.
        then: Then,
    },
    /// Let a member of the load balancer that is the step's instance take part. Proof: the balancer says that it does,
    /// and takes it for up.
    Admit {
        /// The member.
        member: Member,
    },
    /// Have the service's own checker look at the new text of a file of the instance, and change nothing. Proof: it takes
    /// the text, or can only look at the file in its place.
    TryFile {
        /// The file, as the spec and the agents' own files name it.
        file: LocalName,
        /// Which text of the plan.
        text: Digest,
    },
    /// Make a file of the instance say this. Proof: it does, and the service's own checker takes it.
    WriteFile {
        /// The file.
        file: LocalName,
        /// Which text of the plan.
        text: Digest,
    },
    /// Put a file back that this operation has written. Proof: it is what it was before.
    RestoreFile {
        /// The file.
        file: LocalName,
    },
    /// Do nothing but wait until the step's checks are fresh and green.
    Check,
    /// Wait until a person confirms.
    Approve {
        /// The gate as the spec names it.
        gate: GateName,
        /// What the person is asked to do or to confirm.
        text: String,
        /// Who may confirm.
        role: crate::spec::Role,
    },
}

impl Action {
    /// The word for this action in plans, journals and on the command line.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Verify => "verify",
            Self::Promote => "promote",
            Self::VerifyRole { .. } => "verify-role",
            Self::CatchUp => "catch-up",
            Self::PowerOn { .. } => "power-on",
            Self::PowerOff { .. } => "power-off",
            Self::Reboot => "reboot",
            Self::Drain { .. } => "drain",
            Self::Admit { .. } => "admit",
            Self::TryFile { .. } => "try-file",
            Self::WriteFile { .. } => "write-file",
            Self::RestoreFile { .. } => "restore-file",
            Self::Check => "check",
            Self::Approve { .. } => "approve",
        }
    }

    /// Does it only look, at what the coordinator knows and asks, so that no agent is asked to do anything?
    #[must_use]
    pub fn only_looks(&self) -> bool {
        matches!(self, Self::Check | Self::VerifyRole { .. } | Self::CatchUp)
    }

    /// Is its proof a power source or a boot, and not the word of an agent?
    #[must_use]
    pub fn is_power(&self) -> bool {
        matches!(
            self,
            Self::PowerOn { .. } | Self::PowerOff { .. } | Self::Reboot
        )
    }

    /// The member that is switched in a load balancer, if that is what it does.
    #[must_use]
    pub fn member(&self) -> Option<&Member> {
        match self {
            Self::Drain { member, .. } | Self::Admit { member } => Some(member),
            Self::Start
            | Self::Stop
            | Self::Verify
            | Self::Promote
            | Self::VerifyRole { .. }
            | Self::CatchUp
            | Self::PowerOn { .. }
            | Self::PowerOff { .. }
            | Self::Reboot
            | Self::TryFile { .. }
            | Self::WriteFile { .. }
            | Self::RestoreFile { .. }
            | Self::Check
            | Self::Approve { .. } => None,
        }
    }

    /// Does this action take something out of service? Then *down* is its end, otherwise *up*.
    #[must_use]
    pub fn takes_down(&self) -> bool {
        matches!(
            self,
            Self::Stop | Self::PowerOff { .. } | Self::Drain { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a node is switched, decided when the plan is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerRef {
    /// The power device of the spec.
    pub device: PowerName,
    /// Which of its plugs is the node.
    pub plug: String,
    /// The nodes that can reach the device, in order of preference.
    pub via: Vec<NodeName>,
    /// Who shuts the operating system down.
    pub shutdown: ShutdownBy,
}

/// Who shuts a node's operating system down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownBy {
    /// Its agent asks the operating system.
    Agent,
    /// Its agent runs the shutdown command of its own file.
    Command,
    /// A person does; the power source proves it.
    Manual,
}

/// One managed part of a service on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A systemd unit.
    Systemd {
        /// The unit, with its suffix.
        unit: String,
    },
    /// A process that the agent supervises, defined in the agent's own file.
    Process {
        /// Its name in that file.
        name: LocalName,
    },
    /// Start, stop and check commands, defined in the agent's own file.
    Exec {
        /// Their name in that file.
        name: LocalName,
    },
    /// A resource of an OCF resource agent.
    Ocf(Resource),
    /// An address of the primary.
    Address(FloatingAddress),
    /// A PostgreSQL server: a standby wherever the role is not, and promoted with it.
    Postgres(Postgres),
    /// A Redis server: a replica wherever the role is not, and promoted with it.
    Redis(Redis),
    /// A MariaDB server: a replica wherever the role is not, and promoted with it.
    Mariadb(Mariadb),
}

impl Part {
    /// Does it run on every instance, and become another thing with the role?
    #[must_use]
    pub fn is_promoted(&self) -> bool {
        self.is_server() || self.promotable().is_some()
    }

    /// Is it a database server, whose data are known to go so far?
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.postgres().is_some() || self.redis().is_some() || self.mariadb().is_some()
    }

    /// The resource that its agent promotes, if it is one.
    #[must_use]
    pub fn promotable(&self) -> Option<&Resource> {
        match self {
            Self::Ocf(resource) => Some(resource).filter(|resource| resource.promotable),
            Self::Systemd { .. }
            | Self::Process { .. }
            | Self::Exec { .. }
            | Self::Address(_)
            | Self::Postgres(_)
            | Self::Redis(_)
            | Self::Mariadb(_) => None,
        }
    }

    /// The PostgreSQL server that it is, if it is one.
    #[must_use]
    pub fn postgres(&self) -> Option<&Postgres> {
        match self {
            Self::Postgres(postgres) => Some(postgres),
            Self::Systemd { .. }
            | Self::Process { .. }
            | Self::Exec { .. }
            | Self::Ocf(_)
            | Self::Address(_)
            | Self::Redis(_)
            | Self::Mariadb(_) => None,
        }
    }

    /// The Redis server that it is, if it is one.
    #[must_use]
    pub fn redis(&self) -> Option<&Redis> {
        match self {
            Self::Redis(redis) => Some(redis),
            Self::Systemd { .. }
            | Self::Process { .. }
            | Self::Exec { .. }
            | Self::Ocf(_)
            | Self::Address(_)
            | Self::Postgres(_)
            | Self::Mariadb(_) => None,
        }
    }

    /// The MariaDB server that it is, if it is one.
    #[must_use]
    pub fn mariadb(&self) -> Option<&Mariadb> {
        match self {
            Self::Mariadb(mariadb) => Some(mariadb),
            Self::Systemd { .. }
            | Self::Process { .. }
            | Self::Exec { .. }
            | Self::Ocf(_)
            | Self::Address(_)
            | Self::Postgres(_)
            | Self::Redis(_) => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Systemd { unit } => write!(f, "systemd {unit}"),
            Self::Process { name } => write!(f, "process {name}"),
            Self::Exec { name } => write!(f, "exec {name}"),
            Self::Ocf(resource) => write!(f, "ocf {} {}", resource.agent, resource.name),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Postgres(postgres) => postgres.fmt(f),
            Self::Redis(redis) => redis.fmt(f),
            Self::Mariadb(mariadb) => mariadb.fmt(f),
        }
    }
}

/// What a coordinator asks an agent to do, as one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Start the parts downwards; wanted becomes running.
    Start {
        /// The service.
        service: ServiceName,
        /// Its parts on this node.
        parts: Vec<Part>,
    },
    /// Stop the parts upwards; wanted becomes stopped.
    Stop {
        /// The service.
        service: ServiceName,
        /// Its parts on this node.
        parts: Vec<Part>,
    },
    /// See [`Action::Verify`]; wanted becomes running.
    Verify {
        /// The service.
        service: ServiceName,
        /// Its parts on this node.
        parts: Vec<Part>,
    },
    /// See [`Action::Promote`]: wait until this node's own lease has made the instance primary.
    Promote {
        /// The service.
        service: ServiceName,
    },
    /// See [`Action::Drain`].
    Drain {
        /// The service of the load balancer.
        balancer: ServiceName,
        /// The member.
        member: Member,
        /// How long its sessions get.
        #[serde(with = "human")]
        within: Duration,
        /// What it is put to after that.
        then: Then,
    },
    /// See [`Action::Admit`].
    Admit {
        /// The service of the load balancer.
        balancer: ServiceName,
        /// The member.
        member: Member,
    },
    /// Do something with a file of the instance.
    File {
        /// The service.
        service: ServiceName,
        /// The file, as the agent's own file names it.
        file: LocalName,
        /// What.
        work: FileWork,
    },
    /// Shut this machine down.
    Shutdown {
        /// By the operating system, or by the command of the agent's own file.
        by: ShutdownBy,
    },
    /// Restart this machine.
    Reboot,
    /// Run a fence agent on this node against another node's plug.
    Fence {
        /// What is asked for.
        request: FenceCall,
    },
}

impl Command {
    /// The word for this command in ledgers and journals.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Verify { .. } => "verify",
            Self::Promote { .. } => "promote",
            Self::Drain { .. } => "drain",
            Self::Admit { .. } => "admit",
            Self::File { work, .. } => match work {
                FileWork::Try(_) => "try-file",
                FileWork::Write(_) => "write-file",
                FileWork::Restore => "restore-file",
            },
            Self::Shutdown { .. } => "shutdown",
            Self::Reboot => "reboot",
            Self::Fence { .. } => "fence",
        }
    }
}

/// A call of a fence agent (fence agent API; options go to its standard input).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceCall {
    /// The device, for the per-device queue.
    pub device: PowerName,
    /// The program, such as `fence_ipmilan`; a bare name.
    pub agent: String,
    /// What it shall do.
    pub action: FenceAction,
    /// The node that is switched.
    pub node: NodeName,
    /// Its plug on the device.
    pub plug: String,
    /// Further options. A secret is named here and read from a file on the node that runs the agent.
    pub options: BTreeMap<String, OptionValue>,
    /// The time limit of one call.
    #[serde(with = "human")]
    pub limit: Duration,
}

/// The actions of a fence agent that Interlock uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceAction {
    /// Switch on.
    On,
    /// Switch off, hard.
    Off,
    /// Ask whether a plug is on.
    Status,
    /// Ask which plugs the device has, and what it calls them.
    List,
}

/// The value of an option of a power device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionValue {
    /// Given in the spec.
    Plain(String),
    /// The name of a secret that lies in a file on the node; the value never travels.
    Secret(LocalName),
}

/// What a power source says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// On.
    On,
    /// Off: the only proof that a machine is down (invariant I5).
    Off,
    /// It did not answer, or was never asked.
    Unknown,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        })
    }
}
