//! Which cluster, and as whom.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::complete;

/// Where to connect to. Flags go before the environment, the environment before the context.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The context to use instead of the current one.
    #[arg(long, global = true, env = "INTERLOCK_CONTEXT", value_name = "NAME", add = ArgValueCompleter::new(complete::contexts))]
    pub(crate) context: Option<String>,
    /// Coordinators to use instead of the context's; several with commas, the first that answers is used.
    #[arg(
        long,
        global = true,
        env = "INTERLOCK_ENDPOINT",
        value_name = "HOST[:PORT]",
        value_delimiter = ','
    )]
    pub(crate) endpoint: Vec<String>,
    /// The directory with your certificate, as `pki issue operator` leaves it, instead of the context's files.
    #[arg(
        long,
        global = true,
        env = "INTERLOCK_TLS_DIR",
        value_name = "DIR",
        value_hint = clap::ValueHint::DirPath
    )]
    pub(crate) tls_dir: Option<PathBuf>,
}
