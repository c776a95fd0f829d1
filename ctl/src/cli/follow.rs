//! What commands that act have in common.

use clap::Args;

/// How an operation is confirmed, started and followed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Confirming and following")]
pub(crate) struct Confirm {
    /// Do not ask. A plan that takes machines down needs --cluster too.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// The cluster's name, instead of typing it when asked.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Why; kept with the operation and in the audit.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Single steps: each one begins only on Enter, or on `interlockctl operation next`.
    #[arg(long)]
    pub(crate) step: bool,
    /// Return as soon as the operation is started.
    #[arg(long)]
    pub(crate) no_wait: bool,
}
