//! Whole systems: a shipped spec of `deploy/clusters`, real servers, and stand-ins for the closed product, as a local
//! cluster. Tests run their procedures, and `cargo xtask demo --system` shows them.

pub mod hcdc;
pub mod mstr;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use interlock_mesh::identity::Role;
use rustix::process::Pid;
use serde_json::Value;

use crate::local::{Cluster, Operator};

/// What is asked of each of them alike.
pub trait System: Sized + Sync {
    /// The cluster.
    fn cluster(&self) -> &Cluster;

    /// Lets all of it go on without this process: where its files are, and which process keeps it ([`Cluster::keep`]).
    ///
    /// # Errors
    /// Nothing goes on.
    fn keep(self) -> Result<(PathBuf, Pid)>;

    /// Somebody who may do everything.
    fn operator(&self) -> &Operator;

    /// The service of the product, whose instances are behind a load balancer.
    fn product(&self) -> &'static str;

    /// A store that all instances live on: its service, and its node.
    fn store(&self) -> (&'static str, &'static str);

    /// `interlockctl`, for somebody who may do everything.
    ///
    /// # Errors
    /// As [`Cluster::ctl_command`].
    fn ctl(&self) -> Result<Command> {
        self.cluster().ctl_command("ada", Role::Admin)
    }

    /// Gets a page through the load balancer.
    ///
    /// # Errors
    /// There is none, or it tells of a fault.
    fn ask(&self) -> Result<()>;

    /// The process of each instance, and since when it is, as it tells itself.
    ///
    /// # Errors
    /// One does not answer.
    fn processes(&self) -> Result<Vec<(Value, Value)>>;

    /// How often an instance has logged that it has lost a store.
    ///
    /// # Errors
    /// A log cannot be read.
    fn losses(&self) -> Result<usize>;
}

/// What the agents' own files say of [`secret`]s.
const SECRETS: &str = "\n[secrets]\ndir = \"DIR/secrets\"\n";

/// Writes down with what checks log in.
fn secret(cluster: &Cluster, name: &str, text: &str) -> Result<()> {
    let directory = cluster.path("secrets");
    fs::create_dir_all(&directory)?;
    let file = directory.join(name);
    fs::write(&file, text)?;
    Ok(fs::set_permissions(
        &file,
        fs::Permissions::from_mode(0o600),
    )?)
}
