//! Memories of activity that are not gone by any more, and why.
//!
//! One is given up where the evidence is against it (`activity`). All of them are where an agent turns out to be ahead of
//! the store (safety rule E11): the store is an older copy of itself then, and a side that it names may have handed over
//! since that copy was made. To start from it would be to start from the older data. What this process has seen itself, or
//! was told by a person, is newer than any copy and stays.
//!
//! Given up is gone: the record is deleted, so that no later process goes by it. The reason is kept in its place, for
//! people, until the checks tell the active side or a person does. What an agent remembered is kept too: the store is not
//! behind it once more when the next process starts.

use std::collections::BTreeMap;

use interlock_model::ids::OperationId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::Now;

use super::message::Hello;
use super::records::{self, Write};
use super::{Cause, Coordinator};

impl Coordinator {
    /// Why nothing is remembered of services of which something was.
    #[must_use]
    pub fn forgotten(&self) -> &BTreeMap<ServiceName, String> {
        &self.forgotten
    }

    /// An agent remembers something that this store has never had, such as `term 7`. True if memories were given up for
    /// that: this must be durable before anything is raised above what the agent remembers, for a later process would
    /// not find out any more that the store was behind.
    pub fn fell_behind(&mut self, node: &NodeName, what: &str, now: Now) -> bool {
        let spec = self.spec();
        let counts = |service: &ServiceName| {
            let declared = spec.as_ref().and_then(|spec| spec.services.get(service));
            declared.is_none_or(|service| service.is_exclusive() && service.nodes.len() > 1)
        };
        let seen = |service: &ServiceName| {
            let trail = self.trails.get(service);
            trail.is_some_and(super::activity::Trail::is_anew)
        };
        let old: Vec<ServiceName> = self
            .activity
            .keys()
            .filter(|service| counts(service) && !seen(service))
            .cloned()
            .collect();
        for service in &old {
            let why = format!(
                "the store is an older copy of itself (the agent of {node} remembers {what}, which it never had)"
            );
            self.give_up(service, &why, now);
        }
        !old.is_empty()
    }

    /// The same for the operations that an agent remembers in its hello.
    pub(super) fn operations_fell_behind(&mut self, node: &NodeName, hello: &Hello, now: Now) {
        let closed = OperationId(hello.closed_below.0.saturating_sub(1));
        let said = hello.highest_operation.max(closed);
        if said <= self.last_operation() {
            return;
        }
        self.fell_behind(node, &said.to_string(), now);
        self.next_operation = said.next();
        self.output
            .writes
            .push(Write::json(records::outrun_key(node), &said));
    }

    /// Gives up what is remembered of a service.
    pub(super) fn give_up(&mut self, service: &ServiceName, why: &str, now: Now) {
        let Some(was) = self.activity.remove(service) else {
            return;
        };
        let why = format!("{was} was remembered, but {why}");
        self.output
            .writes
            .push(Write::delete(records::activity_key(service)));
        self.output
            .writes
            .push(Write::json(records::forgotten_key(service), &why));
        self.event("activity-unknown", now, |event| {
            event.service = service.to_string();
            event.node = was.to_string();
            event.text = format!(
                "nobody knows which side of {service} was active last: {why}; find out which one has the newest data, and \
                 say it with --assume-active {service}=NODE"
            );
        });
        self.forgotten.insert(service.clone(), why);
    }

    /// What is known again is forgotten no more.
    pub(super) fn known_again(&mut self, service: &ServiceName) {
        if self.forgotten.remove(service).is_some() {
            let key = records::forgotten_key(service);
            self.output.writes.push(Write::delete(key));
        }
    }

    /// A cause for each service of which nobody knows which side was active.
    pub(super) fn forgotten_sides(&self) -> impl Iterator<Item = Cause> + '_ {
        let spec = self.spec();
        let declared = move |service: &ServiceName| {
            let spec = spec.as_ref();
            spec.is_some_and(|spec| spec.services.contains_key(service))
        };
        self.forgotten
            .iter()
            .filter(move |(service, _)| declared(service))
            .map(|(service, why)| Cause {
                subject: service.to_string(),
                what: format!(
                    "nobody knows which side was active last: {why}; while it is stopped, a startup has to be told with \
                     --assume-active {service}=NODE"
                ),
                dependants: Vec::new(),
            })
    }
}
