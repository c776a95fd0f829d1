//! `pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use interlock_mesh::identity::Role;
use interlock_mesh::pki::SubjectName;
use interlock_model::names::ClusterName;

use super::Names;

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the cluster's certificate authority.
    Init(PkiInit),
    /// Issue certificates, each with its key and the authority's certificate in a directory of its own.
    #[command(subcommand)]
    Issue(IssueCommand),
}

/// `pki init`.
#[derive(Debug, Args)]
pub(crate) struct PkiInit {
    /// The cluster's name, as in the spec.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: ClusterName,
    /// Where the authority is kept. Its key can make anybody a member: keep it off the cluster's machines.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub(crate) dir: PathBuf,
    /// How long the authority is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IssueCommand {
    /// For the agents of nodes.
    Agent {
        #[command(flatten)]
        issue: Issue,
        /// IP addresses and host names of the node, for other tools; only with a single name.
        #[arg(long, value_name = "IP|DNS", value_delimiter = ',')]
        address: Vec<SubjectName>,
    },
    /// For coordinators.
    Coordinator {
        #[command(flatten)]
        issue: Issue,
        /// IP addresses and host names of the coordinator, for other tools; only with a single name.
        #[arg(long, value_name = "IP|DNS", value_delimiter = ',')]
        address: Vec<SubjectName>,
    },
    /// For people, and for programs that act for them.
    Operator {
        #[command(flatten)]
        issue: Issue,
        /// What they may do: look, run operations, or also change the spec.
        #[arg(long, default_value = "operator")]
        role: RoleArg,
    },
}

/// What every certificate needs.
#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// The names of the nodes, such as db1 or jb[1-3], or of the people.
    #[arg(required = true, value_name = "NAMES")]
    pub(crate) names: Vec<Names<String>>,
    /// Where the authority is.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub(crate) dir: PathBuf,
    /// How long the certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// Where the files go instead of DIR/KIND/NAME; only with a single name.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace a certificate and key that are already there.
    #[arg(long)]
    pub(crate) replace: bool,
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    /// May look.
    Reader,
    /// May run operations.
    Operator,
    /// May change the spec too.
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Reader => Self::Reader,
            RoleArg::Operator => Self::Operator,
            RoleArg::Admin => Self::Admin,
        }
    }
}
