//! `ClusterService.UnblockFailover`.

use interlock_engine::coordinator::{Block, Blocked, By, Coordinator, NotUnblocked};
use interlock_model::names::ServiceName;
use interlock_proto::convert::{millis, name};
use interlock_proto::v1;
use tonic::Status;

use super::{MAX_REASON, bounded};
use crate::clock;
use crate::driver::Handle;

/// Lets something move by itself again.
pub(super) async fn unblock(
    driver: &Handle,
    request: v1::UnblockFailoverRequest,
    by: String,
) -> Result<v1::UnblockFailoverResponse, Status> {
    bounded("reason", &request.reason, MAX_REASON)?;
    let service: Option<ServiceName> = match request.service.as_str() {
        "" => None,
        service => Some(name("service", service)?),
    };
    let why = request.reason;
    let ended = driver
        .begin(move |desk| {
            let by = By {
                who: &by,
                why: &why,
            };
            let coordinator = &mut desk.coordinator;
            coordinator.unblock(service.as_ref(), by, clock::now())
        })
        .await?;
    let ended = ended.map_err(|error| match error {
        NotUnblocked::NotBlocked(_) => Status::not_found(error.to_string()),
        NotUnblocked::NoReason => Status::invalid_argument(error.to_string()),
    })?;
    Ok(v1::UnblockFailoverResponse {
        ended: ended.iter().map(to_wire).collect(),
    })
}

/// All that is blocked.
pub(super) fn all(coordinator: &Coordinator) -> Vec<v1::FailoverBlock> {
    coordinator.blocks().map(to_wire).collect()
}

fn to_wire(block: &Block) -> v1::FailoverBlock {
    v1::FailoverBlock {
        service: match &block.of {
            Blocked::Cluster => String::new(),
            Blocked::Service(service) => service.to_string(),
        },
        since_ms: block.since.0,
        times: block.spent.times,
        window_ms: millis(block.spent.window),
        command: block.command(),
    }
}
