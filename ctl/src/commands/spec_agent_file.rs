//! `spec check --agent-config`: whether the time that an agent's own file gives a process fits into the limits of the spec.
//!
//! How long a process may take between the polite signal and SIGKILL is known to the machine's owner alone, and how long a
//! stop may take stands in the spec. Where the first is the longer one, a stop that needs its SIGKILL fails before that.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use interlock_model::action::{Part, STOP_GRACE};
use interlock_model::names::NodeName;
use interlock_model::spec::{Problem, Problems, Service, Severity, Spec};
use interlock_model::time::human;
use serde::Deserialize;
use toml::Spanned;

use crate::failure::Failure;

/// What is read of an agent's file; the rest is for `interlock-agent config check`.
#[derive(Debug, Deserialize)]
struct AgentFile {
    node: Node,
    #[serde(default)]
    process: BTreeMap<String, Spanned<Process>>,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: Spanned<NodeName>,
}

#[derive(Debug, Deserialize)]
struct Process {
    stop_grace: Option<Spanned<Period>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
struct Period(#[serde(with = "human")] Duration);

/// What of an agent's file does not fit the spec.
///
/// # Errors
/// If it cannot be read, or is no file of an agent.
pub(super) fn check(spec: &Spec, file: &Path) -> Result<(Problems, String), Failure> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::Refused(format!("cannot read the agent's file {name}: {error}"))
    })?;
    let read: AgentFile = toml::from_str(&text).map_err(|error| {
        Failure::Invalid(format!("{name}: this is no file of an agent: {error}"))
    })?;
    let node = read.node.name.get_ref();
    if !spec.nodes.contains_key(node) {
        let at = read.node.name.span().start;
        let what = format!("the spec has no node {node}");
        let why =
            "the file is for an agent of another cluster, or its node is called otherwise there";
        let problem = warning(&text, at, "node.name", what, why.to_owned());
        return Ok((Problems::new(&name, vec![problem]), text));
    }
    let mut problems = Vec::new();
    for service in spec.services.values().filter(|it| it.nodes.contains(node)) {
        for process in processes(service) {
            if let Some(declared) = read.process.get(process) {
                problems.extend(too_patient(&text, service, process, declared));
            }
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Ok((Problems::new(&name, problems), text))
}

/// The supervised processes of an instance.
fn processes(service: &Service) -> impl Iterator<Item = &str> {
    let parts = service.parts.iter().chain(&service.primary_parts);
    parts.filter_map(|part| match part {
        Part::Process { name } => Some(name.as_str()),
        Part::Systemd { .. }
        | Part::Exec { .. }
        | Part::Ocf(_)
        | Part::Address(_)
        | Part::Postgres(_)
        | Part::Redis(_)
        | Part::Mariadb(_) => None,
    })
}

/// That a stop fails before the process is killed, if so.
fn too_patient(
    text: &str,
    service: &Service,
    process: &str,
    declared: &Spanned<Process>,
) -> Option<Problem> {
    let given = declared.get_ref().stop_grace.as_ref();
    let (grace, at, said) = match given {
        Some(grace) => (grace.get_ref().0, grace.span().start, ""),
        None => (STOP_GRACE, declared.span().start, ", which is the default"),
    };
    let limit = service.stop_within;
    (grace >= limit).then(|| {
        let (grace, limit) = (human::text(grace), human::text(limit));
        warning(
            text,
            at,
            &format!("process.{process}.stop_grace"),
            format!(
                "stop_grace of the process {process} is {grace}{said}, and a stop of {} has {limit}",
                service.name
            ),
            format!(
                "`timeouts.stop` of services.{} ends the step before a process that does not end by itself is killed, \
                 so that it fails: lower the one or raise the other",
                service.name
            ),
        )
    })
}

fn warning(text: &str, at: usize, path: &str, what: String, why: String) -> Problem {
    let before = &text[..text.floor_char_boundary(at)];
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let line = before.matches('\n').count();
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    Problem {
        severity: Severity::Warning,
        line: count(line + 1),
        column: count(column + 1),
        width: 1,
        path: path.to_owned(),
        what,
        why,
        suggestion: None,
        notes: Vec::new(),
    }
}
