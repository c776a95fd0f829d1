//! `node`: one node, through a coordinator or through its own agent.

use interlock_model::names::NodeName;
use interlock_model::suggest::nearest;
use interlock_proto::v1;

use super::{node_direct, status};
use crate::cli::{Connection, NodeCommand};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, node_text, node_value};

pub(super) async fn run(connection: &Connection, command: NodeCommand, out: Out) -> Outcome {
    match command {
        NodeCommand::Show {
            name,
            target,
            output,
        } => match (name, target.node) {
            (_, Some(agent)) => node_direct::show(connection, &agent, output, out).await,
            (Some(name), None) => {
                let client = context::coordinators(connection)?.connect().await?;
                let status = status::get(&client).await?;
                let node = status
                    .nodes
                    .iter()
                    .find(|node| node.node == name.as_str())
                    .ok_or_else(|| unknown(&name, &status))?;
                out.show(
                    output.output,
                    || node_value(node),
                    |paint| node_text(node, paint),
                )?;
                Ok(Exit::Ok)
            }
            (None, None) => Err(Failure::Usage(
                "which node? Name it, or say --node".to_owned(),
            )),
        },
        NodeCommand::Attempts {
            target,
            limit,
            output,
        } => node_direct::attempts(connection, &target.node, limit, output, out).await,
        NodeCommand::Start(args) => node_direct::control(connection, "start", &args, out).await,
        NodeCommand::Stop(args) => node_direct::control(connection, "stop", &args, out).await,
    }
}

/// There is no such node: which ones there are, or that no spec has named any yet.
fn unknown(name: &NodeName, status: &v1::Status) -> Failure {
    let known: Vec<&str> = status.nodes.iter().map(|node| node.node.as_str()).collect();
    if known.is_empty() {
        return Failure::Refused(format!(
            "there is no node {name}: no spec is applied yet. Apply one: interlockctl spec apply FILE"
        ));
    }
    let has = match nearest(name.as_str(), known.iter().copied()) {
        Some(near) => format!(": did you mean {near}? It has"),
        None => "; it has".to_owned(),
    };
    Failure::Refused(format!(
        "the spec has no node {name}{has} {}",
        known.join(", ")
    ))
}
