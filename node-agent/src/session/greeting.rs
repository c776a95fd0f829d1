//! The first message of a session.

use interlock_engine::agent::ledger::Greeting;
use interlock_proto::{PROTOCOL, v1};

use super::{Board, Options};

/// Says who this is and what it remembers.
pub(super) fn hello(
    options: &Options,
    process: &str,
    greeting: &Greeting,
    board: &Board,
    facts: v1::Facts,
) -> Box<v1::AgentMessage> {
    let hello = v1::Hello {
        node: options.node.to_string(),
        process: process.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        boot_id: options.boot.to_string(),
        highest_term: greeting.term.0,
        highest_operation: greeting.operation.0,
        closed_below: greeting.closed_below.0,
        incarnation: greeting.incarnation.clone().unwrap_or_default(),
        attempts: greeting.attempts.iter().map(Into::into).collect(),
        generation: board.generation().0,
        facts: Some(facts),
    };
    message(v1::agent_message::Message::Hello(hello))
}

/// Wraps a message. Boxed, because queues of them are long rows of places of the largest size, and cold.
pub(super) fn message(message: v1::agent_message::Message) -> Box<v1::AgentMessage> {
    Box::new(v1::AgentMessage {
        message: Some(message),
    })
}
