//! Core to wire: what a coordinator says.

use interlock_engine::by_hand::ActId;
use interlock_engine::coordinator::{Assignment, Claim, ToAgent};
use interlock_model::ids::Term;
use interlock_model::spec::Clients;
use interlock_proto::convert::{
    check_to_wire, command_to_wire, fence_to_wire, held_to_wire, millis, part_to_wire,
    peer_to_wire, shutdown_to_wire, text_to_wire,
};
use interlock_proto::v1;
use interlock_proto::v1::coordinator_message::Message;

/// A message, for the wire.
pub(super) fn message(message: ToAgent, term: Term) -> v1::CoordinatorMessage {
    let term = term.0;
    let message = match message {
        ToAgent::Assign(assignment) => Message::Assignment(self::assignment(&assignment, term)),
        ToAgent::Dispatch { id, limit, command } => Message::Dispatch(v1::Dispatch {
            term,
            id: Some((&id).into()),
            limit_ms: millis(limit),
            command: Some(command_to_wire(&command)),
        }),
        ToAgent::Query(id) => Message::Query(v1::Query {
            term,
            id: Some((&id).into()),
        }),
        ToAgent::Cancel(id) => Message::Cancel(v1::Cancel {
            term,
            id: Some((&id).into()),
        }),
        ToAgent::Probe { ask, checks } => Message::ProbeNow(v1::ProbeNow {
            ask,
            checks: checks
                .into_iter()
                .map(|id| v1::CheckName {
                    service: id.service.to_string(),
                    check: id.check.to_string(),
                })
                .collect(),
        }),
        ToAgent::AskPower { ask, call } => Message::AskPower(v1::AskPower {
            ask,
            call: Some(fence_to_wire(&call)),
        }),
        ToAgent::SwitchOff { order, call } => Message::SwitchOff(v1::SwitchOff {
            term,
            ask: order,
            call: Some(fence_to_wire(&call)),
        }),
        ToAgent::TryToReach {
            ask,
            node,
            addresses,
        } => Message::TryToReach(v1::TryToReach {
            ask,
            node: node.to_string(),
            addresses: addresses.into_iter().collect(),
        }),
        ToAgent::CompareFile {
            ask,
            service,
            file,
            text,
        } => Message::CompareFile(v1::CompareFile {
            ask,
            service: service.to_string(),
            file: file.to_string(),
            text: Some(text_to_wire(&text)),
        }),
        ToAgent::Close(below) => Message::Close(v1::CloseOperations {
            term,
            below: below.0,
        }),
        ToAgent::Claims(claims) => Message::Claims(v1::Claims {
            term,
            claims: claims.into_iter().map(claim).collect(),
        }),
        ToAgent::KnownActs(known) => Message::KnownActs(v1::KnownActs {
            acts: known.into_iter().map(act_id).collect(),
        }),
    };
    v1::CoordinatorMessage {
        message: Some(message),
    }
}

fn act_id(id: ActId) -> v1::ActId {
    v1::ActId {
        number: id.number,
        begun_ms: id.begun.0,
    }
}

fn claim(claim: Claim) -> v1::Claim {
    v1::Claim {
        operation: claim.operation.0,
        what: claim.what,
        services: claim.services.iter().map(ToString::to_string).collect(),
    }
}

fn assignment(assignment: &Assignment, term: u64) -> v1::Assignment {
    v1::Assignment {
        term,
        generation: assignment.generation.0,
        instances: assignment
            .instances
            .iter()
            .map(|instance| v1::AssignedInstance {
                service: instance.service.to_string(),
                parts: instance.parts.iter().map(part_to_wire).collect(),
                guard: Some(v1::GuardPolicy {
                    budget: instance.guard.budget,
                    window_ms: millis(instance.guard.window),
                    backoff_ms: millis(instance.guard.backoff),
                }),
                exclusive: instance.exclusive,
                autostart: instance.autostart,
                members: instance.members.iter().map(held_to_wire).collect(),
                primary_parts: instance.primary_parts.iter().map(part_to_wire).collect(),
                lease: instance.lease.map(|clients| v1::LeaseAssignment {
                    clients_by_address: clients == Clients::Address,
                    peers: instance.peers.iter().map(peer_to_wire).collect(),
                }),
                files: instance.files.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        checks: assignment
            .checks
            .iter()
            .map(|(id, check)| check_to_wire(id, check))
            .collect(),
        shutdown: assignment.shutdown.map(shutdown_to_wire),
        fences: assignment.fences.iter().map(fence_to_wire).collect(),
        reboot: Some(assignment.reboot),
    }
}
