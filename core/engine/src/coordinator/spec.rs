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
    /// The rules that it breaks, each in a line: an earlier version has accepted it. What is under way goes on by it, and
    /// nothing is planned from it.
    pub breaks: Vec<String>,
}

/// The newest spec of the store, of which this version cannot tell what it says. Its generation is taken, the agents keep
/// to what they were assigned, and operations stand still until a corrected one is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its generation.
    pub generation: Generation,
    /// The key of its record.
    pub key: String,
    /// Its record, if that can be read.
    pub record: Option<AppliedSpec>,
    /// Why it cannot be read, each reason in a line.
    pub why: Vec<String>,
}

/// How many broken rules are told in a line; the rest is counted.
const TOLD: usize = 3;

/// Why nothing is planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSpec {
    /// There is none.
    #[error("no spec is applied: `interlockctl spec apply FILE` first")]
    NotApplied,
    /// It breaks rules.
    #[error(
        "generation {generation} of the spec breaks rules of this version: {rules}. Nothing is planned until a corrected \
         one is applied: `interlockctl spec show`, correct it, `interlockctl spec apply FILE`"
    )]
    Broken {
        /// The generation.
        generation: Generation,
        /// The first of them.
        rules: String,
    },
    /// It cannot be read.
    #[error(
        "generation {generation} of the spec ({key}) cannot be read by this version: {why}. Operations stand still, and \
         nothing is planned, until a corrected one is applied: `interlockctl spec show`, correct it, `interlockctl spec \
         apply FILE`"
    )]
    Unreadable {
        /// The generation.
        generation: Generation,
        /// The key of its record.
        key: String,
        /// The first reasons.
        why: String,
    },
}

/// Some lines in one.
fn told(lines: &[String]) -> String {
    let mut text = lines
        .iter()
        .take(TOLD)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if lines.len() > TOLD {
        text += &format!("; and {} more", lines.len() - TOLD);
    }
    text
}

/// Who does something, and why.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Who.
    pub who: &'a str,
    /// Why; empty if no reason was given.
    pub why: &'a str,
}

impl<'a> From<&'a str> for By<'a> {
    fn from(who: &'a str) -> Self {
        Self { who, why: "" }
    }
}

impl Coordinator {
    /// The spec that plans are made from.
    ///
    /// # Errors
    /// Why there is none.
    pub fn plannable(&self) -> Result<&Applied, NoSpec> {
        match (&self.applied, &self.unreadable) {
            (Some(applied), _) if applied.breaks.is_empty() => Ok(applied),
            (Some(applied), _) => Err(NoSpec::Broken {
                generation: applied.record.generation,
                rules: told(&applied.breaks),
            }),
            (None, Some(unreadable)) => Err(NoSpec::Unreadable {
                generation: unreadable.generation,
                key: unreadable.key.clone(),
                why: told(&unreadable.why),
            }),
            (None, None) => Err(NoSpec::NotApplied),
        }
    }

    /// The record of the newest spec, whether this version can use it or not.
    #[must_use]
    pub fn spec_record(&self) -> Option<&AppliedSpec> {
        match (&self.applied, &self.unreadable) {
            (Some(applied), _) => Some(&applied.record),
            (None, Some(unreadable)) => unreadable.record.as_ref(),
            (None, None) => None,
        }
    }

    /// What is wrong with the newest spec of the store; none if nothing is, or there is none.
    #[must_use]
    pub fn spec_trouble(&self) -> Option<NoSpec> {
        self.plannable()
            .err()
            .filter(|why| *why != NoSpec::NotApplied)
    }

    /// Tells people what is wrong with the spec that was found in the store. To be called once, after the start.
    pub fn tell_spec_trouble(&mut self, now: Now) {
        if let Some(trouble) = self.spec_trouble() {
            self.event("spec-broken", now, |event| event.text = trouble.to_string());
        }
    }

    /// Applies a spec as the next generation. Starts and stops nothing.
    pub fn apply_spec<'a>(
        &mut self,
        spec: Arc<Spec>,
        source: String,
        file_name: String,
        by: impl Into<By<'a>>,
        now: Now,
    ) -> Generation {
        let By { who: by, why } = by.into();
        let generation = self.generation().next();
        let record = AppliedSpec {
            generation,
            source,
            file_name,
            by: by.to_owned(),
            reason: why.to_owned(),
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
            if !why.is_empty() {
                event.text += &format!(": {why}");
            }
        });
        let brought = self.brings(&spec);
        self.let_go_of(&spec, generation, now);
        self.keep_newcomers(&spec, brought, generation);
        let before = self.spec();
        self.set_applied(Applied {
            record,
            spec,
            breaks: Vec::new(),
        });
        self.forget_changed_plugs(by, now);
        self.forget_changed_power(before.as_deref());
        for (node, assignment) in &self.assignments {
            if self.view.connected(node) {
                self.output.sends.push(Send {
                    to: node.clone(),
                    message: ToAgent::Assign(assignment.clone()),
                });
            }
        }
        self.dismiss();
        generation
    }

    pub(super) fn set_applied(&mut self, applied: Applied) {
        self.assignments = assignments(&applied.spec, applied.record.generation);
        self.view.retain(&applied.spec);
        self.trails
            .retain(|service, _| applied.spec.services.contains_key(service));
        self.applied = Some(applied);
        self.unreadable = None;
    }
}
