//! The command line.
//!
//! Types only: what each word means is done in [`crate::commands`]. Doc comments here are the help texts, and a golden
//! test holds them.

mod complete;
mod connection;
mod context;
mod follow;
mod host;
mod logs;
mod maintenance;
mod names;
mod node;
mod operation;
mod output;
mod pki;
mod place;
mod plan;
mod reason;
mod restart;
mod spec;
mod store;
mod support;
mod switchover;
mod unblock;
mod why;

pub(crate) use connection::Connection;
pub(crate) use context::{ContextAdd, ContextCommand};
pub(crate) use follow::{Answer, Confirm};
pub(crate) use host::{Evacuate, Failback, Restore};
pub(crate) use logs::{LogsCollect, LogsCommand, LogsFollow};
pub(crate) use maintenance::{MaintenanceCommand, MaintenanceScope};
pub(crate) use names::Names;
pub(crate) use node::{NodeCommand, NodeControl, PowerCommand};
pub(crate) use operation::{OperationCommand, Retry};
pub(crate) use output::{Format, Output};
pub(crate) use pki::{Issue, IssueCommand, PkiCommand, PkiInit};
pub(crate) use place::{PLACE, place};
pub(crate) use plan::{PlanArgs, PlanCommand, PlanFormat, Scope};
pub(crate) use restart::Restart;
pub(crate) use spec::{SpecApply, SpecCommand};
pub(crate) use store::{StoreCommand, StoreFile};
pub(crate) use support::{SupportBundle, SupportCommand};
pub(crate) use switchover::{Failover, Switchover};
pub(crate) use unblock::Unblock;
pub(crate) use why::{Why, WhyAbout};

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use interlock_model::names::NodeName;

use crate::exit::Exit;

/// Drives a cluster from a workstation: plans, runs and follows ordered operations.
///
/// Every command that acts makes a plan first, shows it, asks, starts exactly that plan, and follows it until each step
/// is done and proven. Data goes to standard output, talk to standard error. NO_COLOR turns colours off.
#[derive(Debug, Parser)]
#[command(name = "interlockctl", version, max_term_width = 100, after_help = Exit::help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line, and whether a program reads what comes of it: `-o json`.
    ///
    /// # Errors
    /// If it is wrong, or asks for help or the version. What is wrong is told as if nothing were in the environment:
    /// otherwise the usage line would ask for what the environment says.
    pub(crate) fn read() -> Result<(Self, bool), clap::Error> {
        let read = Self::command().try_get_matches().and_then(|matches| {
            let cli = Self::from_arg_matches(&matches)?;
            Ok((cli, wants_json(&matches)))
        });
        read.map_err(|error| {
            if !error.use_stderr() {
                return error;
            }
            let connection = ["context", "endpoint", "tls_dir"];
            let typed = connection
                .into_iter()
                .fold(Self::command(), |command, name| {
                    command.mut_arg(name, |arg| arg.env(Resettable::Reset))
                });
            typed.try_get_matches().err().unwrap_or(error)
        })
    }

    /// Does a command line that cannot be read ask for JSON? By its words alone: where it is wrong, there is nothing else.
    pub(crate) fn asks_for_json(line: impl IntoIterator<Item = OsString>) -> bool {
        let mut awaited = false;
        for word in line {
            let word = word.to_string_lossy();
            let word: &str = &word;
            if word == "--" {
                return false;
            }
            let asks = match word.strip_suffix("json") {
                Some("") => awaited,
                Some(before) => is_output(before.strip_suffix('=').unwrap_or(before)),
                None => false,
            };
            if asks {
                return true;
            }
            awaited = is_output(word);
        }
        false
    }
}

/// Is it the option that says how data is printed? `-o` may stand behind other flags of one letter, as in `-wo`.
fn is_output(word: &str) -> bool {
    let flags = word.strip_prefix('-').unwrap_or_default();
    let short = flags.ends_with('o') && flags.bytes().all(|b| b.is_ascii_alphabetic());
    short || matches!(word, "--output" | "--format")
}

/// Is what the command prints for a program that reads JSON?
fn wants_json(matches: &ArgMatches) -> bool {
    let mut command = matches;
    while let Some((_, below)) = command.subcommand() {
        command = below;
    }
    let output = |id| {
        let format = command.try_get_one::<Format>(id).ok().flatten();
        let plan = command.try_get_one::<PlanFormat>(id).ok().flatten();
        format == Some(&Format::Json) || plan == Some(&PlanFormat::Json)
    };
    output("output") || output("format")
}

/// Where each shell looks for scripts.
const INSTALL: &str = "\
Where to put it:
  bash  interlockctl completions bash > ~/.local/share/bash-completion/completions/interlockctl
  zsh   interlockctl completions zsh > \"${fpath[1]}/_interlockctl\"
  fish  interlockctl completions fish > ~/.config/fish/completions/interlockctl.fish

Live names are asked from the cluster; one that does not answer within 800ms completes nothing.
INTERLOCK_COMPLETION_TIMEOUT=3s waits longer.";

/// Where `man` looks for them.
const MAN: &str = "\
Where to put them:
  you alone  interlockctl man ~/.local/share/man/man1
  everybody  interlockctl man /usr/local/share/man/man1";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How the cluster is: nodes, services, causes, operations.
    Status(Status),
    /// Show what would be done, and do nothing.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Stop in order, and power off with --all, --node and --host: plan, show, confirm, start, follow.
    Shutdown(Run),
    /// Power on with --all, --node and --host, and start in order: plan, show, confirm, start, follow.
    Startup(Run),
    /// Restart instances, a batch at a time: plan, show, confirm, start, follow.
    Restart(Restart),
    /// Restart machines, a batch at a time: plan, show, confirm, start, follow.
    Reboot(Run),
    /// Move the role of an exclusive service to another node, without loss: plan, show, confirm, start, follow.
    Switchover(Switchover),
    /// Give the role of an exclusive service to another node, on your word that its primary's machine is down.
    Failover(Failover),
    /// Move the role of an exclusive service back to the first of its nodes in the spec: plan, show, confirm, start, follow.
    Failback(Failback),
    /// Empty a VM host while service goes on: move roles away, drain, stop, power off: plan, show, confirm, start, follow.
    Evacuate(Evacuate),
    /// Take a VM host into service again: power on, start, catch up, admit: plan, show, confirm, start, follow.
    Restore(Restore),
    /// Keep automatic failover off something while you work on it.
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// Let something fail over by itself again, after it has done so too often.
    Unblock(Unblock),
    /// Operations: look, follow, steer.
    #[command(subcommand, visible_alias = "op")]
    Operation(OperationCommand),
    /// Confirm a step that waits for a person.
    Approve(Approve),
    /// What happened, and who did what.
    Events(Events),
    /// Why a role is where it is: evidence, proof, candidates, and where the time went.
    Why(Why),
    /// What nodes write about themselves: bring it here, or read along.
    #[command(subcommand)]
    Logs(LogsCommand),
    /// The cluster spec: check, apply, show, compare.
    #[command(subcommand)]
    Spec(SpecCommand),
    /// One node: through a coordinator, or its agent directly with --node.
    #[command(subcommand)]
    Node(NodeCommand),
    /// The OCF resource agents of the nodes, and the parameters of those that are permitted.
    AgentTypes(AgentTypes),
    /// Power sources.
    #[command(subcommand)]
    Power(PowerCommand),
    /// The coordinators' store: take it along to another one.
    #[command(subcommand)]
    Store(StoreCommand),
    /// For who shall help.
    #[command(subcommand)]
    Support(SupportCommand),
    /// Which cluster is meant, and as whom.
    #[command(subcommand)]
    Context(ContextCommand),
    /// The cluster's certificates.
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Write the manual pages.
    #[command(after_help = MAN)]
    Man {
        /// Where to; made if it is not there.
        #[arg(value_hint = clap::ValueHint::DirPath)]
        directory: PathBuf,
    },
    /// Print the script that completes commands and live names in a shell.
    #[command(after_help = INSTALL)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Show it again whenever something changes, until Ctrl-C.
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `shutdown`, `startup`, `reboot`, and what is the same of `restart`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `approve`.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The operation, such as op-17.
    #[arg(add = complete::operations())]
    pub(crate) operation: String,
    /// The gate, such as test-call, or the step.
    #[arg(add = complete::gates())]
    pub(crate) gate: String,
    /// Why it may go on; kept in the journal.
    #[arg(long, value_name = "TEXT", value_parser = reason::given)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `agent-types`.
#[derive(Debug, Args)]
pub(crate) struct AgentTypes {
    /// All that the agents of this node say of themselves; without it, which agents there are.
    #[arg(add = complete::nodes())]
    pub(crate) node: Option<NodeName>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Go on with new events as they happen, until Ctrl-C.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last N.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) tail: u32,
    /// Those after the event with this number, instead of the last ones.
    #[arg(long, value_name = "NUMBER", conflicts_with = "tail")]
    pub(crate) after: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A shell with completions.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}
