//! A plan in the making: the input, what was found out about it, and the graph so far.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::check::CheckId;
use interlock_model::file::Text;
use interlock_model::lease::Shortfall;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Assumption, Digest};
use interlock_model::spec::{Service, Spec};

use crate::files::{Rendered, Rendering};
use crate::graph::Graph;
use crate::input::{Input, Request, Scope};
use crate::needs::Needs;
use crate::order;
use crate::report::{Entry, Report, Subject};
use crate::select::meant;
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) input: &'a Input<'a>,
    pub(crate) spec: &'a Spec,
    pub(crate) request: &'a Request,
    pub(crate) world: World<'a>,
    pub(crate) report: Report,
    pub(crate) graph: Graph,
    /// What the plan takes for granted of each exclusive service that it touches.
    pub(crate) assumptions: BTreeMap<ServiceName, Assumption>,
    /// What is lost of the writes of services, and accepted.
    pub(crate) accepted: BTreeMap<ServiceName, Shortfall>,
    /// The active side of each exclusive service that was asked for; none if it cannot be told.
    pub(crate) sides: BTreeMap<ServiceName, Option<NodeName>>,
    /// Where roles go before anything else is done.
    pub(crate) moved: BTreeMap<ServiceName, NodeName>,
    /// The services whose capacity the plan keeps.
    pub(crate) keeps: BTreeSet<ServiceName>,
    /// The texts of the files that the plan writes.
    pub(crate) texts: BTreeMap<Digest, Text>,
    /// What the file that is changed shall say, if one is.
    pub(crate) rendered: Option<&'a Rendered>,
    pub(crate) needs: Needs<'a>,
    ranks: BTreeMap<ServiceName, u32>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(input: &'a Input<'a>, rendering: &'a Rendering) -> Self {
        let spec = input.spec;
        let ranks = order::ranks(spec);
        let mut draft = Self {
            input,
            spec,
            request: &input.request,
            world: World::new(spec, input.observations, &input.request),
            report: rendering.report.clone(),
            graph: Graph::default(),
            assumptions: BTreeMap::new(),
            accepted: BTreeMap::new(),
            sides: BTreeMap::new(),
            moved: BTreeMap::new(),
            keeps: BTreeSet::new(),
            texts: BTreeMap::new(),
            rendered: rendering.rendered.as_ref(),
            needs: Needs::new(spec, &ranks),
            ranks,
        };
        draft.examine_request();
        draft
    }

    /// What the request names must exist, and what it assumes must make sense.
    fn examine_request(&mut self) {
        for id in &self.request.force {
            if !self
                .spec
                .services
                .get(&id.service)
                .is_some_and(|service| service.checks.contains_key(&id.check))
            {
                let checks: Vec<String> = self
                    .spec
                    .services
                    .values()
                    .flat_map(|service| {
                        let names = service.checks.keys();
                        names.map(|check| format!("{}.{check}", service.name))
                    })
                    .collect();
                let remedy = meant(
                    &id.to_string(),
                    checks.iter().map(String::as_str),
                    "`interlockctl spec show` has the checks of each service",
                );
                self.report.blocked(
                    Subject::cluster(),
                    format!("--force {id} names no check of the spec"),
                    remedy,
                );
            }
        }
        for (name, node) in &self.request.assume_active {
            let why = match self.spec.services.get(name) {
                None => format!("there is no service {name}"),
                Some(service) if !service.is_exclusive() => format!("{name} is not exclusive"),
                Some(service) if !service.nodes.contains(node) => {
                    format!("{name} has no instance on {node}")
                }
                Some(_) => continue,
            };
            let by = format!("--assume-active {name}={node}: {why}");
            let exclusive = self.spec.services.values().filter(|it| it.is_exclusive());
            let sides: Vec<String> = exclusive
                .flat_map(|service| {
                    let nodes = service.nodes.iter();
                    nodes.map(|node| format!("{}={node}", service.name))
                })
                .collect();
            let remedy = meant(
                &format!("{name}={node}"),
                sides.iter().map(String::as_str),
                "correct it or leave it out",
            );
            self.report.blocked(Subject::cluster(), by, remedy);
        }
        if self.world.is_offline() {
            let what = match (self.request.kind, &self.request.scope) {
                (kind, Scope::All) if kind.comes_up() => {
                    "offline: nothing was observed; every instance is taken to be down, and every node that can be \
                     switched to be off"
                }
                (kind, _) if kind.comes_up() => {
                    "offline: nothing was observed; what the scope covers is taken to be down, and all else to be up"
                }
                _ => {
                    "offline: nothing was observed; every instance is taken to be up, and every node to be on"
                }
            };
            self.report.add(Entry::Assumed {
                subject: Subject::cluster(),
                what: what.into(),
            });
        }
    }

    /// The length of the longest chain of dependencies below a service.
    pub(crate) fn rank(&self, service: &ServiceName) -> u32 {
        self.ranks.get(service).copied().unwrap_or(0)
    }

    pub(crate) fn service(&self, name: &ServiceName) -> Option<&'a Service> {
        self.spec.services.get(name)
    }

    /// The services of `among`, dependencies first, ties by name.
    pub(crate) fn by_rank<'n>(
        &self,
        among: impl IntoIterator<Item = &'n ServiceName>,
    ) -> Vec<&'a Service> {
        let mut services: Vec<&'a Service> = among
            .into_iter()
            .filter_map(|name| self.service(name))
            .collect();
        services.sort_by_key(|service| (self.rank(&service.name), &service.name));
        services
    }

    pub(crate) fn is_forced(&self, check: &CheckId) -> bool {
        self.request.force.contains(check)
    }

    /// See [`order::dependencies_within`].
    pub(crate) fn dependencies_within(
        &self,
        present: &BTreeSet<&ServiceName>,
        name: &ServiceName,
    ) -> BTreeMap<ServiceName, interlock_model::spec::Dependency> {
        order::dependencies_within(self.spec, &self.ranks, present, name)
    }
}
