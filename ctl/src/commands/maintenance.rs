//! `maintenance`: nothing of a node or a service moves by itself, for a time.

use interlock_proto::v1;
use interlock_proto::v1::maintenance_scope::Of;

use crate::cli::{Connection, MaintenanceCommand, MaintenanceScope, Output};
use crate::client::SHORT;
use crate::context;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::render::{Out, maintenance_table, maintenance_value};

/// What tells whether something is in maintenance.
const LOOK: &str = "interlockctl maintenance list";

pub(super) async fn run(connection: &Connection, command: MaintenanceCommand, out: Out) -> Outcome {
    let client = context::coordinators(connection)?.connect().await?;
    let mut cluster = client.cluster();
    match command {
        MaintenanceCommand::Enter {
            scope,
            length,
            reason,
            output,
        } => {
            let request = v1::EnterMaintenanceRequest {
                scope: Some(wire(scope)),
                for_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
                reason,
            };
            let call = cluster.enter_maintenance(request);
            let entered = client
                .change("enter maintenance", LOOK, SHORT, call)
                .await?;
            show(&[entered], &output, out)
        }
        MaintenanceCommand::Leave {
            scope,
            reason,
            output,
        } => {
            let request = v1::LeaveMaintenanceRequest {
                scope: Some(wire(scope)),
                reason,
            };
            let call = cluster.leave_maintenance(request);
            let left = client
                .change("leave maintenance", LOOK, SHORT, call)
                .await?;
            out.say("ended:")?;
            show(&[left], &output, out)
        }
        MaintenanceCommand::List { output } => {
            let call = cluster.list_maintenance(v1::ListMaintenanceRequest {});
            let listed = client.call("list maintenance", SHORT, call).await?;
            show(&listed.maintenance, &output, out)
        }
    }
}

fn wire(scope: MaintenanceScope) -> v1::MaintenanceScope {
    let node = scope.node.map(|node| Of::Node(node.to_string()));
    let service = scope
        .service
        .map(|service| Of::Service(service.to_string()));
    v1::MaintenanceScope {
        of: node.or(service),
    }
}

fn show(all: &[v1::Maintenance], output: &Output, out: Out) -> Outcome {
    out.show(
        output.output,
        || all.iter().map(maintenance_value).collect(),
        |paint| maintenance_table(all, paint),
    )?;
    Ok(Exit::Ok)
}
