//! Talking to coordinators and agents.
//!
//! [`Coordinators`] knows several endpoints and one certificate; [`Coordinators::connect`] takes the first endpoint that
//! answers. A [`Client`] is one connection. Every call has a deadline of its own and fails with an [`RpcFailure`] that
//! says in words for people what was asked of whom, and what to do.

mod connect_failure;
mod coordinators;
mod keep_watching;
mod rpc_failure;

pub(crate) use connect_failure::ConnectFailure;
pub(crate) use coordinators::{Coordinators, credentials};
pub(crate) use keep_watching::keep_watching;
pub(crate) use rpc_failure::RpcFailure;

use std::future::Future;
use std::time::Duration;

use interlock_mesh::channel::{Address, Options, Target, connect};
use interlock_mesh::credentials::Credentials;
use interlock_mesh::identity::Identity;
use interlock_proto::v1;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::event_service_client::EventServiceClient;
use interlock_proto::v1::log_service_client::LogServiceClient;
use interlock_proto::v1::node_service_client::NodeServiceClient;
use interlock_proto::v1::operation_service_client::OperationServiceClient;
use interlock_proto::v1::plan_service_client::PlanServiceClient;
use interlock_proto::v1::store_service_client::StoreServiceClient;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// The deadline of a call that changes or reads something small; what the contract states for nearly all.
pub(crate) const SHORT: Duration = Duration::from_secs(10);

/// How many journal entries are asked for at a time.
const PAGE: u32 = 500;

/// The bound on one answer. The contract says 4 MiB; a little more leaves room for the frame.
const MESSAGE: usize = 5 * 1024 * 1024;

/// One connection to one program.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
    address: Address,
    own: Identity,
}

macro_rules! services {
    ($($name:ident: $client:ident),* $(,)?) => {$(
        pub(crate) fn $name(&self) -> $client<Channel> {
            $client::new(self.channel.clone())
                .accept_compressed(Gzip)
                .max_decoding_message_size(MESSAGE)
        }
    )*};
}

impl Client {
    /// Connects, and returns when both sides have proven who they are.
    pub(crate) async fn connect(
        target: &Target,
        credentials: &Credentials,
    ) -> Result<Self, ConnectFailure> {
        match connect(target, credentials, &Options::default()).await {
            Ok(channel) => Ok(Self {
                channel,
                address: target.address.clone(),
                own: credentials.identity(),
            }),
            Err(error) => Err(ConnectFailure::one(target.address.clone(), error)),
        }
    }

    services! {
        cluster: ClusterServiceClient,
        plans: PlanServiceClient,
        operations: OperationServiceClient,
        events: EventServiceClient,
        logs: LogServiceClient,
        node: NodeServiceClient,
        stores: StoreServiceClient,
    }

    /// Whom this connection is to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the answer of a call. `doing` completes *"cannot ..."*.
    pub(crate) async fn call<T>(
        &self,
        doing: &str,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RpcFailure> {
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failed(doing, status)),
            Err(_) => Err(self.failed(
                doing,
                Status::new(
                    Code::DeadlineExceeded,
                    format!("no answer within {} s", limit.as_secs()),
                ),
            )),
        }
    }

    /// The same of a call that changes something: without an answer it may have been done all the same, and `look` is the
    /// command that tells.
    pub(crate) async fn change<T>(
        &self,
        doing: &str,
        look: &str,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RpcFailure> {
        let answer = self.call(doing, limit, call).await;
        answer.map_err(|failure| failure.of_a_change(look))
    }

    /// The whole journal of an operation, page by page.
    pub(crate) async fn journal(
        &self,
        operation: &str,
    ) -> Result<Vec<v1::JournalEntry>, RpcFailure> {
        let mut entries: Vec<v1::JournalEntry> = Vec::new();
        loop {
            let request = v1::GetJournalRequest {
                operation: operation.to_owned(),
                after: entries.last().map_or(0, |entry| entry.sequence),
                limit: PAGE,
            };
            let mut operations = self.operations();
            let call = operations.get_journal(request);
            let page = self.call("read the journal", SHORT, call).await?;
            let more = page.more && !page.entries.is_empty();
            entries.extend(page.entries);
            if !more {
                return Ok(entries);
            }
        }
    }

    /// A status of this connection as an error for people.
    pub(crate) fn failed(&self, doing: &str, status: Status) -> RpcFailure {
        RpcFailure::new(doing, self.address.clone(), &self.own, status)
    }
}
