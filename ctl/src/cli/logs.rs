//! `logs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use interlock_model::names::{NodeName, ServiceName};

use super::{Format, Names, PLACE, complete};

/// What becomes of what is collected.
const COLLECTED: &str = "\
What is in it:
  YYYYMMDD/NODE/LOG/...zst  what was new that day, by zstd; a file that grew is continued, not repeated
  SHA256SUMS                of all of these; check with: sha256sum -c SHA256SUMS
  result.json               each node: how much came, what could not be read and why
  index/                    what has been collected, by which a second run takes only what is new
A directory takes the next collection as well, and goes on where one was broken off; so does a bundle that was.
What can be read is named in each agent's own file: [logs.NAME], its processes, the units that it may operate.";

#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// Bring the logs of nodes here, each line once.
    #[command(after_help = format!("{COLLECTED}\n\n{PLACE}"))]
    Collect(LogsCollect),
    /// Show the log of a service on a node as it is written, until Ctrl-C.
    Follow(LogsFollow),
}

/// `logs collect`.
#[derive(Debug, Args)]
pub(crate) struct LogsCollect {
    /// Only these nodes, such as db1,jb[1-3]; all nodes with an agent otherwise.
    #[arg(long = "node", value_name = "NODES", add = complete::nodes())]
    pub(crate) nodes: Vec<Names<NodeName>>,
    /// Only files that were changed since, and journals from then on: a duration such as 2h, a date, a date and time of
    /// day, or `all`.
    #[arg(long, value_name = "WHEN", default_value = "1d")]
    pub(crate) since: String,
    /// Where to: a directory, or a bundle whose name ends in .tar.zst; CLUSTER-logs-DATE-TIME.tar.zst here if nothing is
    /// said.
    #[arg(long = "out", short, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) out: Vec<PathBuf>,
    /// How the result is printed; a table if nothing is said.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
}

/// `logs follow`.
#[derive(Debug, Args)]
pub(crate) struct LogsFollow {
    /// The node.
    #[arg(add = complete::nodes())]
    pub(crate) node: NodeName,
    /// The service, or the name of a log in the agent's file.
    #[arg(add = complete::services())]
    pub(crate) service: ServiceName,
    /// How many of the last lines come first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) lines: u32,
}
