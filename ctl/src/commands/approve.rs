//! `approve`: confirm a step that waits for a person.

use interlock_proto::v1;

use super::operation::control;
use crate::cli::{Approve, Connection};
use crate::context;
use crate::failure::Outcome;
use crate::render::Out;

pub(super) async fn run(connection: &Connection, args: &Approve, out: Out) -> Outcome {
    let client = context::coordinators(connection)?.connect().await?;
    let request = v1::ControlOperationRequest {
        operation: args.operation.clone(),
        verb: "approve".to_owned(),
        step: args.gate.clone(),
        reason: args.reason.clone(),
        ..v1::ControlOperationRequest::default()
    };
    control(&client, request, args.output, out).await
}
