//! What coordinators say, understood.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::agent::ledger::{Ask, Greeting};
use interlock_engine::by_hand::ActId;
use interlock_model::action::{Command, FenceCall};
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::check::CheckId;
use interlock_model::file::{Text, Untold};
use interlock_model::ids::{OperationId, Term};
use interlock_model::names::{LocalName, ServiceName};
use interlock_proto::convert::{self, Invalid, name};
use interlock_proto::v1;
use tokio::sync::oneshot;

use super::{Assignment, Claims, acts};

/// What a link passes to the desk.
#[derive(Debug)]
pub(super) enum Order {
    /// A session stands, in this term of this store.
    Heard {
        from: Peer,
        term: Term,
        incarnation: Option<String>,
    },
    /// It ended.
    Lost(Peer),
    /// A hello is about to be said: what does the ledger remember?
    Greet {
        from: Peer,
        answer: oneshot::Sender<Greeting>,
    },
    Assign(Box<Assignment>),
    Dispatch {
        ask: Ask,
        command: Command,
        limit: Duration,
    },
    Query(Ask),
    Cancel(Ask),
    Close {
        term: Term,
        below: OperationId,
    },
    Claims {
        term: Term,
        claims: Claims,
    },
    ProbeNow(Vec<CheckId>),
    /// These acts by hand need not be told.
    KnownActs {
        from: Peer,
        known: BTreeSet<ActId>,
    },
    AskPower {
        from: Peer,
        ask: u64,
        call: Box<FenceCall>,
    },
    SwitchOff {
        from: Peer,
        term: Term,
        ask: u64,
        call: Box<FenceCall>,
    },
    TryToReach {
        from: Peer,
        ask: u64,
        node: String,
        addresses: Vec<String>,
    },
    CompareFile {
        from: Peer,
        ask: u64,
        service: ServiceName,
        file: LocalName,
        text: Text,
    },
}

/// Why a message is no order.
#[derive(Debug)]
pub(super) enum NoOrder {
    /// The coordinator is told so.
    Answer(Box<v1::agent_message::Message>),
    /// It cannot even be answered.
    Ignore(Invalid),
    /// It comes from a newer coordinator, or in the wrong place.
    Unexpected,
}

impl NoOrder {
    fn answer(message: v1::agent_message::Message) -> Self {
        Self::Answer(Box::new(message))
    }
}

impl Order {
    /// Understands a message that follows the welcome.
    pub(super) fn read(from: Peer, message: v1::CoordinatorMessage) -> Result<Self, NoOrder> {
        use v1::coordinator_message::Message;
        match message.message {
            // Logs are the link's business.
            None | Some(Message::Welcome(_) | Message::ServeLogs(_) | Message::Lease(_)) => {
                Err(NoOrder::Unexpected)
            }
            Some(Message::Assignment(wire)) => match Assignment::from_wire(&wire) {
                Ok(assignment) => Ok(Self::Assign(Box::new(assignment))),
                Err(problem) => Err(NoOrder::Ignore(problem)),
            },
            Some(Message::Dispatch(wire)) => {
                let ask = ask(from, wire.term, wire.id.as_ref())?;
                match convert::command_from_wire(wire.command.as_ref()) {
                    Ok(command) => Ok(Self::Dispatch {
                        ask,
                        command,
                        limit: Duration::from_millis(wire.limit_ms),
                    }),
                    Err(problem) => {
                        let report = AttemptReport {
                            id: ask.id,
                            state: AttemptState::Refused,
                            evidence: format!(
                                "{problem}; is the agent older than the coordinator?"
                            ),
                            repeatable: false,
                        };
                        Err(NoOrder::answer(v1::agent_message::Message::Attempt(
                            (&report).into(),
                        )))
                    }
                }
            }
            Some(Message::Query(wire)) => Ok(Self::Query(ask(from, wire.term, wire.id.as_ref())?)),
            Some(Message::Cancel(wire)) => {
                Ok(Self::Cancel(ask(from, wire.term, wire.id.as_ref())?))
            }
            Some(Message::Close(wire)) => Ok(Self::Close {
                term: Term(wire.term),
                below: OperationId(wire.below),
            }),
            Some(Message::Claims(wire)) => match Claims::from_wire(&wire) {
                Ok((term, claims)) => Ok(Self::Claims { term, claims }),
                Err(problem) => Err(NoOrder::Ignore(problem)),
            },
            // A name that is none is the name of no check of this node.
            Some(Message::ProbeNow(wire)) => Ok(Self::ProbeNow(
                wire.checks.iter().filter_map(check).collect(),
            )),
            Some(Message::KnownActs(wire)) => Ok(Self::KnownActs {
                from,
                known: wire.acts.into_iter().map(acts::from_wire).collect(),
            }),
            Some(Message::AskPower(wire)) => Ok(Self::AskPower {
                from,
                ask: wire.ask,
                call: call("ask_power.call", wire.ask, wire.call.as_ref())?,
            }),
            Some(Message::SwitchOff(wire)) => Ok(Self::SwitchOff {
                from,
                term: Term(wire.term),
                ask: wire.ask,
                call: call("switch_off.call", wire.ask, wire.call.as_ref())?,
            }),
            Some(Message::TryToReach(wire)) => Ok(Self::TryToReach {
                from,
                ask: wire.ask,
                node: wire.node,
                addresses: wire.addresses,
            }),
            Some(Message::CompareFile(wire)) => compare(from, &wire).map_err(|problem| {
                let why = problem.to_string();
                let answer = convert::compared_to_wire(wire.ask, Err(Untold::Unknown(why)));
                NoOrder::answer(v1::agent_message::Message::File(answer))
            }),
        }
    }
}

/// A call of a fence agent; one that is none is answered, so that nobody waits for it.
fn call(
    field: &'static str,
    ask: u64,
    wire: Option<&v1::FenceCall>,
) -> Result<Box<FenceCall>, NoOrder> {
    let wire = wire.ok_or_else(|| NoOrder::Ignore(Invalid::missing(field)))?;
    convert::fence_from_wire(wire)
        .map(Box::new)
        .map_err(|problem| {
            let answer = v1::PowerAnswer {
                ask,
                node: wire.node.clone(),
                power: v1::Power::Unknown.into(),
                detail: problem.to_string(),
                busy: false,
            };
            NoOrder::answer(v1::agent_message::Message::Power(answer))
        })
}

fn compare(from: Peer, wire: &v1::CompareFile) -> Result<Order, Invalid> {
    let text = wire.text.as_ref();
    let text = text.ok_or_else(|| Invalid::missing("compare_file.text"))?;
    Ok(Order::CompareFile {
        from,
        ask: wire.ask,
        service: name("compare_file.service", &wire.service)?,
        file: name("compare_file.file", &wire.file)?,
        text: convert::text_from_wire(text)?,
    })
}

fn ask(from: Peer, term: u64, id: Option<&v1::AttemptId>) -> Result<Ask, NoOrder> {
    let id = id.ok_or_else(|| NoOrder::Ignore(Invalid::missing("id")))?;
    Ok(Ask {
        from,
        term: Term(term),
        id: id.into(),
    })
}

fn check(name: &v1::CheckName) -> Option<CheckId> {
    Some(CheckId {
        service: name.service.parse().ok()?,
        check: name.check.parse().ok()?,
    })
}
