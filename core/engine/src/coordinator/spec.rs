//! The applied spec, and what every agent is to know of it.

use std::sync::Arc;

use interlock_model::ids::Generation;
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use super::Coordinator;
use super::assignment::assignments;
use super::message::{Send, ToAgent};
use super::records::{AppliedSpec, Write, spec_key};

/// A spec under its generation.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The record in the store.
    pub record: AppliedSpec,
    /// What it says.
    pub spec: Arc<Spec>,
}

impl Coordinator {
    /// Applies a spec as the next generation. Starts and stops nothing.
    pub fn apply_spec(
        &mut self,
        spec: Arc<Spec>,
        source: String,
        file_name: String,
        by: &str,
        now: Now,
    ) -> Generation {
        let generation = self.generation().next();
        let record = AppliedSpec {
            generation,
            source,
            file_name,
            by: by.to_owned(),
            at: now.wall,
        };
        self.output
            .writes
            .push(Write::json(spec_key(generation), &record));
        self.event("spec-applied", now, |event| {
            event.who = by.to_owned();
            event.text = format!(
                "generation {generation} of the spec, from {}",
                record.file_name
            );
        });
        self.set_applied(Applied { record, spec });
        self.forget_changed_plugs(by, now);
        for (node, assignment) in &self.assignments {
            if self.view.connected(node) {
                self.output.sends.push(Send {
                    to: node.clone(),
                    message: ToAgent::Assign(assignment.clone()),
                });
            }
        }
        generation
    }

    pub(super) fn set_applied(&mut self, applied: Applied) {
        self.assignments = assignments(&applied.spec, applied.record.generation);
        self.view.retain(&applied.spec);
        self.trails
            .retain(|service, _| applied.spec.services.contains_key(service));
        self.applied = Some(applied);
    }
}
