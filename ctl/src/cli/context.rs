//! `context`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use super::{Output, complete};

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts; the current one has a star.
    List(Output),
    /// Make a context the current one.
    Use {
        /// Its name.
        #[arg(add = ArgValueCompleter::new(complete::contexts))]
        name: String,
    },
    /// Add a context, or change it; the first one becomes the current one.
    Add(ContextAdd),
    /// Show one context, the current one if none is named, and where the file is.
    Show {
        /// Its name.
        #[arg(add = ArgValueCompleter::new(complete::contexts))]
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a context.
    Remove {
        /// Its name.
        #[arg(add = ArgValueCompleter::new(complete::contexts))]
        name: String,
    },
}

/// `context add`. The endpoints and the directory are those of `--endpoint` and `--tls-dir`.
#[derive(Debug, Args)]
pub(crate) struct ContextAdd {
    /// Its name; the cluster's is a good one.
    pub(crate) name: String,
    /// The authority's certificate, if not in --tls-dir.
    #[arg(long, value_name = "FILE", requires = "cert", requires = "key")]
    pub(crate) ca: Option<PathBuf>,
    /// Your certificate, if not in --tls-dir.
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key, if not in --tls-dir.
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub(crate) key: Option<PathBuf>,
    /// Make it the current one.
    #[arg(long = "use")]
    pub(crate) make_current: bool,
}
