//! What is known of instances and their checks, where no agent runs too.
//!
//! What runs on a node without an agent cannot be asked of a manager there. As the planner takes it: it is up while its
//! machine is on, and down while its power source says off. Its checks run on other nodes, and say whether it is well.

use std::time::Duration;

use interlock_model::action::Power;
use interlock_model::check::{Check, CheckFrom, CheckId, CheckKind, Verdict};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceState, Liveness};
use interlock_model::spec::{Service, Spec};
use interlock_model::time::Now;

use super::View;

impl View {
    /// Did its power source say last that the machine is off?
    #[must_use]
    pub fn is_off(&self, node: &NodeName) -> bool {
        let said = self.nodes.get(node).and_then(|seen| seen.power.as_ref());
        said.is_some_and(|(power, _, _)| *power == Power::Off)
    }

    /// What runs on a machine without an agent and answers, by a probe of its own checks that began at `since` or later: such a
    /// machine is not off.
    #[must_use]
    pub fn answers(
        &self,
        spec: &Spec,
        node: &NodeName,
        since: Duration,
        now: Now,
    ) -> Option<String> {
        spec.nodes.get(node)?.agentless.as_ref()?;
        let here = spec.services.values();
        let mut here = here.filter(|service| service.nodes.contains(node));
        here.find_map(|service| {
            let on = self.observer(spec, service, node);
            let own = service.checks.iter().filter(|(_, check)| {
                check.from == CheckFrom::Own && !matches!(check.kind, CheckKind::Same { .. })
            });
            let mut own = own.map(|(name, check)| {
                let id = CheckId {
                    service: service.name.clone(),
                    check: name.clone(),
                };
                (id, check)
            });
            own.find_map(|(id, check)| {
                let ran = self.nodes.get(on)?.checks.get(&id)?.at;
                let seen = self.check(spec, on, &id, now);
                (seen.verdict == Verdict::Ok && ran >= since.saturating_add(lag(check)))
                    .then(|| format!("{id} on {on} is ok ({})", seen.evidence))
            })
        })
    }

    /// Why what a node's power source said last cannot be so, if that is known; and why it need not be so, if it says off of
    /// a machine that answered just now.
    #[must_use]
    pub fn contradiction(&self, spec: &Spec, node: &NodeName, now: Now) -> Option<String> {
        let seen = self.nodes.get(node)?;
        let (power, _, detail) = seen.power.as_ref()?;
        if seen.contradicted {
            return Some(detail.clone());
        }
        let answers = (*power == Power::Off).then(|| self.answers(spec, node, Duration::ZERO, now));
        let by = &spec.nodes.get(node)?.power.as_ref()?.by;
        Some(format!("{by} says off, but {}", answers??))
    }

    /// The state of an instance. A node that is proven off has only stopped instances; of one that is not alive nothing
    /// is known, and one without an agent has what its machine carries.
    #[must_use]
    pub fn state(&self, spec: &Spec, node: &NodeName, service: &ServiceName) -> InstanceState {
        let declared = spec.nodes.get(node);
        let seen = self.nodes.get(node);
        let power = seen.and_then(|seen| seen.power.as_ref()).map(|it| it.0);
        if power == Some(Power::Off) {
            return InstanceState::Stopped;
        }
        if let Some(node) = declared.filter(|node| node.agentless.is_some()) {
            return match power {
                Some(Power::On) => InstanceState::Running,
                // Nobody can switch it off.
                _ if node.power.is_none() => InstanceState::Running,
                _ => InstanceState::Unknown,
            };
        }
        let Some(seen) = seen else {
            return InstanceState::Unknown;
        };
        match seen.liveness {
            Liveness::Alive | Liveness::Late => {
                let instance = seen.instances.get(service);
                instance.map_or(InstanceState::Unknown, |instance| instance.state)
            }
            Liveness::Lost | Liveness::Left | Liveness::Unheard => InstanceState::Unknown,
        }
    }

    /// The node whose word counts for the own checks of an instance on `node`: itself or, if it has no agent, the first of
    /// its probers that is heard.
    #[must_use]
    pub fn observer<'a>(
        &self,
        spec: &'a Spec,
        service: &'a Service,
        node: &'a NodeName,
    ) -> &'a NodeName {
        let probers = spec.probers(service, node);
        let heard = probers.iter().find(|prober| self.alive(prober));
        heard.or(probers.first()).copied().unwrap_or(node)
    }

    /// Who tells of a check in place of a node that a plan names for it: another prober of the same machine, where that one
    /// is not heard. A plan is made once, and its steps go on when a prober is lost.
    #[must_use]
    pub fn stand_in<'a>(&self, spec: &'a Spec, node: &'a NodeName, id: &CheckId) -> &'a NodeName {
        if self.alive(node) {
            return node;
        }
        let service = spec.services.get(&id.service).filter(|service| {
            let check = service.checks.get(&id.check);
            check.is_some_and(|it| {
                it.from == CheckFrom::Own && !matches!(it.kind, CheckKind::Same { .. })
            })
        });
        let probed = service.into_iter().flat_map(|service| {
            let instances = service.nodes.iter();
            let agentless = instances.filter(|other| {
                let declared = spec.nodes.get(*other);
                declared.is_some_and(|it| it.agentless.is_some())
            });
            agentless.map(move |other| (service, other))
        });
        let mut meant =
            probed.filter(|(service, other)| spec.probers(service, other).contains(&node));
        let of = meant.next();
        of.map_or(node, |(service, other)| self.observer(spec, service, other))
    }
}

/// For how long a check may go on being ok that is not any more: the verdict of some needs several runs.
fn lag(check: &Check) -> Duration {
    check
        .every
        .saturating_mul(check.fail.of().saturating_sub(1))
}
