//! `store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

/// How a cluster moves from one store to another.
const MOVING: &str = "\
To move a cluster to another store, with no operation under way:
  interlockctl store export --file shop.store
  stop the coordinator, name the other store in its configuration, start it
  interlockctl store import --file shop.store
Agents that have been with the other store no longer follow a coordinator on the first one.";

#[derive(Debug, Subcommand)]
#[command(after_help = MOVING)]
pub(crate) enum StoreCommand {
    /// Write everything that the coordinator's store holds into a file.
    Export(StoreFile),
    /// Fill the empty store of a coordinator from such a file.
    Import(StoreFile),
    /// Take agents over from a store that is gone for good; never from one that is in use.
    Adopt {
        /// The store that the agents remember, as the coordinator's log names it.
        incarnation: String,
        /// Why it is certain that the store is gone; kept with the events.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// `store export` and `store import`.
#[derive(Debug, Args)]
pub(crate) struct StoreFile {
    /// The file; it holds everything that the coordinators know, and is made readable by its owner only.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}
