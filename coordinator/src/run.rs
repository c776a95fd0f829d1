//! From a configuration to a serving coordinator, and to an orderly end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use interlock_engine::coordinator::Coordinator;
use interlock_mesh::authz::Table;
use interlock_mesh::credentials::{self, Credentials, Files, system_clock};
use interlock_mesh::identity::Kind;
use interlock_mesh::server::{Options, Server, common};
use interlock_proto::v1;
use interlock_proto::v1::agent_service_server::AgentServiceServer;
use interlock_proto::v1::cluster_service_server::ClusterServiceServer;
use interlock_proto::v1::event_service_server::EventServiceServer;
use interlock_proto::v1::log_relay_service_server::LogRelayServiceServer;
use interlock_proto::v1::log_service_server::LogServiceServer;
use interlock_proto::v1::operation_service_server::OperationServiceServer;
use interlock_proto::v1::plan_service_server::PlanServiceServer;
use interlock_proto::v1::store_service_server::StoreServiceServer;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tracing::{error, info, warn};

use crate::clock;
use crate::config::Config;
use crate::driver::{Driver, Handle, Lineage, clear_broken_import, compaction, load};
use crate::leadership::{Candidate, Leadership, Sole};
use crate::leases::Leases;
use crate::services::{Cluster, Events, Logs, Operations, PORTABLE, Planning, Plans, Stores};
use crate::sessions::AgentSessions;
use crate::store::Store;
use crate::store::chosen::Chosen;

/// How often changed certificate files are looked for.
const RELOAD: Duration = Duration::from_secs(30);

/// The bound on one message: a status of a thousand nodes is about 1 MiB.
const MESSAGE: usize = 4 * 1024 * 1024;

/// The bound on one message about logs.
const LOG_MESSAGE: usize = 64 * 1024;

/// The services of this program, by full names.
const SERVED: [&str; 8] = [
    v1::agent_service_server::SERVICE_NAME,
    v1::cluster_service_server::SERVICE_NAME,
    v1::event_service_server::SERVICE_NAME,
    v1::log_relay_service_server::SERVICE_NAME,
    v1::log_service_server::SERVICE_NAME,
    v1::operation_service_server::SERVICE_NAME,
    v1::plan_service_server::SERVICE_NAME,
    v1::store_service_server::SERVICE_NAME,
];

/// Serves until a signal ends it, or leadership or the store is lost.
///
/// # Errors
/// If something that it needs cannot be had; the chain says what, and what to do.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let (watcher, credentials) = own_credentials(&config)?;
    let name = credentials.identity().name().to_owned();
    let cluster = credentials.identity().cluster().to_string();
    let chosen = Chosen::open(&config.store, &config.state_dir, &cluster, &name).await?;
    let result = serve(&config, chosen.clone(), credentials, watcher).await;
    chosen.close().await;
    result
}

/// The certificate that the configuration names, if it is that of this coordinator.
///
/// # Errors
/// If a file cannot be read or used, or belongs to somebody else.
pub fn own_credentials(config: &Config) -> anyhow::Result<(credentials::Store, Credentials)> {
    let files = Files {
        authority: config.tls.ca.clone(),
        certificate: config.tls.cert.clone(),
        key: config.tls.key.clone(),
    };
    let (watcher, credentials) = credentials::open(files, Kind::Coordinator, system_clock())?;
    let name = credentials.identity().name().to_owned();
    anyhow::ensure!(
        name == config.name.as_str(),
        "the certificate is that of coordinator {name}, the configuration names {}: issue one for it, or correct `name`",
        config.name
    );
    Ok((watcher, credentials))
}

/// Leads and serves on an open store.
async fn serve(
    config: &Config,
    chosen: Chosen,
    credentials: Credentials,
    watcher: credentials::Store,
) -> anyhow::Result<()> {
    let name = config.name.to_string();
    let cluster = credentials.identity().cluster().to_string();
    let store = chosen.store();
    let leadership: Arc<dyn Leadership> = Arc::new(Sole::new(Arc::clone(&store)));
    let leading = leadership
        .campaign(Candidate {
            coordinator: name.clone(),
            process: uuid::Uuid::now_v7(),
        })
        .await?;
    if clear_broken_import(&*store, leading.guard(), PORTABLE).await? {
        warn!("an import into this store was broken off; the store is empty again");
    }
    let lineage = Lineage::load(&*store).await?;
    let loaded = load(&*store).await?;
    let resumed = loaded.operations.len();
    let mut coordinator = Coordinator::recover(leading.term(), loaded)?;
    if let Some(trouble) = coordinator.spec_trouble() {
        error!(%trouble, "the spec that this store holds is not one of this version");
        coordinator.tell_spec_trouble(clock::now());
    }
    let (driver, handle) = Driver::new(
        name.clone(),
        coordinator,
        Arc::clone(&store),
        leadership,
        leading.clone(),
    );

    let table = Arc::new(Table::interlock_v1());
    let server = Server::bind(config.listen, credentials, table, Options::default()).await?;
    info!(address = %server.address(), coordinator = name, term = %leading.term(), resumed, "serving");
    // One line for scripts and tests: the address that was really bound.
    println!("listening on {}", server.address());

    let reload = tokio::spawn(watcher.run(RELOAD));
    let driver = tokio::spawn(driver.run());
    let kept = tokio::spawn(compaction::run(
        handle.clone(),
        Arc::clone(&store),
        config.keep.into(),
    ));
    handle.call(move |desk| desk.lineage = lineage).await?;
    let stopping = async {
        signal().await;
        info!("stopping: operations under way go on when a coordinator is back");
    };
    let leases = Leases::begin(handle.clone(), Arc::clone(&store)).await?;
    let routes = routes(&handle, &store, leases, cluster).await?;
    tokio::select! {
        served = server.serve(routes, std::future::pending()) => served?,
        ended = driver => ended.context("the driver panicked")??,
        () = chosen.lost() => anyhow::bail!("the store is no longer held by this coordinator; another one may work on it"),
        () = stopping => {}
    }
    reload.abort();
    kept.abort();
    Ok(())
}

async fn routes(
    handle: &Handle,
    store: &Arc<dyn Store>,
    leases: Leases,
    cluster: String,
) -> anyhow::Result<Routes> {
    let stores = StoreServiceServer::new(Stores::new(handle.clone(), Arc::clone(store), cluster))
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MESSAGE)
        .max_encoding_message_size(MESSAGE);
    let cluster = ClusterServiceServer::new(Cluster::new(handle.clone(), Arc::clone(store)))
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MESSAGE)
        .max_encoding_message_size(MESSAGE);
    let planning = Planning::new();
    let operations = Operations::new(handle.clone(), Arc::clone(store), planning.clone());
    let operations = OperationServiceServer::new(operations)
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MESSAGE)
        .max_encoding_message_size(MESSAGE);
    let plans = PlanServiceServer::new(Plans::new(handle.clone(), planning))
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_encoding_message_size(MESSAGE);
    // Not compressed: what is sent is compressed once, where it is kept.
    let (logs, relay) = Logs::new(handle.clone());
    Ok(common(&SERVED, interlock_proto::FILE_DESCRIPTOR_SET)
        .await?
        .add_service(stores)
        .add_service(
            AgentServiceServer::new(AgentSessions::new(handle.clone(), leases))
                .max_decoding_message_size(1024 * 1024),
        )
        .add_service(LogServiceServer::new(logs).max_decoding_message_size(LOG_MESSAGE))
        .add_service(LogRelayServiceServer::new(relay).max_decoding_message_size(LOG_MESSAGE))
        .add_service(cluster)
        .add_service(plans)
        .add_service(operations)
        .add_service(EventServiceServer::new(Events::new(
            handle.clone(),
            Arc::clone(store),
        ))))
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
