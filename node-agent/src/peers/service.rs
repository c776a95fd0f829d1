//! What other agents ask this one.

use std::time::Duration;

use interlock_mesh::identity::Subject;
use interlock_mesh::server::PeerIdentity;
use interlock_model::lease::Epoch;
use interlock_proto::convert::{self, holder_from_wire};
use interlock_proto::v1;
use interlock_proto::v1::peer_service_server::{PeerService, PeerServiceServer};
use tonic::{Request, Response, Status};

use crate::roles::Roles;

/// The longest message (`PeerService.Promise`: 4 KiB).
const MAX_MESSAGE: usize = 4 << 10;

/// The longest promise. No lease lasts longer, and a role that nobody may take is of no use to anybody.
const MAX_LIFE: Duration = Duration::from_secs(3600);

/// Serves `PeerService`.
#[derive(Debug)]
pub(crate) struct Service {
    roles: Roles,
}

/// Answers by what this node's own leases say.
pub(crate) fn server(roles: Roles) -> PeerServiceServer<Service> {
    PeerServiceServer::new(Service { roles })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

#[tonic::async_trait]
impl PeerService for Service {
    async fn promise(
        &self,
        request: Request<v1::PromiseRequest>,
    ) -> Result<Response<v1::PromiseAnswer>, Status> {
        let caller = PeerIdentity::of(request.extensions())?.identity().clone();
        let request = request.into_inner();
        let service = convert::name("service", &request.service)?;
        let holder = holder_from_wire(request.holder.as_ref())?;
        if !matches!(caller.subject(), Subject::Agent(node) if *node == holder.node) {
            return Err(Status::permission_denied(format!(
                "{} may not ask for {}: an agent asks for its own node",
                caller.caller(),
                holder.node
            )));
        }
        let life = Duration::from_millis(request.life_ms);
        if life > MAX_LIFE {
            return Err(Status::invalid_argument(format!(
                "life_ms: {life:?} is longer than any lease"
            )));
        }
        let answer = self
            .roles
            .promise(&service, holder, Epoch(request.epoch), life);
        let reason = answer.await.err();
        Ok(Response::new(v1::PromiseAnswer {
            promised: reason.is_none(),
            reason: reason.unwrap_or_default(),
        }))
    }
}
