//! A plan without steps: nothing is missing that a step could bring, which is not yet that all is well.
//!
//! A planner asks whether instances are up or down. Whether they also work is in the status: what a startup, a restart or
//! a reboot covers and is not well is told, and has an exit code of its own. So is an operation that is still at it: what
//! it has yet to bring, or to ask a person, is not there. A shutdown wants its scope down, and a plan for one has no steps
//! only if all of it is proven to be down, but for what it leaves to a person: that is told, whatever is planned.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::plan::PlanKind;
use interlock_planner::{Entry, Report, Subject};
use interlock_proto::v1;

use super::plan::Made;
use super::status;
use crate::cli::{Format, Names, Scope};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::render::{Out, clean, instance_state, verdict};

/// Says that there is nothing to do, and what of the scope is not well all the same.
pub(super) async fn tell(
    client: &Client,
    made: &Made,
    scope: &Scope,
    format: Format,
    out: Out,
) -> Outcome {
    let mut doubts = left_to_people(&made.report);
    match made.kind {
        PlanKind::Shutdown | PlanKind::Evacuate => {}
        PlanKind::Startup
        | PlanKind::Restart
        | PlanKind::Reboot
        | PlanKind::Switchover
        | PlanKind::Failover
        | PlanKind::Failback
        | PlanKind::Restore => {
            let status = status::get(client).await?;
            let covered = Covered::of(&status, &made.report, scope);
            doubts.extend(self::doubts(&status, &covered, scope));
        }
    }
    if format != Format::Table {
        let mut value = made.value();
        value["not_well"] = doubts.clone().into();
        out.show(format, || value, |_| String::new())?;
    }
    if doubts.is_empty() {
        out.say("nothing to do: everything is as it shall be")?;
        return Ok(Exit::Ok);
    }
    out.say("no step is needed, but not everything is well:")?;
    for doubt in &doubts {
        out.say(&format!("  {}", clean(doubt)))?;
    }
    Ok(Exit::NotWell)
}

/// How often is looked again, and after how long each time, before something of others is told not to be well: what is reached
/// through what was just started was asked last before that. Longer than the usual period of a check, of 10 s.
const LOOKS: u32 = 15;
const LOOK: Duration = Duration::from_secs(1);

/// What is not of this cluster, is not well, and an operation that brought its scope up has nothing to do with. A plan that
/// has no steps tells it too, with the same exit code.
pub(super) async fn externals(client: &Client, made: &Made, scope: &Scope, out: Out) -> Outcome {
    if matches!(made.kind, PlanKind::Shutdown | PlanKind::Evacuate) {
        return Ok(Exit::Ok);
    }
    let steps = made.plan.iter().flat_map(|plan| &plan.plan().steps);
    let touched: BTreeSet<String> = steps
        .filter_map(|step| Some(step.service.as_ref()?.to_string()))
        .collect();
    let mut doubts = Vec::new();
    for look in 0..=LOOKS {
        if look > 0 {
            tokio::time::sleep(LOOK).await;
        }
        let status = of_externals(status::get(client).await?);
        let mut covered = Covered::of(&status, &made.report, scope);
        covered.services.extend(touched.iter().cloned());
        doubts = self::doubts(&status, &covered, scope);
        if doubts.is_empty() {
            return Ok(Exit::Ok);
        }
    }
    out.say("every step is done, but not everything is well that is not of this cluster:")?;
    for doubt in &doubts {
        out.say(&format!("  {}", clean(doubt)))?;
    }
    Ok(Exit::NotWell)
}

/// The part of a status that is about external services.
fn of_externals(mut status: v1::Status) -> v1::Status {
    status.operations.clear();
    status.services.retain(|service| service.external);
    let services = &status.services;
    status
        .causes
        .retain(|cause| services.iter().any(|it| it.service == cause.subject));
    status
}

/// What nobody but a person can do.
fn left_to_people(report: &Report) -> Vec<String> {
    let entries = report.entries().iter();
    entries
        .filter_map(|entry| match entry {
            Entry::LeftForYou { subject, task } => Some(format!("{subject}: left for you: {task}")),
            _ => None,
        })
        .collect()
}

/// What the scope covers and is not well, a line for each; causes before what they explain.
fn doubts(status: &v1::Status, covered: &Covered, scope: &Scope) -> Vec<String> {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let mut lines = Vec::new();
    for cause in &status.causes {
        let concerned = scope.all
            || covered.services.contains(&cause.subject)
            || covered.nodes.contains(&cause.subject)
            || cause
                .dependants
                .iter()
                .any(|it| covered.services.contains(it));
        if concerned {
            told.insert(&cause.subject);
            lines.push(format!("{}: {}", cause.subject, cause.what));
        }
    }
    // Of a part of the cluster it is not told here whether another operation is about it.
    for operation in &status.operations {
        if scope.all || operation.scope == "--all" {
            lines.push(format!(
                "{name} ({} {}, started by {}) is {}, {} of {} steps are done: `interlockctl operation show {name}`",
                operation.kind,
                operation.scope,
                operation.started_by,
                operation.state,
                operation.steps_done,
                operation.steps,
                name = operation.operation,
            ));
        }
    }
    for service in &status.services {
        if service.state == "ok" || told.contains(service.service.as_str()) {
            continue;
        }
        if covered.services.contains(&service.service) {
            let (name, state) = (&service.service, &service.state);
            lines.push(said(&format!("{name}: {state}"), &service.reason));
        } else {
            lines.extend(covered.doubts_of(service, status));
        }
    }
    lines
}

/// Something with its reason, if one is known.
fn said(what: &str, reason: &str) -> String {
    match reason {
        "" => what.to_owned(),
        reason => format!("{what}: {reason}"),
    }
}

/// What a scope covers: services as a whole, and instances of those of which it leaves a part out.
#[derive(Debug, Default)]
struct Covered {
    services: BTreeSet<String>,
    nodes: BTreeSet<String>,
    /// Service and node.
    instances: BTreeSet<(String, String)>,
}

impl Covered {
    /// A report names everything that a plan without steps was about.
    fn of(status: &v1::Status, report: &Report, scope: &Scope) -> Self {
        let mut covered = Self::default();
        for entry in report.entries() {
            let (Entry::AlreadyDone { subject, .. } | Entry::Excluded { subject, .. }) = entry
            else {
                continue;
            };
            match subject {
                Subject {
                    service: Some(service),
                    node: Some(node),
                } => {
                    let instance = (service.to_string(), node.to_string());
                    covered.nodes.insert(node.to_string());
                    covered.instances.insert(instance);
                }
                Subject {
                    service: None,
                    node: Some(node),
                } => {
                    covered.nodes.insert(node.to_string());
                }
                Subject { node: None, .. } => {}
            }
        }
        let named: BTreeSet<String> = Names::all(&scope.service)
            .map(|service| service.to_string())
            .collect();
        for service in &status.services {
            let of_it = |(name, _): &&(String, String)| *name == service.service;
            let count = covered.instances.iter().filter(of_it).count();
            let whole = count > 0 && u32::try_from(count) == Ok(service.instances);
            if scope.all || whole || named.contains(&service.service) {
                covered.services.insert(service.service.clone());
            }
        }
        covered
    }

    /// What is not well of the covered instances of a service that as a whole is not.
    fn doubts_of(&self, service: &v1::ServiceStatus, status: &v1::Status) -> Vec<String> {
        let name = &service.service;
        let mut doubts = Vec::new();
        for node in &status.nodes {
            if !self.instances.contains(&(name.clone(), node.node.clone())) {
                continue;
            }
            let seen = node.instances.iter().find(|it| it.service == *name);
            let (state, reason) = seen.map_or_else(
                || ("unknown".to_owned(), "not reported"),
                |it| (instance_state(it.state).0, it.reason.as_str()),
            );
            if state != "running" {
                doubts.push(said(&format!("{name}@{}: {state}", node.node), reason));
                continue;
            }
            // On a standby the checks that tell the active side are bad, as they shall be.
            let standby =
                service.exclusive && !service.active.is_empty() && service.active != node.node;
            for check in node.checks.iter().filter(|check| check.service == *name) {
                let (found, _) = verdict(check.verdict);
                if found == "ok" || (found == "bad" && standby) {
                    continue;
                }
                doubts.push(format!(
                    "{name}.{} on {} is {found}: {}",
                    check.check, node.node, check.evidence
                ));
            }
        }
        doubts
    }
}
