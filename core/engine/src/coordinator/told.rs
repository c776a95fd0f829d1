//! What `events` tell of how things are: when a root cause begins and ends, and when an instance pauses and goes on.
//!
//! | is so, and has been for [`SETTLED`] | event |
//! |---|---|
//! | a service is a root cause, or a machine that went off under what was wanted there | `cause-began` |
//! | that service is well, or rests as wanted; that machine is heard again | `cause-ended` |
//! | an instance says of itself that it is *paused* | `instance-paused` |
//! | it is known not to be | `instance-resumed` |
//!
//! One event for one change, however many suffer from it: they are named in it. What comes and goes sooner than it settles is
//! none. What is unknown is no change either (invariant I5): while agents are silent, or a coordinator has just begun, nothing
//! begins and nothing ends. What was told last the events themselves say, so the next process neither repeats it nor leaves an
//! end untold. That an agent is silent, or that two speak as one node, are events of their own (`node-lost`, `node-contested`).

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use super::records::Event;
use super::status::{ServiceHealth, ServiceStatus, causes_among, machines_off, sick};
use super::{Cause, Coordinator};

/// How long something is so before it is told: longer than a cause takes to be found behind those that suffer from it, whose
/// checks run at other moments.
const SETTLED: Duration = Duration::from_secs(5);

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// How many of those that suffer are named.
const NAMED: usize = 8;

/// What an event is about: a service, a machine, or an instance.
type Subject = (Option<ServiceName>, Option<NodeName>);

/// What was told last, of whatever was told to be amiss.
#[derive(Debug, Clone, Default)]
pub struct Told {
    amiss: BTreeMap<Subject, Turn>,
    looked: Option<Duration>,
}

/// Whether something was told to be amiss, and since when it is seen to be otherwise.
#[derive(Debug, Clone, Default)]
struct Turn {
    told: bool,
    otherwise: Option<Duration>,
}

impl Turn {
    /// It is seen to be so; none: nobody knows. Is that to be told?
    fn sees(&mut self, amiss: Option<bool>, now: Now) -> bool {
        if amiss.is_none_or(|amiss| amiss == self.told) {
            self.otherwise = None;
            return false;
        }
        let since = *self.otherwise.get_or_insert(now.mono);
        let settled = now.since(since) >= SETTLED;
        if settled {
            self.told = !self.told;
            self.otherwise = None;
        }
        settled
    }
}

impl Told {
    /// An event of the store, in their order.
    pub fn note(&mut self, event: &Event) {
        let told = match event.kind.as_str() {
            "cause-began" | "instance-paused" => true,
            "cause-ended" | "instance-resumed" => false,
            _ => return,
        };
        let subject = (event.service.parse().ok(), event.node.parse().ok());
        match told {
            true => {
                self.amiss.entry(subject).or_default().told = true;
            }
            false => {
                self.amiss.remove(&subject);
            }
        }
    }
}

/// Whether something is amiss, if that is known, and the line that tells it.
type Seen = (Option<bool>, String);

impl Coordinator {
    /// Tells what has changed of how things are.
    pub(super) fn tell_how_things_are(&mut self, now: Now) {
        if self.told.looked.is_some_and(|last| now.since(last) < LOOK) {
            return;
        }
        self.told.looked = Some(now.mono);
        let mut told = std::mem::take(&mut self.told);
        for (subject, (amiss, text)) in self.how_things_are(&told, now) {
            if told
                .amiss
                .entry(subject.clone())
                .or_default()
                .sees(amiss, now)
            {
                let kind = match (&subject, amiss) {
                    ((Some(_), Some(_)), Some(true)) => "instance-paused",
                    ((Some(_), Some(_)), _) => "instance-resumed",
                    (_, Some(true)) => "cause-began",
                    _ => "cause-ended",
                };
                self.event(kind, now, |event| {
                    event.service = subject.0.iter().map(ToString::to_string).collect();
                    event.node = subject.1.iter().map(ToString::to_string).collect();
                    event.text = text;
                });
            }
        }
        told.amiss
            .retain(|_, turn| turn.told || turn.otherwise.is_some());
        self.told = told;
    }

    /// How everything is that may be amiss, and that was told to be.
    fn how_things_are(&self, told: &Told, now: Now) -> BTreeMap<Subject, Seen> {
        let Some(applied) = &self.applied else {
            return BTreeMap::new();
        };
        let spec = &applied.spec;
        let services = self.services(now);
        let mut seen: BTreeMap<Subject, Seen> = BTreeMap::new();
        for status in &services {
            let name = &status.service;
            for (node, why) in &status.paused {
                let text = format!("{name} on {node} is paused: {why}");
                seen.insert((Some(name.clone()), Some(node.clone())), (Some(true), text));
            }
        }
        // What is as it should be is looked at only where something else was told: this is done each second, of everything.
        let by_name: BTreeMap<_, _> = services.iter().map(|it| (&it.service, it)).collect();
        for subject in told.amiss.keys() {
            let status = subject.0.as_ref().and_then(|name| by_name.get(name));
            if let Some(status) = status
                && let Some(text) = ended(status, subject.1.as_ref(), spec)
            {
                seen.insert(subject.clone(), (Some(false), text));
            }
        }
        let sick = sick(services);
        // What is not well, and no cause by itself, has not ended either.
        for name in sick.keys() {
            seen.insert((Some(name.clone()), None), (None, String::new()));
        }
        let silenced = self.silent_by_themselves(&sick, now);
        for (name, cause) in causes_among(spec, &sick, &silenced) {
            if sick[&name].health != ServiceHealth::Unknown {
                seen.insert((Some(name), None), (Some(true), began(&cause)));
            }
        }
        for (service, node) in told.amiss.keys() {
            if let (None, Some(node)) = (service, node)
                && self.view.alive(node)
            {
                let ended = format!("{node} is no root cause any more: it is heard");
                seen.insert((None, Some(node.clone())), (Some(false), ended));
            }
        }
        for (node, cause) in machines_off(spec, &sick) {
            seen.insert((None, Some(node)), (Some(true), began(&cause)));
        }
        for subject in told.amiss.keys().filter(|it| !is_declared(it, spec)) {
            let ended = "the spec has it no more".to_owned();
            seen.insert(subject.clone(), (Some(false), ended));
        }
        seen
    }
}

/// How it is told that a service is amiss no more, or its instance on a node; none if that is not known, or it is.
fn ended(status: &ServiceStatus, node: Option<&NodeName>, spec: &Spec) -> Option<String> {
    let name = &status.service;
    let Some(node) = node else {
        return Some(format!(
            "{name} is no root cause any more: it is {}",
            status.health
        ));
    };
    let is_there = spec.services.get(name)?.nodes.contains(node);
    let known = is_there && !status.paused.contains_key(node) && !status.untold.contains(node);
    known.then(|| format!("{name} on {node} is paused no more"))
}

fn is_declared((service, node): &Subject, spec: &Spec) -> bool {
    let has_service = service
        .as_ref()
        .is_none_or(|it| spec.services.contains_key(it));
    has_service && node.as_ref().is_none_or(|it| spec.nodes.contains_key(it))
}

fn began(cause: &Cause) -> String {
    let mut named: Vec<&str> = cause
        .dependants
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect();
    let more = cause.dependants.len().saturating_sub(NAMED);
    let more = match more {
        0 => String::new(),
        more => format!("{more} more"),
    };
    named.extend(Some(more.as_str()).filter(|it| !it.is_empty()));
    match named.as_slice() {
        [] => format!("{} is {}", cause.subject, cause.what),
        named => format!(
            "{} is {}; with it: {}",
            cause.subject,
            cause.what,
            named.join(", ")
        ),
    }
}
