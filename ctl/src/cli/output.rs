//! How data is printed.

use clap::{Args, ValueEnum};

/// How data is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// How data is printed.
    #[arg(long = "output", short, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// A way of printing data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}
