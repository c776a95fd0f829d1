//! The steps, one function each: name, action, time limit and undo belong together.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::action::{Action, PowerRef};
use interlock_model::member::{Member, Membership};
use interlock_model::names::{GateName, LocalName, NodeName, ServiceName};
use interlock_model::plan::{Digest, Gate, Step, StepId, Undo};
use interlock_model::spec::{ManualGate, Node, NodePower, Role, Service};

/// How long a step waits for a person: longer than any shift, short enough that a forgotten operation is noticed.
pub(crate) const PERSON: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a standby may take to catch up at least, before a person is to look.
const CATCH_UP: Duration = Duration::from_secs(60 * 60);

/// The limit of a reboot where the spec gives the node no times of its own (it has no power source): generous for a VM
/// with a long file system check.
pub(crate) const REBOOT: Duration = Duration::from_secs(15 * 60);

fn step(id: &str, action: Action, timeout: Duration, undo: Option<Action>) -> Step {
    Step {
        id: StepId::new(id),
        action,
        node: None,
        service: None,
        after: Vec::new(),
        gates: Vec::new(),
        healthy: Vec::new(),
        timeout,
        undo: undo.map(|action| Undo(Box::new(action))),
    }
}

fn on_instance(
    service: &Service,
    node: &NodeName,
    action: Action,
    timeout: Duration,
    undo: Option<Action>,
) -> Step {
    Step {
        node: Some(node.clone()),
        service: Some(service.name.clone()),
        ..step(
            &format!("{}:{}@{node}", action.word(), service.name),
            action,
            timeout,
            undo,
        )
    }
}

fn on_node(node: &NodeName, action: Action, timeout: Duration, undo: Option<Action>) -> Step {
    Step {
        node: Some(node.clone()),
        ..step(&format!("{}:{node}", action.word()), action, timeout, undo)
    }
}

/// `stop:SERVICE@NODE`
pub(crate) fn stop(service: &Service, node: &NodeName) -> Step {
    on_instance(
        service,
        node,
        Action::Stop,
        service.stop_within,
        Some(Action::Start),
    )
}

/// `start:SERVICE@NODE`
pub(crate) fn start(service: &Service, node: &NodeName) -> Step {
    on_instance(
        service,
        node,
        Action::Start,
        service.start_within,
        Some(Action::Stop),
    )
}

/// `start:SERVICE@NODE`, of an instance that the same plan has stopped. It is not taken back by a stop, which would
/// interrupt the instance once more: what is taken back is that stop, by a start, unless this one is done.
pub(crate) fn start_again(service: &Service, node: &NodeName) -> Step {
    Step {
        undo: None,
        ..start(service, node)
    }
}

/// How long a balancer gets to carry out what it is told, beyond the time of the sessions. Long enough for its own checks
/// to find a server up (HAProxy's defaults: 2 of them, 2 s apart).
const SWITCHING: Duration = Duration::from_secs(60);

/// `drain:SERVICE@NODE:BALANCER@NODE`
pub(crate) fn drain(balancer: &Service, on: &NodeName, member: Member, how: &Membership) -> Step {
    let admit = Action::Admit {
        member: member.clone(),
    };
    let limit = how.drain.saturating_add(SWITCHING);
    on_member(balancer, on, drained(member, how), limit, Some(admit))
}

/// `admit:SERVICE@NODE:BALANCER@NODE`. Of a member that the same plan has drained (`again`) it is not taken back: what
/// is taken back is the drain.
pub(crate) fn admit(
    balancer: &Service,
    on: &NodeName,
    member: Member,
    how: &Membership,
    again: bool,
) -> Step {
    let undo = (!again).then(|| drained(member.clone(), how));
    // A drain may have to take it back.
    let limit = how.drain.saturating_add(SWITCHING);
    on_member(balancer, on, Action::Admit { member }, limit, undo)
}

fn drained(member: Member, how: &Membership) -> Action {
    Action::Drain {
        member,
        within: how.drain,
        then: how.then,
    }
}

fn on_member(
    balancer: &Service,
    on: &NodeName,
    action: Action,
    timeout: Duration,
    undo: Option<Action>,
) -> Step {
    let member = action.member().map(ToString::to_string).unwrap_or_default();
    let id = format!("{}:{member}:{}@{on}", action.word(), balancer.name);
    Step {
        node: Some(on.clone()),
        service: Some(balancer.name.clone()),
        ..step(&id, action, timeout, undo)
    }
}

/// How long a file may take to be tried or written: a checker that looks names up, and a slow disk.
const FILE: Duration = Duration::from_secs(120);

/// `try-file:SERVICE@NODE` and `write-file:SERVICE@NODE`
pub(crate) fn file(
    service: &Service,
    node: &NodeName,
    file: &LocalName,
    text: Digest,
) -> (Step, Step) {
    let (file, back) = (file.clone(), Action::RestoreFile { file: file.clone() });
    let trial = Action::TryFile {
        file: file.clone(),
        text,
    };
    (
        on_instance(service, node, trial, FILE, None),
        on_instance(
            service,
            node,
            Action::WriteFile { file, text },
            FILE,
            Some(back),
        ),
    )
}

/// `verify:SERVICE@NODE`: taken back by a stop, also where it came up by itself.
pub(crate) fn verify(service: &Service, node: &NodeName) -> Step {
    on_instance(
        service,
        node,
        Action::Verify,
        service.start_within,
        Some(Action::Stop),
    )
}

/// `verify:SERVICE@NODE`, of an instance that the same plan has stopped; taken back like [`start_again`].
pub(crate) fn verify_again(service: &Service, node: &NodeName) -> Step {
    Step {
        undo: None,
        ..verify(service, node)
    }
}

/// `promote:SERVICE@NODE`: the instance becomes primary. Its way back is a switchover of its own.
pub(crate) fn promote(service: &Service, node: &NodeName) -> Step {
    on_instance(service, node, Action::Promote, service.start_within, None)
}

/// `verify-role:SERVICE@NODE`: the role has arrived, and is nowhere else.
pub(crate) fn verify_role(
    service: &Service,
    node: &NodeName,
    addresses: BTreeSet<String>,
    from: Vec<NodeName>,
) -> Step {
    let action = Action::VerifyRole { addresses, from };
    on_instance(service, node, action, service.start_within, None)
}

/// `catch-up:SERVICE@NODE`: a standby has what its primary has. How long that takes is a matter of what was written while it
/// was away, and of the link.
pub(crate) fn catch_up(service: &Service, node: &NodeName) -> Step {
    let limit = service.start_within.max(CATCH_UP);
    on_instance(service, node, Action::CatchUp, limit, None)
}

/// `check:SERVICE@NODE`: wait until an instance that is not started by the plan is healthy.
pub(crate) fn check(service: &Service, node: &NodeName, healthy: Vec<Gate>) -> Step {
    Step {
        healthy,
        ..on_instance(service, node, Action::Check, service.start_within, None)
    }
}

/// `check:SERVICE[:WHAT]`: one point for many instances to meet at, with the checks that need all of them.
pub(crate) fn join(service: &Service, what: &str, healthy: Vec<Gate>) -> Step {
    let colon = if what.is_empty() { "" } else { ":" };
    Step {
        service: Some(service.name.clone()),
        healthy,
        ..step(
            &format!("check:{}{colon}{what}", service.name),
            Action::Check,
            service.start_within,
            None,
        )
    }
}

/// `check:WHAT`: one point for many machines to meet at, which is about no service.
pub(crate) fn meeting(what: &str, within: Duration) -> Step {
    step(&format!("check:{what}"), Action::Check, within, None)
}

/// `power-on:NODE`
pub(crate) fn power_on(node: &NodeName, times: &NodePower, power: PowerRef) -> Step {
    let undo = Action::PowerOff {
        power: power.clone(),
    };
    on_node(node, Action::PowerOn { power }, times.on_within, Some(undo))
}

/// `power-off:NODE`
pub(crate) fn power_off(node: &NodeName, times: &NodePower, power: PowerRef) -> Step {
    let undo = Action::PowerOn {
        power: power.clone(),
    };
    on_node(
        node,
        Action::PowerOff { power },
        times.off_within,
        Some(undo),
    )
}

/// `reboot:NODE`
pub(crate) fn reboot(node: &Node) -> Step {
    let limit = node
        .power
        .as_ref()
        .map_or(REBOOT, |power| power.off_within + power.on_within);
    on_node(&node.name, Action::Reboot, limit, None)
}

/// `approve:GATE`, a gate of the spec. Its text becomes one line, as everything is that a plan or an operation tells.
pub(crate) fn gate(name: &GateName, gate: &ManualGate) -> Step {
    let words: Vec<&str> = gate.text.split_whitespace().collect();
    approve(name.as_str(), name.clone(), words.join(" "), gate.role)
}

/// `approve:power-off.NODE`: a person shuts the operating system down.
pub(crate) fn manual_power_off(node: &NodeName) -> Option<Step> {
    let step = by_hand(
        &format!("power-off.{node}"),
        format!("Shut {node} down by hand; confirm once that is under way."),
    )?;
    Some(Step {
        node: Some(node.clone()),
        ..step
    })
}

/// `approve:let-go.SERVICE.NODE`: a person lets go down with its machine what the spec has there no more.
pub(crate) fn let_go(service: &ServiceName, node: &NodeName, why: &str) -> Option<Step> {
    let text = format!(
        "{why}; no step stops it: stop {service} on {node} by hand, or let it go down with its machine; confirm that {node} may go."
    );
    let step = approve(
        "",
        format!("let-go.{service}.{node}").parse().ok()?,
        text,
        Role::Operator,
    );
    Some(Step {
        id: StepId::of_let_go(service, node),
        node: Some(node.clone()),
        ..step
    })
}

/// `approve:stop.SERVICE.NODE`: a person stops what no agent can.
pub(crate) fn manual_stop(service: &ServiceName, node: &NodeName) -> Option<Step> {
    let step = by_hand(
        &format!("stop.{service}.{node}"),
        format!("Stop {service} on {node} by hand (no agent runs there); confirm once it is down."),
    )?;
    Some(Step {
        node: Some(node.clone()),
        service: Some(service.clone()),
        ..step
    })
}

/// None only if `name` is no name of a gate, which the names of an instance joined by dots always are.
fn by_hand(name: &str, text: String) -> Option<Step> {
    Some(approve(name, name.parse().ok()?, text, Role::Operator))
}

fn approve(id: &str, gate: GateName, text: String, role: Role) -> Step {
    step(
        &format!("approve:{id}"),
        Action::Approve { gate, text, role },
        PERSON,
        None,
    )
}
