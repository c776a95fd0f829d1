//! What a plan is made from, apart from the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlock_engine::coordinator::{Coordinator, NoSpec};
use interlock_model::ids::Generation;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Observations;
use interlock_model::spec::Spec;
use interlock_planner::{Input, Outcome, Rendering, Request};

use crate::clock;

/// All that is known at one moment, for a plan that is made while the driver goes on.
#[derive(Debug, Clone)]
pub struct Known {
    spec: Arc<Spec>,
    /// The generation of the spec.
    pub generation: Generation,
    observations: Observations,
    memory: BTreeMap<ServiceName, NodeName>,
    forgotten: BTreeMap<ServiceName, String>,
    verified: BTreeSet<NodeName>,
}

impl Known {
    /// What is known now.
    ///
    /// # Errors
    /// If there is no spec to plan from.
    pub fn now(coordinator: &Coordinator) -> Result<Self, NoSpec> {
        let applied = coordinator.plannable()?;
        Ok(Self {
            spec: Arc::clone(&applied.spec),
            generation: applied.record.generation,
            observations: coordinator.observations(clock::now()),
            memory: coordinator.activity().clone(),
            forgotten: coordinator.forgotten().clone(),
            verified: coordinator.verified_nodes(),
        })
    }

    /// Makes a plan of it, with the texts that were rendered for it. Takes the longer the more depends on each other.
    pub fn plan(&self, request: Request, rendering: &Rendering) -> Outcome {
        let input = Input {
            spec: &self.spec,
            generation: self.generation,
            request,
            observations: Some(&self.observations),
            memory: &self.memory,
            forgotten: &self.forgotten,
            power_verified: Some(&self.verified),
        };
        interlock_planner::plan_with(&input, rendering)
    }
}
