//! How the cluster is, for people and for programs.
//!
//! Causes come first: one line per root cause with what suffers from it, not an alarm per symptom. Whatever is unknown
//! is yellow and says so; only what is known to be good is green. What is under way comes next, the long lists last:
//! a terminal that is too small loses the end.

use std::time::Duration;

use interlock_model::permission::Permission;
use interlock_proto::convert::refusal_from_wire;
use interlock_proto::v1;
use serde_json::{Value, json};

use super::blocks::{block_value, blocks_table};
use super::maintenance::{maintenance_table, maintenance_value};
use super::node::{node_value, probed};
use super::operation::operations_table;
use super::{
    Paint, Table, Tone, age, clean, clock_time, date_time, elapsed, liveness, power, rfc3339,
    summary_value,
};

/// The whole status.
pub(crate) fn status_text(status: &v1::Status, paint: Paint) -> String {
    let mut text = String::new();
    if status.generation == 0 {
        text.push_str(&format!(
            "coordinator {} (version {}, term {}): no spec is applied; `interlockctl spec apply FILE` begins\n",
            clean(&status.coordinator),
            clean(&status.version),
            status.term
        ));
        return text;
    }
    text.push_str(&format!(
        "{} generation {}, coordinator {} (version {}, term {}), {}\n",
        paint.tone(Tone::Strong, &clean(&status.cluster)),
        status.generation,
        clean(&status.coordinator),
        clean(&status.version),
        status.term,
        clock_time(status.at_ms)
    ));
    if is_well(status) {
        text.push_str(&format!(
            "{}\n",
            paint.tone(Tone::Good, "everything is as it shall be")
        ));
    }
    for cause in &status.causes {
        text.push_str(&cause_lines(cause, paint));
    }
    if !status.operations.is_empty() {
        text.push_str(&format!(
            "\n{}",
            operations_table(&status.operations, paint)
        ));
    }
    if !status.maintenance.is_empty() {
        let table = maintenance_table(&status.maintenance, paint);
        text.push_str(&format!("\n{table}"));
    }
    if !status.blocks.is_empty() {
        let table = blocks_table(&status.blocks, paint);
        text.push_str(&format!("\n{table}"));
    }
    text.push_str(&format!("\n{}", services_table(&status.services, paint)));
    if status.services.iter().any(|it| it.lease.is_some()) {
        text.push_str(&format!("\n{}", leases_table(&status.services, paint)));
    }
    if status.services.iter().any(|it| !it.members.is_empty()) {
        text.push_str(&format!("\n{}", members_table(&status.services, paint)));
    }
    text.push_str(&format!("\n{}", nodes_table(&status.nodes, paint)));
    text.push_str(&refusals(&status.nodes, paint));
    text.push_str(&shares(&status.nodes, paint));
    text
}

/// Whose share for logs does not have everything, and how much waits on each node.
fn shares(nodes: &[v1::NodeStatus], paint: Paint) -> String {
    let mut text = String::new();
    for node in nodes.iter().filter(|node| !node.log_share.is_empty()) {
        text.push_str(&format!(
            "{} the logs of {} wait: {}\n",
            paint.tone(Tone::Doubt, "note:"),
            clean(&node.node),
            clean(&node.log_share)
        ));
    }
    text
}

/// What an agent would refuse that is told unasked. That a machine may not be restarted is told by the plans that would: most
/// clusters never ask for it.
pub(crate) fn told_refusals(node: &v1::NodeStatus) -> impl Iterator<Item = &v1::Refusal> {
    let is_reboot = |refusal: &v1::Refusal| {
        refusal_from_wire(refusal).is_ok_and(|it| it.permission == Permission::Reboot)
    };
    node.refuses.iter().filter(move |it| !is_reboot(it))
}

/// Which agents would refuse what the spec may ask of them. No cause: nothing is wrong yet.
fn refusals(nodes: &[v1::NodeStatus], paint: Paint) -> String {
    let mut text = String::new();
    for node in nodes {
        let told = told_refusals(node).count();
        if told == 0 {
            continue;
        }
        text.push_str(&format!(
            "{} the agent of {} would refuse {told} of what plans may ask of it: `interlockctl node show {}` says what\n",
            paint.tone(Tone::Doubt, "note:"),
            clean(&node.node),
            clean(&node.node)
        ));
    }
    text
}

/// Nothing unknown, nothing sick, nobody silent who should be heard, nothing that moves no more, and no operation that has yet to bring something or
/// to ask a person.
fn is_well(status: &v1::Status) -> bool {
    let all_ok = status.services.iter().all(|service| service.state == "ok");
    let moves = status.blocks.is_empty();
    let quiet = moves && status.causes.is_empty() && status.operations.is_empty();
    quiet && !status.services.is_empty() && all_ok
}

fn cause_lines(cause: &v1::RootCause, paint: Paint) -> String {
    let mut text = format!(
        "{} {}: {}\n",
        paint.tone(Tone::Bad, "cause:"),
        clean(&cause.subject),
        clean(&cause.what)
    );
    if !cause.dependants.is_empty() {
        text.push_str(&format!(
            "       suffering: {}\n",
            clean(&cause.dependants.join(", "))
        ));
    }
    text
}

fn services_table(services: &[v1::ServiceStatus], paint: Paint) -> String {
    let mut table = Table::new(["service", "state", "healthy", "active", "held by", "reason"]);
    for service in services {
        let counted = if service.external {
            "external".to_owned()
        } else {
            format!("{}/{}", service.healthy, service.instances)
        };
        table.row([
            (service.service.clone(), Tone::Plain),
            (service.state.clone(), service_tone(&service.state)),
            (counted, Tone::Plain),
            active(service),
            (service.held_by.clone(), Tone::Doubt),
            (service.reason.clone(), Tone::Plain),
        ]);
    }
    table.render(paint)
}

/// Who holds the leases.
fn leases_table(services: &[v1::ServiceStatus], paint: Paint) -> String {
    let mut table = Table::new([
        "lease",
        "epoch",
        "holder",
        "since",
        "moves",
        "lost host",
        "reason",
    ]);
    for service in services {
        let Some(lease) = &service.lease else {
            continue;
        };
        let holder = match (lease.holder.as_str(), lease.held) {
            ("", _) => ("nobody".to_owned(), Tone::Doubt),
            (holder, true) => (holder.to_owned(), Tone::Plain),
            (holder, false) => (format!("{holder}, not begun"), Tone::Doubt),
        };
        let moves = if lease.automatic {
            "by itself"
        } else {
            "by hand"
        };
        table.row([
            (service.service.clone(), Tone::Plain),
            (lease.epoch.to_string(), Tone::Plain),
            holder,
            (date_time(lease.since_ms), Tone::Plain),
            (moves.to_owned(), Tone::Plain),
            (lost_host(lease), Tone::Plain),
            (lease.reason.clone(), Tone::Plain),
        ]);
    }
    table.render(paint)
}

/// How long nobody takes writes when the machine of the primary is lost: `2.6s, 11s at worst`.
fn lost_host(lease: &v1::LeaseStatus) -> String {
    match &lease.recovery {
        Some(recovery) => {
            let text = |millis| elapsed(Duration::from_millis(millis));
            let (typical, worst) = (text(recovery.typical_ms), text(recovery.worst_ms));
            format!("{typical}, {worst} at worst")
        }
        None => "waits for a person".to_owned(),
    }
}

/// Who takes part in which load balancer.
fn members_table(services: &[v1::ServiceStatus], paint: Paint) -> String {
    let mut table = Table::new(["member", "of", "state", "seen as"]);
    for service in services {
        for member in &service.members {
            table.row([
                (format!("{}@{}", service.service, member.node), Tone::Plain),
                (format!("{}@{}", member.balancer, member.on), Tone::Plain),
                member_state(member.state),
                (member.detail.clone(), Tone::Plain),
            ]);
        }
    }
    table.render(paint)
}

/// The word for how a member is, which is that of the load balancers.
fn member_state(state: i32) -> (String, Tone) {
    let (word, tone) = match v1::MemberState::try_from(state) {
        Ok(v1::MemberState::Ready) => ("ready", Tone::Good),
        Ok(v1::MemberState::Drain) => ("drain", Tone::Doubt),
        Ok(v1::MemberState::Maint) => ("maint", Tone::Doubt),
        Ok(v1::MemberState::Down) => ("down", Tone::Bad),
        Ok(v1::MemberState::Unknown | v1::MemberState::Unspecified) | Err(_) => {
            ("unknown", Tone::Doubt)
        }
    };
    (word.to_owned(), tone)
}

fn active(service: &v1::ServiceStatus) -> (String, Tone) {
    if !service.exclusive {
        ("all".to_owned(), Tone::Faint)
    } else if !service.active.is_empty() {
        (service.active.clone(), Tone::Plain)
    } else if service.state == "stopped" && !service.remembered_active.is_empty() {
        (format!("was {}", service.remembered_active), Tone::Faint)
    } else {
        ("unknown".to_owned(), Tone::Doubt)
    }
}

/// The tone of a service's state.
fn service_tone(state: &str) -> Tone {
    match state {
        "ok" => Tone::Good,
        "down" => Tone::Bad,
        "stopped" => Tone::Faint,
        // degraded, paused, unknown, and whatever a newer coordinator may say.
        _ => Tone::Doubt,
    }
}

fn nodes_table(nodes: &[v1::NodeStatus], paint: Paint) -> String {
    let mut table = Table::new([
        "node",
        "agent",
        "heard",
        "power",
        "host",
        "held by",
        "instances",
    ]);
    for node in nodes {
        table.row([
            (node.node.clone(), Tone::Plain),
            agent(node),
            (heard(node), Tone::Plain),
            node_power(node),
            (node.host.clone(), Tone::Plain),
            (node.held_by.clone(), Tone::Doubt),
            (instances(node), Tone::Plain),
        ]);
    }
    table.render(paint)
}

/// How its agent is, or that it has none.
fn agent(node: &v1::NodeStatus) -> (String, Tone) {
    match &node.agentless {
        Some(agentless) => (format!("none, {}", probed(agentless)), Tone::Faint),
        None => liveness(node.liveness),
    }
}

/// How long ago its agent was heard; empty if it has none.
fn heard(node: &v1::NodeStatus) -> String {
    match node.agentless {
        Some(_) => String::new(),
        None => age(node.heard_ms),
    }
}

/// What the power source says, and whether that may be trusted.
fn node_power(node: &v1::NodeStatus) -> (String, Tone) {
    if node.power_verified.is_empty() {
        return (String::new(), Tone::Faint);
    }
    let (word, tone) = power(node.power);
    if node.power_verified == "no" {
        (format!("{word}, plug not verified"), Tone::Doubt)
    } else {
        (word, tone)
    }
}

/// `dbm running, lb stopped (wanted running)`; on a node without an agent nobody has seen what is said of them.
fn instances(node: &v1::NodeStatus) -> String {
    let one = |instance: &v1::Instance| {
        let (state, _) = super::instance_state(instance.state);
        let wanted = super::wanted(instance.wanted);
        let mut text = format!("{} {state}", instance.service);
        if node.agentless.is_some() {
            text.push_str(", as its machine is taken to be");
            return text;
        }
        if !wanted.is_empty() && wanted != state {
            text.push_str(&format!(" (wanted {wanted})"));
        }
        if !instance.reason.is_empty() && state != "running" && state != "stopped" {
            text.push_str(&format!(" [{}]", instance.reason));
        }
        text
    };
    node.instances
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The whole status, for programs.
pub(crate) fn status_value(status: &v1::Status) -> Value {
    json!({
        "cluster": status.cluster,
        "generation": status.generation,
        "coordinator": status.coordinator,
        "term": status.term,
        "version": status.version,
        "at": rfc3339(status.at_ms),
        "well": is_well(status),
        "causes": status.causes.iter().map(|cause| json!({
            "subject": cause.subject,
            "what": cause.what,
            "dependants": cause.dependants,
        })).collect::<Value>(),
        "services": status.services.iter().map(service_value).collect::<Value>(),
        "nodes": status.nodes.iter().map(node_value).collect::<Value>(),
        "operations": status.operations.iter().map(summary_value).collect::<Value>(),
        "maintenance": status.maintenance.iter().map(maintenance_value).collect::<Value>(),
        "blocks": status.blocks.iter().map(block_value).collect::<Value>(),
    })
}

fn service_value(service: &v1::ServiceStatus) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "service": service.service,
        "state": service.state,
        "reason": service.reason,
        "exclusive": service.exclusive,
        "external": service.external,
        "active": some(&service.active),
        "active_unknown": some(&service.active_unknown),
        "remembered_active": some(&service.remembered_active),
        "running": service.running,
        "healthy": service.healthy,
        "instances": service.instances,
        "at_least": service.at_least,
        "requires": service.requires,
        "held_by": some(&service.held_by),
        "lease": service.lease.as_ref().map(|lease| json!({
            "epoch": lease.epoch,
            "holder": some(&lease.holder),
            "held": lease.held,
            "since": rfc3339(lease.since_ms),
            "automatic": lease.automatic,
            "reason": lease.reason,
            "recovery": lease.recovery.as_ref().map(|recovery| json!({
                "typical_ms": recovery.typical_ms,
                "worst_ms": recovery.worst_ms,
            })),
        })),
        "members": service.members.iter().map(|member| json!({
            "node": member.node,
            "balancer": member.balancer,
            "on": member.on,
            "state": member_state(member.state).0,
            "detail": member.detail,
        })).collect::<Value>(),
    })
}
