//! What commands that act have in common.

use clap::Args;
use interlock_model::names::ServiceName;

use super::reason;

/// Set on each argument: a heading of the whole struct would go on to what follows.
const HEADING: &str = "Confirming and following";

/// What stands for the answer when it is asked whether to act.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// Do not ask. What takes machines down needs --cluster too.
    #[arg(help_heading = HEADING, long, short)]
    pub(crate) yes: bool,
    /// The cluster's name, instead of typing it when asked.
    #[arg(help_heading = HEADING, long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Of a failover: the service of which writes may be lost.
    #[arg(skip)]
    pub(crate) service: Option<ServiceName>,
}

/// How an operation is confirmed, started and followed.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    #[command(flatten)]
    pub(crate) answer: Answer,
    /// Why; kept with the operation and in the audit.
    #[arg(help_heading = HEADING, long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason::optional)]
    pub(crate) reason: String,
    /// Single steps: each one begins only on Enter, or on `interlockctl operation next`.
    #[arg(help_heading = HEADING, long)]
    pub(crate) step: bool,
    /// Return as soon as the operation is started.
    #[arg(help_heading = HEADING, long)]
    pub(crate) no_wait: bool,
}
