//! The line to one peer.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use futures_util::future::join_all;
use interlock_mesh::channel::{self, Address, Expected, Options, Target};
use interlock_mesh::credentials::Credentials;
use interlock_model::names::ServiceName;
use interlock_model::postgres::Peer;
use interlock_proto::convert::holder_to_wire;
use interlock_proto::v1;
use interlock_proto::v1::peer_service_client::PeerServiceClient;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::Question;
use crate::reach;
use crate::roles::Roles;
use crate::run::chain;

/// How long an answer may take, with a new connection where there is none. Shorter than what is left of any right when its peers
/// are asked first, so that a connection that leads nowhere is given up in time for another one.
const LIMIT: Duration = Duration::from_millis(700);

/// A connection that nothing was asked on for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// The longest message (`PeerService.Promise`: 4 KiB).
const MAX_MESSAGE: usize = 4 << 10;

/// The last question of each service.
pub(super) type Waiting = BTreeMap<ServiceName, Question>;

/// The line to one peer: asks what waits, on one connection.
#[derive(Debug)]
pub(super) struct Line {
    peer: Peer,
    credentials: Credentials,
    roles: Roles,
    client: Option<PeerServiceClient<Channel>>,
    /// What stood in the way last, so that it is logged once.
    trouble: Option<String>,
}

impl Line {
    pub(super) fn new(peer: Peer, credentials: Credentials, roles: Roles) -> Self {
        Self {
            peer,
            credentials,
            roles,
            client: None,
            trouble: None,
        }
    }

    /// Asks whatever is put there, until nobody can put anything any more.
    pub(super) async fn run(mut self, mut waiting: watch::Receiver<Waiting>) {
        let mut done = Waiting::new();
        loop {
            match timeout(IDLE, waiting.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    self.client = None;
                    continue;
                }
            }
            let now = waiting.borrow_and_update().clone();
            let new = now.values().filter(|it| done.get(&it.service) != Some(it));
            let new: Vec<Question> = new.cloned().collect();
            self.ask(&new).await;
            done = now;
        }
    }

    async fn ask(&mut self, questions: &[Question]) {
        let asked = timeout(LIMIT, self.ask_all(questions)).await;
        let trouble = asked.unwrap_or_else(|_| Some("it does not answer in time".to_owned()));
        if trouble.is_some() && trouble != self.trouble {
            let why = trouble.as_deref().unwrap_or_default();
            tracing::warn!(peer = %self.peer.node, address = %self.peer.address, "no promise: {why}");
        }
        self.trouble = trouble;
    }

    /// Asks all of them at once, and tells who has promised; what stands in the way of one of them, if anything.
    async fn ask_all(&mut self, questions: &[Question]) -> Option<String> {
        // Kept only if all goes well: whatever is wrong with it, another one may be better.
        let client = match self.client.take() {
            Some(client) => client,
            None => match self.connect().await {
                Ok(client) => client,
                Err(why) => return Some(why),
            },
        };
        let one = |question: &Question| {
            let mut client = client.clone();
            let request = v1::PromiseRequest {
                service: question.service.to_string(),
                holder: Some(holder_to_wire(&question.holder)),
                epoch: question.epoch.0,
                life_ms: u64::try_from(question.life.as_millis()).unwrap_or(u64::MAX),
            };
            async move { client.promise(request).await }
        };
        let mut trouble = None;
        let mut fails = false;
        let answers = join_all(questions.iter().map(one)).await;
        for (question, answer) in questions.iter().zip(answers) {
            match answer.map(tonic::Response::into_inner) {
                Ok(answer) if answer.promised => {
                    let (node, ask) = (self.peer.node.clone(), question.ask);
                    self.roles.promised(&question.service, node, ask);
                }
                Ok(answer) => trouble = Some(format!("{}: {}", question.service, answer.reason)),
                Err(status) => {
                    fails = true;
                    trouble = Some(chain(&status));
                }
            }
        }
        self.client = Some(client).filter(|_| !fails);
        trouble
    }

    async fn connect(&self) -> Result<PeerServiceClient<Channel>, String> {
        let address = match self.peer.address.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", reach::PORT),
            Err(_) => format!("{}:{}", self.peer.address, reach::PORT),
        };
        let address = address.parse::<Address>();
        let target = Target {
            address: address.map_err(|error| error.to_string())?,
            expected: Expected::Agent(self.peer.node.clone()),
        };
        let options = Options::default();
        let channel = channel::connect(&target, &self.credentials, &options);
        let channel = channel.await.map_err(|error| chain(&error))?;
        Ok(PeerServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE))
    }
}
