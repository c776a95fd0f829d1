//! `spec`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use interlock_model::names::NodeName;

use super::{Output, complete, reason};

#[derive(Debug, Subcommand)]
pub(crate) enum SpecCommand {
    /// Check a file, without any cluster: all problems at once.
    Check {
        /// The file; - is standard input.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Also warn of what this file of a node's agent gives more time than the spec does: `stop_grace` of a process.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        agent_config: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Apply a file as the next generation. Starts and stops nothing.
    Apply(SpecApply),
    /// Print the applied spec, byte for byte.
    Show {
        /// An older generation instead of the current one.
        #[arg(long, value_name = "N", add = complete::generations())]
        generation: Option<u64>,
        /// table: the file itself.
        #[command(flatten)]
        output: Output,
    },
    /// What a file would change. Exit code 0 in any case; prints nothing if nothing would change.
    Diff {
        /// The file; - is standard input.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Print the JSON Schema of the file, for editors.
    Schema,
    /// Print the file of a node's agent, with an allow-list of just what the spec asks of it.
    AgentConfig {
        /// The node.
        #[arg(add = complete::nodes())]
        node: NodeName,
        /// The spec to take it from, instead of the applied one.
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}

/// `spec apply`. A file is for the cluster that it names: a coordinator of another one refuses it, so no flag has to.
#[derive(Debug, Args)]
pub(crate) struct SpecApply {
    /// The file; - is standard input.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The generation that the file was made from; refused if another one is applied. Without it, the current one;
    /// refused if that changes meanwhile.
    #[arg(long, value_name = "N")]
    pub(crate) base: Option<u64>,
    /// Only check and compare.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why; kept with the spec and in its event.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason::optional)]
    pub(crate) reason: String,
    /// Do not ask. The changes are shown all the same.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}
