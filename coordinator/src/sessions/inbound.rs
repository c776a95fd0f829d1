//! Wire to core: what an agent says.

use std::time::Duration;

use interlock_engine::by_hand::{Act, ActId};
use interlock_engine::coordinator::{
    CheckReport, Comparison, FromAgent, Hello, ListedPlug, PlugList,
};
use interlock_model::attempt::AttemptReport;
use interlock_model::check::{CheckId, MAX_EVIDENCE};
use interlock_model::file::{Compared, Difference, Untold};
use interlock_model::ids::{BootId, Generation, OperationId, Term};
use interlock_model::observation::{InstanceObservation, RoleObservation};
use interlock_model::permission::Refusal;
use interlock_model::time::Timestamp;
use interlock_proto::convert::{
    Invalid, compared_from_wire, installed_from_wire, member_seen_from_wire, name,
    refusal_from_wire, role_from_wire,
};
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message;

/// The longest reason of a refusal, in bytes: it quotes a line of the agent's file.
const MAX_REFUSAL: usize = 1000;

/// The most bytes of what becomes different about a file.
const MAX_LINES: usize = 20 * 1024;

/// A hello, in the core's words.
pub(super) fn hello(wire: &v1::Hello) -> Result<Hello, Invalid> {
    Ok(Hello {
        version: cut(&wire.agent_version),
        process: cut(&wire.process),
        boot: BootId(cut(&wire.boot_id)),
        highest_term: Term(wire.highest_term),
        highest_operation: OperationId(wire.highest_operation),
        closed_below: OperationId(wire.closed_below),
        incarnation: cut(&wire.incarnation),
        attempts: wire
            .attempts
            .iter()
            .map(AttemptReport::try_from)
            .collect::<Result<_, _>>()?,
        generation: Generation(wire.generation),
        machine_uuid: wire
            .facts
            .as_ref()
            .map(|facts| cut(&facts.machine_uuid))
            .unwrap_or_default(),
        hostname: wire
            .facts
            .as_ref()
            .map(|facts| cut(&facts.hostname))
            .unwrap_or_default(),
    })
}

/// A message after the hello, in the core's words. None for what carries nothing.
pub(super) fn message(wire: v1::AgentMessage) -> Result<Option<FromAgent>, Invalid> {
    Ok(Some(match wire.message {
        // The engine decides nothing by a share for logs, and leases are none of its: see `service`.
        None | Some(Message::LogShare(_) | Message::Lease(_)) => return Ok(None),
        Some(Message::Hello(_)) => {
            return Err(Invalid::new("message", "a second hello in one session"));
        }
        Some(Message::Heartbeat(_)) => FromAgent::Heartbeat,
        Some(Message::Goodbye(goodbye)) => FromAgent::Goodbye(cut(&goodbye.reason)),
        Some(Message::Attempt(report)) => FromAgent::Attempt(attempt(&report)?),
        Some(Message::Power(answer)) if answer.busy => FromAgent::Busy { ask: answer.ask },
        Some(Message::Power(answer)) => FromAgent::Power {
            ask: answer.ask,
            node: name("power.node", &answer.node)?,
            power: answer.power().into(),
            detail: cut(&answer.detail),
        },
        Some(Message::Tried(answer)) => FromAgent::Tried {
            ask: answer.ask,
            node: name("tried.node", &answer.node)?,
            reached: answer.reached,
            detail: cut(&answer.detail),
        },
        Some(Message::File(answer)) => FromAgent::File {
            ask: answer.ask,
            compared: compared(answer),
        },
        Some(Message::Plugs(answer)) => FromAgent::Plugs {
            ask: answer.ask,
            list: plugs(answer.list),
        },
        Some(Message::OcfAgents(agents)) => {
            FromAgent::ResourceAgents(Box::new(installed_from_wire(&agents)?))
        }
        Some(Message::ByHand(told)) => {
            FromAgent::ByHand(told.acts.iter().map(act).collect::<Result<_, Invalid>>()?)
        }
        Some(Message::Observed(observed)) => FromAgent::Observed {
            full: observed.full,
            generation: Generation(observed.generation),
            instances: observed
                .instances
                .iter()
                .map(|instance| {
                    Ok((
                        name("instance.service", &instance.service)?,
                        self::instance(instance)?,
                    ))
                })
                .collect::<Result<_, Invalid>>()?,
            checks: observed
                .checks
                .into_iter()
                .map(check)
                .collect::<Result<_, Invalid>>()?,
            // One of a later version is about something that nothing here asks for.
            refuses: observed.refuses.iter().filter_map(refusal).collect(),
        },
    }))
}

fn plugs(list: Option<v1::plug_list::List>) -> PlugList {
    use v1::plug_list::List;
    match list {
        Some(List::Plugs(list)) => PlugList::Plugs {
            plugs: list
                .plugs
                .into_iter()
                .map(|listed| ListedPlug {
                    plug: cut(&listed.plug),
                    alias: Some(cut(&listed.alias)).filter(|alias| !alias.is_empty()),
                })
                .collect(),
            cut: list.cut,
        },
        Some(List::NotOffered(_)) => PlugList::NotOffered,
        Some(List::Failed(why)) => PlugList::Failed(cut(&why)),
        None => PlugList::Failed("an answer that this version does not know".to_owned()),
    }
}

fn act(wire: &v1::ActByHand) -> Result<Act, Invalid> {
    let id = wire.id.ok_or_else(|| Invalid::missing("act.id"))?;
    let service = Some(wire.service.as_str()).filter(|service| !service.is_empty());
    Ok(Act {
        id: ActId {
            number: id.number,
            begun: Timestamp(id.begun_ms),
        },
        who: cut(&wire.who),
        why: cut(&wire.reason),
        what: cut(&wire.what),
        service: service
            .map(|service| name("act.service", service))
            .transpose()?,
        state: wire.state().into(),
        evidence: cut(&wire.evidence),
    })
}

fn attempt(wire: &v1::AttemptReport) -> Result<AttemptReport, Invalid> {
    let mut report = AttemptReport::try_from(wire)?;
    report.evidence = cut(&report.evidence);
    Ok(report)
}

fn instance(wire: &v1::Instance) -> Result<InstanceObservation, Invalid> {
    let members = wire.members.iter().map(|wire| {
        let mut seen = member_seen_from_wire(wire)?;
        seen.detail = cut(&seen.detail);
        if let Some(put_back) = &mut seen.put_back {
            put_back.text = cut(&put_back.text);
        }
        Ok(seen)
    });
    Ok(InstanceObservation {
        state: wire.state().into(),
        since: (wire.since_ms > 0).then_some(Timestamp(wire.since_ms)),
        reason: cut(&wire.reason),
        wanted: wire.wanted().into(),
        restarts: wire.restarts,
        given_up: wire.given_up,
        orphaned: wire.orphaned,
        members: members.collect::<Result<_, Invalid>>()?,
        role: wire.role.as_ref().map(role),
    })
}

fn role(wire: &v1::Role) -> RoleObservation {
    let mut role = role_from_wire(wire);
    role.detail = cut(&role.detail);
    if let Some(lost) = &mut role.lost {
        lost.text = cut(&lost.text);
    }
    role
}

fn check(wire: v1::CheckResult) -> Result<CheckReport, Invalid> {
    Ok(CheckReport {
        id: CheckId {
            service: name("check.service", &wire.service)?,
            check: name("check.check", &wire.check)?,
        },
        verdict: wire.verdict().into(),
        evidence: cut(&wire.evidence),
        value: (!wire.value.is_empty()).then_some(wire.value),
        paused: wire.paused,
        age: Duration::from_millis(wire.age_ms),
        after: wire.after,
    })
}

fn refusal(wire: &v1::Refusal) -> Option<Refusal> {
    let refusal = refusal_from_wire(wire).ok()?;
    Some(Refusal {
        why: cut_to(&refusal.why, MAX_REFUSAL),
        ..refusal
    })
}

/// A text of an agent, as it may be kept.
pub(super) fn line(text: &str) -> String {
    cut(text)
}

/// Agents cut their evidence themselves; a coordinator does not rely on it.
/// What is told of a file has a bound that its agent keeps, and another one here.
fn compared(answer: v1::FileCompared) -> Comparison {
    let compared = compared_from_wire(answer).map_err(|untold| match untold {
        Untold::Refused(why) => Untold::Refused(cut(&why)),
        Untold::Unknown(why) => Untold::Unknown(cut(&why)),
    })?;
    Ok(Compared {
        difference: match compared.difference {
            Difference::Lines(lines) => Difference::Lines(cut_to(&lines, MAX_LINES)),
            Difference::Hidden(why) => Difference::Hidden(cut(&why)),
        },
        ..compared
    })
}

fn cut(text: &str) -> String {
    cut_to(text, MAX_EVIDENCE)
}

fn cut_to(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}
