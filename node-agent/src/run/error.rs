//! Why an agent does not start, or has ended badly.

use std::io;
use std::path::PathBuf;

use interlock_mesh::channel::AddressError;
use interlock_mesh::credentials::LoadError;
use interlock_mesh::server::{BindError, DescribeError, ServeError};
use interlock_model::names::NodeName;

use crate::ledger;
use crate::roles;
use crate::shim;

/// Why an agent does not start, or has ended badly. What it manages is not touched in any case.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no runtime to be had.
    #[error("cannot start the agent's runtime: are there too many processes or open files?")]
    Runtime(#[source] io::Error),
    /// The state directory cannot be made.
    #[error("cannot make {path}, where this agent keeps what it must remember (state_dir)")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The identity of this boot cannot be read.
    #[error("cannot read the identity of this boot from {path} (boot_id_path)")]
    BootId {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("the credentials of this node cannot be used (section [tls])")]
    Credentials(#[source] LoadError),
    /// The certificate is another node's.
    #[error(
        "the certificate is that of {found}, but this node is called {node} in the agent's file: issue one with \
         `interlockctl pki issue`, or correct [node] name"
    )]
    OtherNode {
        /// The node of the file.
        node: NodeName,
        /// Whose certificate it is.
        found: String,
    },
    /// A coordinator's address is none.
    #[error("coordinator '{endpoint}' in the agent's file has no usable address")]
    Coordinator {
        /// As it is written.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: AddressError,
    },
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenError),
    /// The runs cannot be used.
    #[error(transparent)]
    Runs(#[from] shim::OpenError),
    /// What an earlier agent left running cannot be found.
    #[error("cannot look for what an earlier agent left running in {path}")]
    Adopt {
        /// The directory of the runs.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The roles of this node cannot be kept.
    #[error(transparent)]
    Roles(#[from] roles::Error),
    /// The service manager cannot be told that this agent is ready.
    #[error("cannot talk to the service manager that started this agent")]
    Notify(#[source] io::Error),
    /// The agent's own service cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The agent's own service ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The descriptions for grpcurl cannot be built.
    #[error(transparent)]
    Describe(#[from] DescribeError),
}
