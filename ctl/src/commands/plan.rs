//! `plan`: what would be done. Also how the commands that act get their plan.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context as _;
use interlock_model::check::CheckId;
use interlock_model::file::MAX_TEXT;
use interlock_model::ids::Generation;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{PlanKind, SealedPlan};
use interlock_planner::{Change, Input, Report, Request, Scope, view};
use interlock_proto::v1;
use serde_json::{Value, json};

use super::{spec, status, waiting};
use crate::cli::{Connection, Names, PlanArgs, PlanCommand, PlanFormat};
use crate::client::Client;
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, Table, Tone, clean, clean_lines, no_plan_line, report_lines};

/// A coordinator asks the power sources of silent nodes before it plans; the contract's deadline.
const PLANNING: Duration = Duration::from_secs(1800);

/// What came of planning.
pub(super) struct Made {
    pub(super) kind: PlanKind,
    /// The generation that was planned for; 0 for a file that is not applied.
    pub(super) generation: u64,
    pub(super) plan: Option<SealedPlan>,
    pub(super) report: Report,
}

impl Made {
    /// The plan and its report for programs. What was planned for is there also if no plan is possible.
    pub(super) fn value(&self) -> Value {
        let mut value = view::json(self.plan.as_ref(), &self.report);
        value["kind"] = json!(self.kind);
        value["generation"] = json!(self.generation);
        value
    }
}

pub(super) async fn run(connection: &Connection, command: PlanCommand, out: Out) -> Outcome {
    let (kind, args) = command.into_parts();
    if let Some(file) = &args.file {
        let made = offline(kind, &args.plan, file)?;
        print(&made, args.output, out)?;
        return ended(&made);
    }
    let client = context::coordinators(connection)?.connect().await?;
    let made = make(&client, kind, &args.plan, out).await?;
    print(&made, args.output, out)?;
    if made.plan.is_none() {
        tell_who_is_at_work(&client, out).await?;
    }
    ended(&made)
}

/// How a command ends that only plans.
fn ended(made: &Made) -> Outcome {
    match made.plan {
        Some(_) => Ok(Exit::Ok),
        None => Err(Failure::NoPlan(no_plan_line(&made.report))),
    }
}

/// What an operation under way has half done is often why there is no plan: says which ones are there, and whose.
pub(super) async fn tell_who_is_at_work(client: &Client, out: Out) -> Result<(), Failure> {
    // A hint only: that it cannot be had is no failure.
    let Ok(status) = status::get(client).await else {
        return Ok(());
    };
    for one in status.operations.iter().filter(|one| one.ended_ms == 0) {
        out.say(&clean(&format!(
            "{} ({} {}, started by {}) is {}: interlockctl operation watch {}",
            one.operation, one.kind, one.scope, one.started_by, one.state, one.operation
        )))?;
    }
    Ok(())
}

/// Asks a coordinator for a plan, and checks that what it sent is what its digest says.
pub(super) async fn make(
    client: &Client,
    kind: PlanKind,
    args: &PlanArgs,
    out: Out,
) -> Result<Made, Failure> {
    // Checked here as well, so that a slip is told before anything is asked.
    check_ids(args)?;
    check_batch(kind, args)?;
    let sides = sides(args)?;
    let request = v1::MakePlanRequest {
        kind: kind.to_string(),
        all: args.scope.all,
        services: texts(&args.scope.service),
        nodes: texts(&args.scope.node),
        label: text(args.scope.label.as_ref()),
        host: text(args.scope.host.as_ref()),
        batch: args.batch.unwrap_or(0),
        serial: args.serial,
        force: args.force.clone(),
        assume_active: sides
            .iter()
            .map(|(service, node)| (service.to_string(), node.to_string()))
            .collect(),
        to: text(args.to.as_ref()),
        attested_down: args.attested.iter().map(ToString::to_string).collect(),
        change: change(args)?.map(|change| v1::FileChange {
            file: change.file.map(|name| name.to_string()).unwrap_or_default(),
            template: change.template,
            even_if_unchanged: change.even_if_unchanged,
        }),
        failback: args.failback,
        accept_loss: args.accept_loss,
    };
    let mut plans = client.plans();
    let making = client.call("make a plan", PLANNING, plans.make_plan(request));
    let words = async |waited: Duration| {
        format!(
            "waiting for the plan for {} s: the power sources of silent nodes are asked, one after the other",
            waited.as_secs()
        )
    };
    let response = waiting::answer(making, words, out).await?;
    let report: Report = serde_json::from_str(&response.report_json).with_context(|| {
        format!(
            "{} sent a report that cannot be read: is it of another version?",
            client.address()
        )
    })?;
    if response.digest.is_empty() {
        return Ok(Made {
            kind,
            generation: response.generation,
            plan: None,
            report,
        });
    }
    let plan = SealedPlan::open(response.plan_json.into_bytes())
        .with_context(|| format!("{} sent a plan that cannot be read", client.address()))?;
    if plan.digest().to_string() != response.digest {
        return Err(anyhow::anyhow!(
            "{} sent a plan whose SHA-256 is {}, and calls it {}: it is not shown, since another one would be started",
            client.address(),
            plan.digest(),
            response.digest
        )
        .into());
    }
    Ok(Made {
        kind,
        generation: plan.plan().generation.0,
        plan: Some(plan),
        report,
    })
}

/// Plans for a file, with nothing observed.
fn offline(kind: PlanKind, args: &PlanArgs, file: &std::path::Path) -> Result<Made, Failure> {
    check_batch(kind, args)?;
    let (_, parsed) = spec::read(file)?;
    let mut request = Request::new(kind, scope(args)?);
    request.batch = args.batch.and_then(NonZeroU32::new);
    request.serial = args.serial;
    request.force = check_ids(args)?;
    request.assume_active = sides(args)?;
    request.to = args.to.clone();
    request.attested = args.attested.iter().cloned().collect();
    request.accept_loss = args.accept_loss;
    request.change = change(args)?;
    let memory: BTreeMap<ServiceName, _> = BTreeMap::new();
    let forgotten = BTreeMap::new();
    let outcome = interlock_planner::plan(&Input {
        spec: &parsed.spec,
        generation: Generation(0),
        request,
        observations: None,
        memory: &memory,
        forgotten: &forgotten,
        power_verified: None,
    });
    Ok(Made {
        kind,
        generation: 0,
        plan: outcome.plan,
        report: outcome.report,
    })
}

/// The file that is changed on the way, with its template.
fn change(args: &PlanArgs) -> Result<Option<Change>, Failure> {
    let Some(config) = &args.config else {
        return Ok(None);
    };
    let path = config.template.display();
    let bytes = std::fs::read(&config.template).map_err(|error| {
        Failure::Refused(format!("the template {path} cannot be read: {error}"))
    })?;
    if bytes.len() > MAX_TEXT {
        let what = format!(
            "--config {path}: it has {} bytes, and a text has at most {MAX_TEXT}",
            bytes.len()
        );
        return Err(Failure::Refused(what));
    }
    let template = String::from_utf8(bytes)
        .map_err(|_| Failure::Refused(format!("--config {path}: it is not UTF-8")))?;
    Ok(Some(Change {
        file: config.name.clone(),
        template,
        even_if_unchanged: config.even_if_unchanged,
    }))
}

fn scope(args: &PlanArgs) -> Result<Scope, Failure> {
    let scope = &args.scope;
    Ok(if scope.all {
        Scope::All
    } else if !scope.service.is_empty() {
        Scope::Services(Names::all(&scope.service).collect())
    } else if !scope.node.is_empty() {
        Scope::Nodes(Names::all(&scope.node).collect())
    } else if let Some(label) = &scope.label {
        Scope::Label {
            key: label.key.clone(),
            value: label.value.clone(),
        }
    } else if let Some(host) = &scope.host {
        Scope::Host(host.clone())
    } else {
        return Err(Failure::Usage(
            "say what it is about: --all, --service, --node, --label or --host".to_owned(),
        ));
    })
}

/// The active side of each service that one was given for; one alone, since the other would be taken for a standby.
fn sides(args: &PlanArgs) -> Result<BTreeMap<ServiceName, NodeName>, Failure> {
    let mut sides: BTreeMap<ServiceName, NodeName> = BTreeMap::new();
    for (service, node) in &args.assume_active {
        match sides.insert(service.clone(), node.clone()) {
            Some(other) if other != *node => {
                return Err(Failure::Usage(format!(
                    "--assume-active names two active sides of {service}, {other} and {node}: it has one"
                )));
            }
            _ => {}
        }
    }
    Ok(sides)
}

fn check_ids(args: &PlanArgs) -> Result<BTreeSet<CheckId>, Failure> {
    let one = |text: &String| {
        let (service, check) = text.split_once('.')?;
        Some(CheckId {
            service: service.parse().ok()?,
            check: check.parse().ok()?,
        })
    };
    args.force
        .iter()
        .map(|text| {
            one(text).ok_or_else(|| {
                Failure::Usage(format!(
                    "--force {text}: name one check as SERVICE.CHECK; there is no other force"
                ))
            })
        })
        .collect()
}

/// Only what goes in batches has a size of them: elsewhere it would be a wish that nobody follows.
fn check_batch(kind: PlanKind, args: &PlanArgs) -> Result<(), Failure> {
    match (kind, args.batch) {
        (PlanKind::Shutdown | PlanKind::Startup, Some(batch)) => Err(Failure::Usage(format!(
            "--batch {batch}: a {kind} goes by its dependencies, not in batches; --batch is for restart and reboot"
        ))),
        _ => Ok(()),
    }
}

/// What is not given is empty on the wire.
fn text<T: ToString>(given: Option<&T>) -> String {
    given.map(ToString::to_string).unwrap_or_default()
}

fn texts<T: Clone + ToString>(names: &[Names<T>]) -> Vec<String> {
    Names::all(names).map(|name| name.to_string()).collect()
}

/// Prints a plan and its report.
pub(super) fn print(made: &Made, format: PlanFormat, out: Out) -> Result<(), Failure> {
    match format {
        PlanFormat::Json => out.json(&made.value()),
        PlanFormat::Yaml => out.yaml(&made.value()),
        PlanFormat::Dot => {
            if let Some(plan) = &made.plan {
                out.data(&view::dot(plan.plan()))?;
            }
            out.say(report_lines(&made.report, out.talk_paint()).trim_end())
        }
        PlanFormat::Tree | PlanFormat::Table => {
            if let Some(plan) = &made.plan {
                out.data(&shown(plan, format, out))?;
            }
            out.data(&report_lines(&made.report, out.paint()))
        }
    }
}

/// The plan for people.
fn shown(plan: &SealedPlan, format: PlanFormat, out: Out) -> String {
    if format == PlanFormat::Table {
        let mut table = Table::new(view::Row::HEAD);
        for row in view::rows(plan.plan()) {
            table.row(row.cells().map(|cell| (cell, Tone::Plain)));
        }
        table.render(out.paint())
    } else {
        clean_lines(&view::tree(plan))
    }
}
