//! Which cluster, and as whom.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::complete;

/// Set on each argument: a heading of the whole struct would go on to what follows.
const HEADING: &str = "Connection";

/// Where to connect to. Flags go before the environment, the environment before the context.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// The context to use instead of the current one.
    #[arg(help_heading = HEADING, long, global = true, env = "INTERLOCK_CONTEXT", value_name = "NAME", add = ArgValueCompleter::new(complete::contexts))]
    pub(crate) context: Option<String>,
    /// Coordinators to use instead of the context's; several with commas, the first that answers is used.
    #[arg(
        help_heading = HEADING,
        long,
        global = true,
        env = "INTERLOCK_ENDPOINT",
        value_name = "HOST[:PORT]",
        value_delimiter = ','
    )]
    pub(crate) endpoint: Vec<String>,
    /// The directory with your certificate, as `pki issue operator` leaves it, instead of the context's files.
    #[arg(
        help_heading = HEADING,
        long,
        global = true,
        env = "INTERLOCK_TLS_DIR",
        value_name = "DIR",
        value_hint = clap::ValueHint::DirPath
    )]
    pub(crate) tls_dir: Option<PathBuf>,
}
