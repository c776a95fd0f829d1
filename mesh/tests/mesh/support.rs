//! A cluster of certificates, a server with a real service, and clients, all on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use interlock_mesh::authz::{Access, Table};
use interlock_mesh::channel::{self, ConnectError, Expected, Target};
use interlock_mesh::credentials::{self, Clock, Credentials, Files, Store};
use interlock_mesh::identity::Identity;
use interlock_mesh::pki::{CertificateAuthority, Existing, IssueRequest};
use interlock_mesh::server::{Options, Server};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The method that all these tests call.
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A clock that stands still.
#[derive(Debug)]
struct Stopped(SystemTime);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(
            self.0.duration_since(SystemTime::UNIX_EPOCH).ok()?,
        ))
    }
}

/// A clock that shows `time` for ever.
pub(crate) fn stopped_at(time: SystemTime) -> Clock {
    Arc::new(Stopped(time))
}

/// An authority with a directory for what it issues.
pub(crate) struct Pki {
    pub(crate) authority: CertificateAuthority,
    directory: TempDir,
}

impl Pki {
    /// An authority that has been valid for 100 days and will be for 1,000 more.
    pub(crate) fn new(cluster: &str) -> Self {
        let authority = CertificateAuthority::init(
            cluster.parse().unwrap(),
            SystemTime::now() - 100 * DAY,
            1_100 * DAY,
        )
        .unwrap();
        Self {
            authority,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a certificate for `uri` that began `age` ago and lives for `life`.
    pub(crate) fn issue(&self, uri: &str, age: Duration, life: Duration) -> Files {
        let identity: Identity = uri.parse().unwrap();
        let file = format!("{}-{}", identity.kind(), identity.name());
        let request = IssueRequest {
            identity,
            names: vec!["127.0.0.1".parse().unwrap()],
            not_before: SystemTime::now() - age,
            life,
        };
        let issued = self.authority.issue(&request).unwrap();
        issued
            .save(
                self.directory(),
                &file,
                self.authority.cert_pem(),
                Existing::Replace,
            )
            .unwrap()
    }

    /// Credentials for `uri` that are valid now.
    pub(crate) fn member(&self, uri: &str) -> Credentials {
        self.watched_member(uri).1
    }

    /// The same, with the side that reloads.
    pub(crate) fn watched_member(&self, uri: &str) -> (Store, Credentials) {
        open(
            self.issue(uri, DAY, 10 * DAY),
            uri,
            credentials::system_clock(),
        )
        .unwrap()
    }

    /// Credentials that ended yesterday, held by somebody whose clock is two days behind.
    pub(crate) fn expired_member(&self, uri: &str) -> Credentials {
        let files = self.issue(uri, 10 * DAY, 9 * DAY);
        open(files, uri, stopped_at(SystemTime::now() - 2 * DAY))
            .unwrap()
            .1
    }

    /// A coordinator's server on loopback.
    pub(crate) async fn coordinator(&self) -> Running {
        serve(self.member(COORDINATOR), Options::default()).await
    }
}

pub(crate) const COORDINATOR: &str = "interlock://acd/coordinator/mgmt1";
pub(crate) const AGENT: &str = "interlock://acd/agent/dbm1";
pub(crate) const READER: &str = "interlock://acd/operator/anna?role=reader";

pub(crate) fn open(
    files: Files,
    uri: &str,
    clock: Clock,
) -> Result<(Store, Credentials), credentials::LoadError> {
    credentials::open(files, uri.parse::<Identity>().unwrap().kind(), clock)
}

/// A server with the health service, which everybody in the cluster may call.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
}

pub(crate) async fn serve(credentials: Credentials, options: Options) -> Running {
    let everybody = Table::new([(CHECK, Access::MEMBERS)]).unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    serve_routes(credentials, options, everybody, Routes::new(health)).await
}

pub(crate) async fn serve_routes(
    credentials: Credentials,
    options: Options,
    table: Table,
    routes: Routes,
) -> Running {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(loopback, credentials, Arc::new(table), options)
        .await
        .unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(async move {
        server
            .serve(routes, async { drop(stopped.await) })
            .await
            .unwrap();
    });
    Running {
        address,
        stop: Some(stop),
        done,
    }
}

impl Running {
    pub(crate) fn target(&self, expected: Expected) -> Target {
        Target {
            address: self.address.to_string().parse().unwrap(),
            expected,
        }
    }

    /// Stops accepting and waits until all connections have ended.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.done).await.unwrap();
    }

    pub(crate) async fn connect(&self, credentials: &Credentials) -> Result<Channel, ConnectError> {
        channel::connect(
            &self.target(Expected::Coordinator),
            credentials,
            &channel::Options::default(),
        )
        .await
    }

    /// Connects, and the failure is what is wanted.
    pub(crate) async fn refuse(&self, credentials: &Credentials) -> ConnectError {
        self.connect(credentials)
            .await
            .expect_err("the connection should be refused")
    }
}

/// One request over the channel.
pub(crate) async fn call(channel: Channel) -> Result<(), tonic::Status> {
    HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map(drop)
}
