//! The agent's own services, for when no coordinator can be asked: `interlockctl --node`, grpcurl; beside it what agents ask each
//! other (`peers`).
//!
//! Reads work always. What a person does by hand goes the same way as an attempt: through the allow-list and the
//! ledger, where it is recorded with who and why. Three doors stay shut: instances of exclusive services are never
//! started or stopped here (safety rule E16: this node cannot know who else is active; but a person may say that nothing of
//! one is left whose shim was killed), nothing is done to an instance
//! while an attempt is open on it, and nothing to one that an operation holds (invariant I8), unless the person names that
//! operation: with every coordinator dead nobody could end it.

mod allowed;
mod service;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use interlock_mesh::authz::Table;
use interlock_mesh::credentials::Credentials;
use interlock_mesh::server::{BindError, Options, Server, common};
use interlock_model::ids::BootId;
use interlock_model::names::{ClusterName, NodeName};
use interlock_proto::v1;
use interlock_proto::v1::node_service_server::NodeServiceServer;

use crate::config::Allow;
use crate::facts::FactsReader;
use crate::peers;
use crate::roles::Roles;
use crate::run::{Error, Instances, Managers};
use crate::session::{Clock, Handle};
use crate::watchdog;

/// The longest answer (`GetNode`, `ListAttempts`: 1 MiB).
const MAX_ANSWER: usize = 1 << 20;

/// The longest request (`ControlInstance`: 64 KiB).
const MAX_REQUEST: usize = 64 << 10;

/// What the service tells of.
#[derive(Debug, Clone)]
pub(crate) struct NodeState {
    pub(crate) node: NodeName,
    pub(crate) cluster: ClusterName,
    pub(crate) boot: BootId,
    pub(crate) session: Handle,
    pub(crate) instances: Instances,
    pub(crate) managers: Managers,
    pub(crate) allow: Allow,
    pub(crate) facts: Arc<Mutex<FactsReader>>,
    pub(crate) clock: Clock,
    pub(crate) roles: Roles,
    pub(crate) watchdog: watchdog::View,
}

/// Listens.
pub(crate) async fn bind(
    address: SocketAddr,
    credentials: Credentials,
) -> Result<Server, BindError> {
    Server::bind(
        address,
        credentials,
        Arc::new(Table::interlock_v1()),
        Options::default(),
    )
    .await
}

/// Serves until dropped.
pub(crate) async fn serve(server: Server, state: NodeState) -> Result<(), Error> {
    let peers = peers::server(state.roles.clone());
    let node = NodeServiceServer::new(service::Service::new(state))
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_ANSWER);
    let served = [
        v1::node_service_server::SERVICE_NAME,
        v1::peer_service_server::SERVICE_NAME,
    ];
    let routes = common(&served, interlock_proto::FILE_DESCRIPTOR_SET)
        .await?
        .add_service(node)
        .add_service(peers);
    server.serve(routes, std::future::pending()).await?;
    Ok(())
}
