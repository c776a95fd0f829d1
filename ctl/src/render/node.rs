//! One node, as coordinators and as its own agent know it.

use interlock_proto::convert::refusal_from_wire;
use interlock_proto::v1;
use serde_json::{Value, json};

use super::{
    Paint, Table, Tone, age, clean, date_time, instance_state, liveness, power, rfc3339, side,
    verdict, wanted,
};

/// A node as the coordinators know it.
pub(crate) fn node_text(node: &v1::NodeStatus, paint: Paint) -> String {
    let (agent, agent_tone) = liveness(node.liveness);
    let (said, said_tone) = power(node.power);
    let mut text = format!("{}\n", paint.tone(Tone::Strong, &clean(&node.node)));
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12}{value}\n"));
        }
    };
    field("address", clean(&node.address));
    field("host", clean(&node.host));
    if let Some(agentless) = &node.agentless {
        field("agent", format!("none, by the spec: {}", probed(agentless)));
    } else {
        field(
            "agent",
            format!(
                "{}, heard {}{}",
                paint.tone(agent_tone, &agent),
                age(node.heard_ms),
                match node.agent_version.as_str() {
                    "" => String::new(),
                    version => format!(
                        ", version {}, works by generation {}",
                        clean(version),
                        node.agent_generation
                    ),
                }
            ),
        );
    }
    field("boot", clean(&node.boot_id));
    if !node.power_verified.is_empty() {
        field(
            "power",
            format!(
                "{} ({}), plug verified: {}",
                paint.tone(said_tone, &said),
                power_known_by(node),
                clean(&node.power_verified)
            ),
        );
    }
    field("log share", clean(&node.log_share));
    if let Some(facts) = &node.facts {
        let trouble = match facts.watchdog_trouble.as_str() {
            "" => String::new(),
            why => paint.tone(Tone::Doubt, &format!("cannot be used: {}", clean(why))),
        };
        field("watchdog", clean(&facts.watchdog) + &trouble);
    }
    field("held by", clean(&node.held_by));
    for refusal in &node.refuses {
        field("refuses", refused(refusal, paint));
    }
    if !node.refuses.is_empty() {
        let render = format!("`interlockctl spec agent-config {}`", clean(&node.node));
        field(
            "",
            format!("{render} renders all that the spec needs of its agent"),
        );
    }
    text.push_str(&tables(&node.instances, &node.checks, paint));
    text
}

/// From where a node without an agent is looked at: `probed from a, b`.
pub(crate) fn probed(agentless: &v1::Agentless) -> String {
    format!("probed from {}", clean(&agentless.probed_from.join(", ")))
}

/// What an agent would refuse, and why.
fn refused(refusal: &v1::Refusal, paint: Paint) -> String {
    let what = match refusal_from_wire(refusal) {
        Ok(refusal) => refusal.permission.to_string(),
        Err(_) => "something that this version does not know".to_owned(),
    };
    format!(
        "{}: {}",
        paint.tone(Tone::Doubt, &clean(&what)),
        clean(&refusal.why)
    )
}

/// How its power is known. Of a node that speaks the source need not have been asked.
fn power_known_by(node: &v1::NodeStatus) -> String {
    let (word, _) = power(node.power);
    match node.power_age_ms {
        Some(0..1000) => "its source was asked just now".to_owned(),
        Some(millis) => format!("its source was asked {} ago", age(Some(millis))),
        None if word == "on" && node.agentless.is_some() => {
            "what runs there answers, its source was not asked".to_owned()
        }
        None if word == "on" => "its agent speaks, its source was not asked".to_owned(),
        None => "its source was not asked".to_owned(),
    }
}

/// Instances and checks.
fn tables(instances: &[v1::Instance], checks: &[v1::CheckResult], paint: Paint) -> String {
    let mut text = String::new();
    if !instances.is_empty() {
        let mut table = Table::new(["instance", "state", "wanted", "since", "restarts", "reason"]);
        for instance in instances {
            table.row([
                (instance.service.clone(), Tone::Plain),
                state_and_side(instance),
                (wanted(instance.wanted), Tone::Plain),
                (date_time(instance.since_ms), Tone::Plain),
                restarts(instance),
                (instance.reason.clone(), Tone::Plain),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(paint)));
    }
    if !checks.is_empty() {
        let mut table = Table::new(["check", "verdict", "age", "evidence"]);
        for check in checks {
            table.row([
                (format!("{}.{}", check.service, check.check), Tone::Plain),
                verdict(check.verdict),
                (age(Some(check.age_ms)), Tone::Plain),
                (check.evidence.clone(), Tone::Plain),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(paint)));
    }
    text
}

/// The state, and of a leased service the side that it is.
fn state_and_side(instance: &v1::Instance) -> (String, Tone) {
    let (state, tone) = instance_state(instance.state);
    match &instance.role {
        None => (state, tone),
        Some(role) => (
            format!("{state}, {} (epoch {})", side(role.side), role.epoch),
            tone,
        ),
    }
}

/// How often the guard has restarted it, and whether it has given up.
fn restarts(instance: &v1::Instance) -> (String, Tone) {
    if instance.given_up {
        (format!("{}, given up", instance.restarts), Tone::Bad)
    } else {
        (instance.restarts.to_string(), Tone::Plain)
    }
}

/// A node as its own agent knows it.
pub(crate) fn agent_text(node: &v1::Node, paint: Paint) -> String {
    let mut text = format!(
        "{} of {}, asked directly\n  agent       version {}, works by generation {}, highest term {}\n  boot        {}\n",
        paint.tone(Tone::Strong, &clean(&node.node)),
        clean(&node.cluster),
        clean(&node.agent_version),
        node.generation,
        node.highest_term,
        clean(&node.boot_id),
    );
    if let Some(facts) = &node.facts {
        text.push_str(&format!(
            "  machine     {}, {}, kernel {}, {} CPUs, {} MiB memory ({} MiB available)\n",
            clean(&facts.hostname),
            clean(&facts.os),
            clean(&facts.kernel),
            facts.cpus,
            facts.memory_bytes >> 20,
            facts.memory_available_bytes >> 20
        ));
    }
    for link in &node.coordinators {
        let (word, tone) = if link.connected {
            ("connected", Tone::Good)
        } else {
            ("not connected", Tone::Bad)
        };
        text.push_str(&format!(
            "  coordinator {} {} {}\n",
            clean(&link.endpoint),
            paint.tone(tone, word),
            clean(&link.detail)
        ));
    }
    if node.allowed.is_empty() {
        text.push_str("  allowed     nothing: it only observes\n");
    }
    for line in &node.allowed {
        text.push_str(&format!("  allowed     {}\n", clean(line)));
    }
    for refusal in &node.refuses {
        text.push_str(&format!("  refuses     {}\n", refused(refusal, paint)));
    }
    if !node.watchdog.is_empty() {
        text.push_str(&format!("  watchdog    {}\n", clean(&node.watchdog)));
    }
    for claim in &node.claims {
        text.push_str(&format!(
            "  held by     op-{} ({}): {}\n",
            claim.operation,
            clean(&claim.what),
            clean(&claim.services.join(", "))
        ));
    }
    text.push_str(&tables(&node.instances, &node.checks, paint));
    text
}

/// A node as the coordinators know it, for programs.
pub(crate) fn node_value(node: &v1::NodeStatus) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "node": node.node,
        "address": node.address,
        "host": some(&node.host),
        // Of a node without an agent there is none.
        "liveness": node.agentless.is_none().then(|| liveness(node.liveness).0),
        "agentless": node.agentless.as_ref().map(|it| json!({ "probed_from": it.probed_from })),
        "heard_ms": node.heard_ms,
        "power": power(node.power).0,
        "power_age_ms": node.power_age_ms,
        "power_verified": some(&node.power_verified),
        "boot_id": some(&node.boot_id),
        "agent_version": some(&node.agent_version),
        "agent_generation": node.agent_generation,
        "held_by": some(&node.held_by),
        "log_share": some(&node.log_share),
        "certificate_ends": rfc3339(node.certificate_ends_ms),
        "refuses": node.refuses.iter().map(refusal_value).collect::<Value>(),
        "instances": node.instances.iter().map(instance_value).collect::<Value>(),
        "checks": node.checks.iter().map(check_value).collect::<Value>(),
    })
}

/// A node as its own agent knows it, for programs.
pub(crate) fn agent_value(node: &v1::Node) -> Value {
    let link = |link: &v1::CoordinatorLink| json!({"endpoint": link.endpoint, "connected": link.connected, "detail": link.detail});
    json!({
        "node": node.node,
        "cluster": node.cluster,
        "agent_version": node.agent_version,
        "boot_id": node.boot_id,
        "generation": node.generation,
        "highest_term": node.highest_term,
        "facts": node.facts.as_ref().map(facts_value),
        "coordinators": node.coordinators.iter().map(link).collect::<Value>(),
        "allowed": node.allowed,
        "watchdog": (!node.watchdog.is_empty()).then_some(&node.watchdog),
        "refuses": node.refuses.iter().map(refusal_value).collect::<Value>(),
        "claims": node.claims.iter().map(claim_value).collect::<Value>(),
        "instances": node.instances.iter().map(instance_value).collect::<Value>(),
        "checks": node.checks.iter().map(check_value).collect::<Value>(),
    })
}

fn refusal_value(refusal: &v1::Refusal) -> Value {
    let what = refusal_from_wire(refusal).map(|refusal| refusal.permission.to_string());
    json!({ "what": what.ok(), "why": refusal.why })
}

fn claim_value(claim: &v1::Claim) -> Value {
    json!({
        "operation": format!("op-{}", claim.operation),
        "what": claim.what,
        "services": claim.services,
    })
}

fn facts_value(facts: &v1::Facts) -> Value {
    json!({
        "hostname": facts.hostname,
        "os": facts.os,
        "kernel": facts.kernel,
        "cpus": facts.cpus,
        "memory_bytes": facts.memory_bytes,
        "memory_available_bytes": facts.memory_available_bytes,
        "machine_uuid": facts.machine_uuid,
        "load_percent": facts.load_percent,
        "uptime_s": facts.uptime_s,
        "disks": facts.disks.iter().map(|disk| json!({
            "mount": disk.mount,
            "total_bytes": disk.total_bytes,
            "available_bytes": disk.available_bytes,
        })).collect::<Value>(),
    })
}

/// An instance, for programs.
pub(crate) fn instance_value(instance: &v1::Instance) -> Value {
    let wanted = wanted(instance.wanted);
    json!({
        "service": instance.service,
        "state": instance_state(instance.state).0,
        "wanted": (!wanted.is_empty()).then_some(wanted),
        "since": rfc3339(instance.since_ms),
        "reason": instance.reason,
        "restarts": instance.restarts,
        "given_up": instance.given_up,
        "orphaned": instance.orphaned,
        "role": instance.role.as_ref().map(|role| json!({
            "side": side(role.side),
            "epoch": role.epoch,
            "detail": role.detail,
        })),
    })
}

fn check_value(check: &v1::CheckResult) -> Value {
    json!({
        "check": format!("{}.{}", check.service, check.check),
        "verdict": verdict(check.verdict).0,
        "evidence": check.evidence,
        "age_ms": check.age_ms,
    })
}
