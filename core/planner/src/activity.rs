//! Which instance of an exclusive service is active.
//!
//! Observed, if its `active_when` checks are green on exactly one instance; remembered, if it was stopped everywhere
//! (invariant I10); or assumed, because the operator said so. Otherwise it is unknown and nothing is planned. What was
//! observed is never overruled by what was remembered or assumed.
//!
//! It *was stopped everywhere* if every instance is down, and also if those that are up came up with their machines after
//! they had been stopped: nobody told them to be active, and nothing they show says which one was. A service of which an
//! instance is wanted running, and none is active, was not stopped; what became of its active side is unknown.
//!
//! A check of `active_when` that is forced counts as not green where it is unknown; what follows from that is assumed,
//! not observed. Two green instances are two active sides, whatever is forced.

use interlock_model::check::{CheckId, Verdict};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Assumption, Known};
use interlock_model::spec::Service;

use crate::draft::Draft;
use crate::report::{Entry, Report, Subject, counted};
use crate::roles::Primary;
use crate::world::Presence;

/// What the checks say.
enum Seen {
    /// Exactly one instance is active. If a check was overridden for that, it is the operator's word as well.
    On(NodeName, Known),
    /// Every instance is down.
    Down,
    /// Some are up, and none of them is active.
    Nowhere,
    /// It is leased, some are up, and nobody holds the lease.
    NobodyHolds,
    /// It cannot be told.
    Unclear { why: String, check: Option<CheckId> },
}

impl Draft<'_> {
    /// The active side of a service; none if it is not exclusive or cannot be told. In the latter case the report says
    /// why. The answer becomes part of the plan.
    pub(crate) fn active_side(&mut self, service: &Service) -> Option<NodeName> {
        if !service.is_exclusive() {
            return None;
        }
        if let Some(known) = self.sides.get(&service.name) {
            return known.clone();
        }
        let side = match service.nodes.as_slice() {
            // The only instance is the active one; there is nothing to take for granted.
            [only] => Some(only.clone()),
            _ => self.decide(service),
        };
        self.sides.insert(service.name.clone(), side.clone());
        side
    }

    /// The active side of a service that the plan only relies on; none, and no complaint, if it is down everywhere.
    pub(crate) fn side_of(&mut self, service: &Service) -> Option<NodeName> {
        let is_down = |node| self.world.instance(&service.name, node) == Presence::Down;
        if service.nodes.iter().all(is_down) {
            None
        } else {
            self.active_side(service)
        }
    }

    /// The side that is seen to be active, if one is; nothing is taken for granted and nothing complained of.
    pub(crate) fn observed_side(&self, service: &Service) -> Option<NodeName> {
        match self.observe(service) {
            Seen::On(node, _) if service.is_exclusive() => Some(node),
            Seen::On(..)
            | Seen::Down
            | Seen::Nowhere
            | Seen::NobodyHolds
            | Seen::Unclear { .. } => None,
        }
    }

    fn decide(&mut self, service: &Service) -> Option<NodeName> {
        let assumed = self.request.assume_active.get(&service.name);
        match self.observe(service) {
            Seen::On(node, known) => {
                if let Some(other) = assumed.filter(|other| **other != node) {
                    self.report.blocked(
                        Subject::service(&service.name),
                        format!(
                            "its checks say that {node} is active, --assume-active says {other}"
                        ),
                        "leave --assume-active out",
                    );
                    return None;
                }
                Some(self.take_for_granted(service, node, known))
            }
            Seen::Down if self.request.kind.comes_up() => self.recall(service, assumed),
            // Down, but some agent may start one of them again: they are stopped in their order.
            Seen::Down => {
                let come_up = |node| self.world.may_come_up(&service.name, node);
                let any = service.nodes.iter().any(come_up);
                any.then(|| self.recall(service, assumed)).flatten()
            }
            Seen::NobodyHolds if self.request.kind.comes_up() => self.recall(service, assumed),
            // Standbys all of them: there is no order between them.
            Seen::NobodyHolds => None,
            Seen::Nowhere if self.came_up_by_itself(service) => self.recall(service, assumed),
            Seen::Nowhere => self.unclear(
                service,
                "no instance passes its active_when checks",
                None,
                assumed,
            ),
            Seen::Unclear { why, check } => self.unclear(service, &why, check, assumed),
        }
    }

    /// For a startup: is every instance that is up one that was stopped, and that nobody has started since?
    fn came_up_by_itself(&self, service: &Service) -> bool {
        let name = &service.name;
        self.request.kind.comes_up()
            && service.nodes.iter().all(|node| {
                self.world.is_unwatched(name, node)
                    || self.world.instance(name, node) == Presence::Down
            })
    }

    /// The side that was active before everything stopped.
    fn recall(&mut self, service: &Service, assumed: Option<&NodeName>) -> Option<NodeName> {
        let remembered = self
            .input
            .memory
            .get(&service.name)
            .filter(|node| service.nodes.contains(node));
        match (assumed, remembered) {
            (Some(assumed), remembered) => {
                if let Some(remembered) = remembered.filter(|node| *node != assumed) {
                    let text =
                        format!("{remembered} was active before the stop, you say {assumed}");
                    self.report.warn(Subject::service(&service.name), text);
                }
                Some(self.take_for_granted(service, assumed.clone(), Known::Assumed))
            }
            (None, Some(remembered)) => {
                Some(self.take_for_granted(service, remembered.clone(), Known::Remembered))
            }
            // Whoever was primary last has said so where no stop can make it forget, and the lease goes to nobody else.
            (None, None) if service.is_leased() => {
                let first = service.nodes.first()?.clone();
                Some(self.take_for_granted(service, first, Known::Assumed))
            }
            (None, None) => {
                let nothing = "it is stopped and nothing is remembered of which side was active";
                let why = match self.input.forgotten.get(&service.name) {
                    Some(why) => format!("{nothing}: {why}"),
                    None => nothing.to_owned(),
                };
                self.report.unknown(
                    Subject::service(&service.name),
                    why,
                    format!("say it with --assume-active {}=NODE", service.name),
                );
                None
            }
        }
    }

    fn unclear(
        &mut self,
        service: &Service,
        why: &str,
        check: Option<CheckId>,
        assumed: Option<&NodeName>,
    ) -> Option<NodeName> {
        if let Some(node) = assumed {
            if let Some((other, why)) = self.second_side(service, node) {
                let why = format!(
                    "{why}; it may be active, and {node} would be started as a second active side"
                );
                let remedy =
                    "repair its agent, or let its power source say that the machine is off";
                let subject = Subject::instance(&service.name, other);
                self.report.unknown(subject, why, remedy);
                return None;
            }
            if !self.world.is_offline() {
                let text = format!("{why}; going by --assume-active {node}");
                self.report.warn(Subject::service(&service.name), text);
            }
            return Some(self.take_for_granted(service, node.clone(), Known::Assumed));
        }
        self.report.add(Entry::Unknown {
            subject: Subject::service(&service.name),
            why: format!("which side is active: {why}"),
            remedy: format!(
                "repair the check, or say it with --assume-active {}=NODE",
                service.name
            ),
            force: check,
        });
        None
    }

    /// Where this service may run, of which nothing is known, while a startup would begin with another side because somebody says
    /// that this one is active: that word orders what is known to be down, and stops nothing that runs. Who has a lease is kept
    /// from being a second one by that.
    fn second_side<'n>(
        &self,
        service: &'n Service,
        active: &NodeName,
    ) -> Option<(&'n NodeName, String)> {
        let starts = self.request.kind.comes_up() && !service.is_leased();
        if !starts || self.world.is_offline() {
            return None;
        }
        if self.world.instance(&service.name, active) == Presence::Up {
            return None;
        }
        let mut others = service.nodes.iter().filter(|node| *node != active);
        others.find_map(|node| match self.world.instance(&service.name, node) {
            Presence::Unknown(why) => Some((node, why)),
            Presence::Up | Presence::Down => None,
        })
    }

    fn take_for_granted(&mut self, service: &Service, active: NodeName, known: Known) -> NodeName {
        let assumption = Assumption {
            active: active.clone(),
            known,
        };
        self.report.add(Entry::Active {
            service: service.name.clone(),
            assumption: assumption.clone(),
        });
        self.assumptions.insert(service.name.clone(), assumption);
        active
    }

    fn observe(&self, service: &Service) -> Seen {
        if self.world.is_offline() {
            if self.request.kind.comes_up() {
                return Seen::Down;
            }
            return Seen::Unclear {
                why: "nothing was observed (offline)".into(),
                check: None,
            };
        }
        let mut up = Vec::new();
        for node in &service.nodes {
            match self.world.instance(&service.name, node) {
                Presence::Up => up.push(node),
                Presence::Down => {}
                Presence::Unknown(why) => {
                    return Seen::Unclear {
                        why: format!("{node}: {why}"),
                        check: None,
                    };
                }
            }
        }
        if up.is_empty() {
            return Seen::Down;
        }
        if service.is_leased() {
            return match self.primary(service) {
                Primary::Is(node) => Seen::On(node, Known::Observed),
                Primary::Nobody => Seen::NobodyHolds,
                Primary::Unknown(why) => Seen::Unclear { why, check: None },
            };
        }
        if service.active_when.is_empty() {
            return Seen::Unclear {
                why: "it has no active_when checks".into(),
                check: None,
            };
        }
        let mut green = Vec::new();
        let mut known = Known::Observed;
        for node in up {
            match self.passes(service, node) {
                Ok(Verdict::Ok) => green.push(node),
                Ok(Verdict::Bad) => {}
                Ok(Verdict::Unknown) => known = Known::Assumed,
                Err((check, evidence)) => {
                    let why = format!("check {check} on {node} is unknown: {evidence}");
                    return Seen::Unclear {
                        why,
                        check: Some(check),
                    };
                }
            }
        }
        match green.as_slice() {
            [] => Seen::Nowhere,
            [one] => Seen::On((*one).clone(), known),
            [first, second, ..] => {
                let why = format!("{first} and {second} both pass the active_when checks");
                Seen::Unclear { why, check: None }
            }
        }
    }

    /// Does the instance pass all checks of `active_when`? Unknown means that only a forced check stands against it.
    ///
    /// # Errors
    /// The check that is unknown and not forced, and why it is unknown.
    fn passes(&self, service: &Service, node: &NodeName) -> Result<Verdict, (CheckId, String)> {
        let mut passes = Verdict::Ok;
        for check in &service.active_when {
            let id = CheckId {
                service: service.name.clone(),
                check: check.clone(),
            };
            let Some(seen) = self.world.check(&self.observer(service, node), &id) else {
                continue;
            };
            match seen.verdict {
                Verdict::Ok => {}
                Verdict::Bad => passes = Verdict::Bad,
                Verdict::Unknown if self.is_forced(&id) => {
                    if passes == Verdict::Ok {
                        passes = Verdict::Unknown;
                    }
                }
                Verdict::Unknown => return Err((id, seen.evidence)),
            }
        }
        Ok(passes)
    }
}

/// How many services are named in a line; the rest is counted.
const NAMED: usize = 8;

/// Says in the report who runs on, and is without it, while a service that they require is interrupted, themselves or by
/// what they require: one line, with the number of instances of each. Those on the nodes of which `is_stopped` is true stop
/// before.
pub(crate) fn warn_of_those_without(
    draft: &mut Draft<'_>,
    service: &ServiceName,
    is_stopped: impl Fn(&NodeName) -> bool,
) {
    let above = draft.needs.above(service).into_iter();
    let without: Vec<(&ServiceName, usize)> = above
        .map(|other| {
            let runs = |node: &&NodeName| {
                !is_stopped(node) && draft.world.instance(&other.name, node) == Presence::Up
            };
            (&other.name, other.nodes.iter().filter(runs).count())
        })
        .filter(|(_, running)| *running > 0)
        .collect();
    if without.is_empty() {
        return;
    }
    let named = without.iter().take(NAMED);
    let named: Vec<String> = named
        .map(|(name, running)| format!("{name} ({})", counted(*running, "instance")))
        .collect();
    let mut named = named.join(", ");
    let names = without.iter().map(|(name, _)| name.as_str());
    let names = names.collect::<Vec<_>>().join(",");
    let remedy = match without.len().checked_sub(NAMED) {
        Some(more @ 1..) => {
            named += &format!(" and {more} more");
            "shut them down first and start them at the end".to_owned()
        }
        _ => {
            format!(
                "use `shutdown --service {names}` first and `startup --service {names}` at the end"
            )
        }
    };
    let text = match without.len() {
        1 => format!(
            "while it is interrupted, 1 service that requires it runs on without it: {named}; to stop it before, {remedy}"
        ),
        many => format!(
            "while it is interrupted, {many} services that require it run on without it: {named}; to stop them before, {remedy}"
        ),
    };
    draft.report.warn(Subject::service(service), text);
}

/// Says in the report that a plan interrupts a service that has one working side only.
pub(crate) fn warn_of_interruption(
    report: &mut Report,
    service: &ServiceName,
    node: &NodeName,
    others: usize,
) {
    let text = match others {
        0 => format!("it is interrupted: its only instance is on {node}"),
        _ => format!(
            "it is interrupted: its active side {node} goes and nothing takes over; a switchover first keeps it"
        ),
    };
    report.warn(Subject::service(service), text);
}
