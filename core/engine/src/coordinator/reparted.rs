//! A spec that gives a running service another manager.
//!
//! What runs by the old parts is known to nobody under the new ones: it is called stopped, started a second time beside
//! itself, and *proven* down while it runs. So such a spec is not applied while the instance runs; it is stopped by the spec
//! that started it. Where nobody can tell whether it runs, its agent being silent, it is told.

use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceState, Liveness};
use interlock_model::spec::{Service, Spec};

use super::Coordinator;

impl Coordinator {
    /// Why this spec cannot be applied: a line for each service that runs and would get other parts.
    #[must_use]
    pub fn runs_by_other_parts(&self, spec: &Spec) -> Vec<String> {
        let told = self.reparted(spec).map(|(old, new)| {
            let up = old.nodes.iter().filter(|node| {
                matches!(
                    self.last_told(node, old),
                    Some(
                        InstanceState::Running
                            | InstanceState::Paused
                            | InstanceState::Starting
                            | InstanceState::Stopping
                    )
                )
            });
            let up: Vec<&str> = up.map(NodeName::as_str).collect();
            (!up.is_empty()).then(|| {
                format!(
                    "{name} runs on {} by {}, and this file has it run by {}: nothing would stop, guard or see what runs. \
                     Stop it first (`interlockctl shutdown --service {name}`), apply, and start it again",
                    up.join(", "),
                    parts(old),
                    parts(new),
                    name = old.name,
                )
            })
        });
        told.flatten().collect()
    }

    /// What may run on by its old parts, since nobody can tell.
    #[must_use]
    pub fn may_run_by_other_parts(&self, spec: &Spec) -> Vec<String> {
        let told = self.reparted(spec).flat_map(|(old, _)| {
            let silent = old
                .nodes
                .iter()
                .filter(|node| self.last_told(node, old).is_none());
            silent.map(|node| {
                format!(
                    "{} on {node} may run by {}: its agent is not heard. If it does, it goes on, and nothing stops it",
                    old.name,
                    parts(old)
                )
            })
        });
        told.collect()
    }

    /// The services that get other parts: as they are, and as they would be.
    fn reparted<'a>(&'a self, spec: &'a Spec) -> impl Iterator<Item = (&'a Service, &'a Service)> {
        let applied = self.applied.iter();
        let services = applied.flat_map(|applied| applied.spec.services.values());
        let pairs = services.filter_map(|old| Some((old, spec.services.get(&old.name)?)));
        pairs.filter(|(old, new)| {
            let changed = old.parts != new.parts || old.primary_parts != new.primary_parts;
            changed && !old.external
        })
    }

    /// What the agent of a node last told of an instance; nothing if it is not heard, and its machine is not off.
    fn last_told(&self, node: &NodeName, service: &Service) -> Option<InstanceState> {
        let seen = self.view.node(node)?;
        if matches!(
            seen.power,
            Some((interlock_model::action::Power::Off, _, _))
        ) {
            return Some(InstanceState::Stopped);
        }
        matches!(seen.liveness, Liveness::Alive | Liveness::Late).then(|| {
            let told = seen.instances.get(&service.name);
            told.map_or(InstanceState::Unknown, |told| told.state)
        })
    }
}

/// `process web`, or `systemd a.service, systemd b.service`.
fn parts(service: &Service) -> String {
    let parts = service.parts.iter().chain(&service.primary_parts);
    let parts: Vec<String> = parts.map(ToString::to_string).collect();
    parts.join(", ")
}
