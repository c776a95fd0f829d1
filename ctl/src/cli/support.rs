//! `support`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, PLACE};

/// What is in it.
const BUNDLE: &str = "\
What is in it, as JSON:
  about, status, nodes   versions; how the cluster is; the machines
  spec                   the applied one, as it is understood: values for fence agents and the like are left out
  events, operations/    what happened; the last operations with their plans and journals
  doctor                 who can be reached, whose certificate ends when, clocks, versions
Secrets cannot get in: they never leave the nodes, and what a spec says in plain to other programs is left out. Logs are not
in it: interlockctl logs collect.";

#[derive(Debug, Subcommand)]
pub(crate) enum SupportCommand {
    /// Write what somebody needs who shall help, into one file.
    #[command(after_help = format!("{BUNDLE}\n\n{PLACE}"))]
    Bundle(SupportBundle),
}

/// `support bundle`.
#[derive(Debug, Args)]
pub(crate) struct SupportBundle {
    /// The file, such as shop.tar.zst; one that is there stays. CLUSTER-support-DATE-TIME.tar.zst here if nothing is said.
    #[arg(long = "out", short, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: Vec<PathBuf>,
    /// How the result is printed; a table if nothing is said.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// How many of the last operations.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) operations: u32,
}
