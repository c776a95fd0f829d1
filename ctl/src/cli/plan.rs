//! `plan`, and what all commands that plan have in common.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use interlock_model::names::{HostName, NodeName, ServiceName};
use interlock_model::plan::PlanKind;

use super::host::{PlanEvacuate, PlanFailback, PlanRestore};
use super::restart::{Config, PlanRestart};
use super::switchover::PlanSwitchover;
use super::{Names, complete};

/// The heading of what a plan is about. Set on each argument: a heading of the whole struct would go on to what follows.
const SCOPE: &str = "Scope (exactly one)";

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Stop in order, and power off with --all, --node and --host.
    Shutdown(PlanKindArg),
    /// Power on with --all, --node and --host, and start in order.
    Startup(PlanKindArg),
    /// Restart instances, a batch at a time.
    Restart(PlanRestart),
    /// Restart machines, a batch at a time.
    Reboot(PlanKindArg),
    /// Move the role of an exclusive service.
    Switchover(PlanSwitchover),
    /// Move the role of an exclusive service back to the first of its nodes.
    Failback(PlanFailback),
    /// Empty a VM host while service goes on.
    Evacuate(PlanEvacuate),
    /// Take a VM host into service again.
    Restore(PlanRestore),
}

impl PlanCommand {
    /// The kind and its arguments.
    pub(crate) fn into_parts(self) -> (PlanKind, PlanKindArg) {
        match self {
            Self::Shutdown(args) => (PlanKind::Shutdown, args),
            Self::Startup(args) => (PlanKind::Startup, args),
            Self::Restart(args) => (PlanKind::Restart, args.into()),
            Self::Reboot(args) => (PlanKind::Reboot, args),
            Self::Switchover(args) => (PlanKind::Switchover, args.into()),
            Self::Failback(args) => (PlanKind::Failback, args.into()),
            Self::Evacuate(args) => (PlanKind::Evacuate, args.into()),
            Self::Restore(args) => (PlanKind::Restore, args.into()),
        }
    }
}

/// `plan KIND`.
#[derive(Debug, Args)]
pub(crate) struct PlanKindArg {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    /// Plan for this spec, without a cluster: everything is taken to be in the opposite state, and the report says so.
    #[arg(long, short, value_name = "FILE", requires = "offline", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Connect to nothing; needs --file.
    #[arg(long, requires = "file")]
    pub(crate) offline: bool,
    /// How the plan is printed.
    #[arg(long, short, value_name = "FORMAT", default_value = "tree")]
    pub(crate) output: PlanFormat,
}

/// A way of printing a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// Stages with their steps, for people.
    Tree,
    /// A row per step, for people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// A graph for Graphviz.
    Dot,
}

/// What is planned for, and how.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Instances (restart) or nodes (reboot) at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
    /// One step after the other, nothing in parallel.
    #[arg(long)]
    pub(crate) serial: bool,
    /// Override this check, as SERVICE.CHECK; the report names the one that stands in the way. Kept in the audit.
    #[arg(long, value_name = "SERVICE.CHECK", value_delimiter = ',', add = complete::checks())]
    pub(crate) force: Vec<String>,
    /// The active instance of an exclusive service, on your word, where it cannot be observed.
    #[arg(long, value_name = "SERVICE=NODE", value_delimiter = ',', value_parser = assumption, add = complete::sides())]
    pub(crate) assume_active: Vec<(ServiceName, NodeName)>,
    /// Of a switchover: where the role goes.
    #[arg(skip)]
    pub(crate) to: Option<NodeName>,
    /// Of a failover: the nodes whose machines are down by the operator's word.
    #[arg(skip)]
    pub(crate) attested: Vec<NodeName>,
    /// Of a failover: may writes be lost?
    #[arg(skip)]
    pub(crate) accept_loss: bool,
    /// Of a restart: the file that is changed on the way.
    #[arg(skip)]
    pub(crate) config: Option<Config>,
    /// Of a restore: do roles go back?
    #[arg(skip)]
    pub(crate) failback: bool,
}

/// What it is about: exactly one of these, the whole cluster never by omission.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("scope").required(true))]
pub(crate) struct Scope {
    /// The whole cluster, machines too.
    #[arg(long, group = "scope", help_heading = SCOPE)]
    pub(crate) all: bool,
    /// All instances of these services; switches no machine.
    #[arg(long, short, value_name = "SERVICE", group = "scope", help_heading = SCOPE, add = complete::services())]
    pub(crate) service: Vec<Names<ServiceName>>,
    /// These nodes with all that is on them, machines too; also as a range, such as 'jb[1-3]'.
    #[arg(long, short, value_name = "NODE", group = "scope", help_heading = SCOPE, add = complete::nodes())]
    pub(crate) node: Vec<Names<NodeName>>,
    /// The instances on the nodes with this label; switches no machine.
    #[arg(long, short, value_name = "KEY=VALUE", group = "scope", help_heading = SCOPE, add = complete::labels())]
    pub(crate) label: Option<Label>,
    /// The nodes on this VM host with all that is on them, machines too.
    #[arg(long, value_name = "HOST", group = "scope", help_heading = SCOPE, add = complete::hosts())]
    pub(crate) host: Option<HostName>,
}

/// A label that a node may have, as `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("write KEY=VALUE, such as tier=web".to_owned()),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// Reads `SERVICE=NODE`.
pub(super) fn assumption(text: &str) -> Result<(ServiceName, NodeName), String> {
    let (service, node) = text
        .split_once('=')
        .ok_or_else(|| "write SERVICE=NODE, such as dbm=dbm1".to_owned())?;
    Ok((
        service.parse().map_err(|error| format!("{error}"))?,
        node.parse().map_err(|error| format!("{error}"))?,
    ))
}
