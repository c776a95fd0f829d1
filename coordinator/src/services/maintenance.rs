//! `ClusterService.EnterMaintenance`, `LeaveMaintenance`, `ListMaintenance`.

use std::time::Duration;

use interlock_engine::coordinator::{By, Coordinator, Maintenance, NotMaintained, Scope};
use interlock_proto::convert::name;
use interlock_proto::v1;
use interlock_proto::v1::maintenance_scope::Of;
use tonic::Status;

use super::{MAX_REASON, bounded};
use crate::clock;
use crate::driver::Handle;

/// Keeps automatic failover off something.
pub(super) async fn enter(
    driver: &Handle,
    request: v1::EnterMaintenanceRequest,
    by: String,
) -> Result<v1::Maintenance, Status> {
    bounded("reason", &request.reason, MAX_REASON)?;
    let scope = scope(request.scope)?;
    let (length, why) = (Duration::from_millis(request.for_ms), request.reason);
    let entered = driver
        .begin(move |desk| {
            let by = By {
                who: &by,
                why: &why,
            };
            desk.coordinator
                .enter_maintenance(scope, length, by, clock::now())
        })
        .await?;
    entered
        .map(|it| to_wire(&it))
        .map_err(|error| refused(&error))
}

/// Ends that.
pub(super) async fn leave(
    driver: &Handle,
    request: v1::LeaveMaintenanceRequest,
    by: String,
) -> Result<v1::Maintenance, Status> {
    bounded("reason", &request.reason, MAX_REASON)?;
    let scope = scope(request.scope)?;
    let why = request.reason;
    let left = driver
        .begin(move |desk| {
            let by = By {
                who: &by,
                why: &why,
            };
            desk.coordinator.leave_maintenance(&scope, by, clock::now())
        })
        .await?;
    left.map(|it| to_wire(&it)).map_err(|error| refused(&error))
}

/// All that is in maintenance.
pub(super) fn all(coordinator: &Coordinator) -> Vec<v1::Maintenance> {
    coordinator.maintenance().map(to_wire).collect()
}

fn scope(scope: Option<v1::MaintenanceScope>) -> Result<Scope, Status> {
    match scope.and_then(|scope| scope.of) {
        Some(Of::Node(node)) => Ok(Scope::Node(name("scope.node", &node)?)),
        Some(Of::Service(service)) => Ok(Scope::Service(name("scope.service", &service)?)),
        None => Err(Status::invalid_argument("scope: name a node or a service")),
    }
}

fn refused(error: &NotMaintained) -> Status {
    match error {
        NotMaintained::Unknown(_) | NotMaintained::NotEntered(_) => {
            Status::not_found(error.to_string())
        }
        NotMaintained::NoReason | NotMaintained::Length => {
            Status::invalid_argument(error.to_string())
        }
    }
}

fn to_wire(maintenance: &Maintenance) -> v1::Maintenance {
    let of = match &maintenance.scope {
        Scope::Node(node) => Of::Node(node.to_string()),
        Scope::Service(service) => Of::Service(service.to_string()),
    };
    v1::Maintenance {
        scope: Some(v1::MaintenanceScope { of: Some(of) }),
        owner: maintenance.owner.clone(),
        reason: maintenance.reason.clone(),
        since_ms: maintenance.since.0,
        until_ms: maintenance.until.0,
    }
}
