//! The independent checker: does a finished plan keep the promises of the spec?
//!
//! It shares no code with the builders and knows nothing of how they work. It reads the plan as whoever runs it would:
//! as a graph in which a step may start as soon as each of its edges is met, and asks what can happen.
//!
//! The central question is *does `b` start only after `a` has reached `w`?* It does if there is a path from `a` to `b`
//! whose first edge waits for at least `w`: every further step on the path has started only then. Edges need not be
//! direct, so a plan may order two instances through a power-off or a joining step.
//!
//! | module | promises |
//! |---|---|
//! | `shape` | ids, listing, references, time limits, undo, power sources |
//! | `order` | dependencies, the sides of exclusive services, sequences |
//! | `machine` | nothing runs where a machine goes; *down* of a machine; the control plane; who asks the power source |
//! | `gates` | checks before and after a start, people's gates at the end |
//! | `members` | drained in the load balancers before the stop, admitted after the start, and the next batch after that |
//! | `moves` | each role that moves is made sure of before anything goes; who starts as a standby catches up before it gets clients |
//! | `files` | a file changes only while its instance is stopped, to what the plan says, and after every node has tried its text |
//! | `evacuation` | a host is emptied only while all is well, and nobody elsewhere loses what it requires |
//! | `capacity` | never fewer than `at_least` |

mod capacity;
mod evacuation;
mod files;
mod gates;
mod machine;
mod members;
mod moves;
mod order;
mod paths;
mod shape;

use std::fmt;

use interlock_model::check::CheckId;
use interlock_model::names::{GateName, NodeName, ServiceName};
use interlock_model::observation::Observations;
use interlock_model::plan::{Plan, StepId, Wait};
use interlock_model::spec::Spec;
use serde::{Deserialize, Serialize};

use paths::Paths;

/// A promise that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "violation", rename_all = "kebab-case")]
pub enum Violation {
    /// Two steps have one name.
    DuplicateId {
        /// The name.
        step: StepId,
    },
    /// A step's name does not say what it does.
    WrongId {
        /// The step.
        step: StepId,
        /// What it should be called.
        expected: String,
    },
    /// An edge leads to no step, or to one that is listed later: the plan has a circle or a wrong order.
    NotListedBefore {
        /// The step with the edge.
        step: StepId,
        /// The step that is waited for.
        on: StepId,
    },
    /// An edge waits for something that never comes, or for nothing.
    ImpossibleWait {
        /// The step with the edge.
        step: StepId,
        /// The step that is waited for.
        on: StepId,
        /// The condition.
        until: Wait,
    },
    /// A step has no time limit.
    NoTimeLimit {
        /// The step.
        step: StepId,
    },
    /// A step is about something that the spec does not have, or at a place where it is not.
    NotInSpec {
        /// The step.
        step: StepId,
    },
    /// A step does what this kind of plan, or this service, does not do.
    WrongAction {
        /// The step.
        step: StepId,
    },
    /// A step would not be taken back by its own opposite, or a start of what the plan has stopped would be by another
    /// stop.
    WrongUndo {
        /// The step.
        step: StepId,
    },
    /// A step switches a machine otherwise than the spec says.
    WrongPower {
        /// The step.
        step: StepId,
    },
    /// A step can start too early.
    OutOfOrder {
        /// The step.
        step: StepId,
        /// What it should wait for.
        on: StepId,
        /// Until when.
        until: Wait,
    },
    /// It is not said which side of an exclusive service is active, or it is on a node where the service is not.
    NoActiveSide {
        /// The service.
        service: ServiceName,
    },
    /// A node that runs the control plane would be switched off or restarted.
    ControlPlane {
        /// The step.
        step: StepId,
    },
    /// A machine would go while something runs there, or may be started there by its agent.
    NotStopped {
        /// The step that takes the machine down.
        step: StepId,
        /// What is not stopped before.
        service: ServiceName,
    },
    /// Nobody would be left, or there yet, to ask a power source.
    NobodyToAsk {
        /// The step.
        step: StepId,
    },
    /// A check that must be green is not asked.
    MissingCheck {
        /// The step.
        step: StepId,
        /// The check.
        check: CheckId,
        /// Where it should run.
        on: NodeName,
    },
    /// A check would be asked where it does not run, or not about that instance: it would never be answered.
    NobodyToProbe {
        /// The step.
        step: StepId,
        /// The check.
        check: CheckId,
        /// Where it is asked.
        on: NodeName,
    },
    /// An instance would stop, or be left, without its load balancer being told.
    NotSwitched {
        /// The step that stops or starts the instance.
        step: StepId,
        /// The step that is missing, or not where it should be.
        expected: String,
    },
    /// A role moves, or a standby gets clients, without what makes sure of it.
    RoleNotSecured {
        /// The step.
        step: StepId,
        /// The step that is missing, or not where it should be.
        expected: String,
    },
    /// A step takes the last of a service away, and something goes on elsewhere that requires it.
    LeftBehind {
        /// The step.
        step: StepId,
        /// What requires it.
        service: ServiceName,
        /// Where that goes on.
        node: NodeName,
    },
    /// A step writes a text that the plan does not have, or that is another one than its digest says.
    WrongText {
        /// The step.
        step: StepId,
    },
    /// A person's gate is not at the end.
    MissingGate {
        /// The gate.
        gate: GateName,
    },
    /// The plan can leave too few instances.
    Capacity {
        /// The service.
        service: ServiceName,
        /// How many would be left.
        would_leave: u32,
        /// How many must be.
        at_least: u32,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId { step } => write!(f, "two steps are called {step}"),
            Self::WrongId { step, expected } => write!(f, "{step} should be called {expected}"),
            Self::NotListedBefore { step, on } => {
                write!(f, "{step} waits for {on}, which is not listed before it")
            }
            Self::ImpossibleWait { step, on, until } => {
                write!(
                    f,
                    "{step} waits for {on} until {until}, which it never reaches"
                )
            }
            Self::NoTimeLimit { step } => write!(f, "{step} has no time limit"),
            Self::NotInSpec { step } => {
                write!(f, "{step} is about something that the spec does not have")
            }
            Self::WrongAction { step } => write!(f, "{step} has no place in such a plan"),
            Self::WrongUndo { step } => write!(f, "{step} is not taken back by what it should be"),
            Self::WrongPower { step } => write!(
                f,
                "{step} switches the machine otherwise than the spec says"
            ),
            Self::OutOfOrder { step, on, until } => {
                write!(f, "{step} can start before {on} is {until}")
            }
            Self::NoActiveSide { service } => {
                write!(f, "it is not said which side of {service} is active")
            }
            Self::ControlPlane { step } => write!(f, "{step} takes the control plane away"),
            Self::NotStopped { step, service } => {
                write!(f, "{step} does not wait for {service} to be stopped there")
            }
            Self::NobodyToAsk { step } => {
                write!(f, "{step}: nobody is there to ask its power source")
            }
            Self::MissingCheck { step, check, on } => {
                write!(f, "{step} does not ask check {check} on {on}")
            }
            Self::NobodyToProbe { step, check, on } => {
                write!(
                    f,
                    "{step} asks check {check} on {on}, which does not run it for that"
                )
            }
            Self::NotSwitched { step, expected } | Self::RoleNotSecured { step, expected } => {
                write!(f, "{step} is not ordered with {expected}")
            }
            Self::LeftBehind {
                step,
                service,
                node,
            } => {
                write!(
                    f,
                    "{step} takes away the last of what {service} on {node} requires"
                )
            }
            Self::WrongText { step } => {
                write!(f, "{step} is about a text that the plan does not have")
            }
            Self::MissingGate { gate } => write!(f, "gate {gate} is not at the end"),
            Self::Capacity {
                service,
                would_leave,
                at_least,
            } => {
                write!(
                    f,
                    "{service} can fall to {would_leave} of at least {at_least}"
                )
            }
        }
    }
}

/// Checks a plan against the spec it was made from, and what was observed when it was made (none: offline, when
/// everything counts as healthy). No violation means that the plan may be shown.
#[must_use]
pub fn check(spec: &Spec, plan: &Plan, observations: Option<&Observations>) -> Vec<Violation> {
    let mut found = shape::check(spec, plan);
    if !found.is_empty() {
        // The other promises are about graphs; this is not one, or not about this spec.
        return found;
    }
    let paths = Paths::new(plan);
    order::check(spec, plan, &paths, &mut found);
    machine::check(spec, plan, &paths, observations, &mut found);
    gates::check(spec, plan, &paths, &mut found);
    members::check(spec, plan, &paths, observations, &mut found);
    moves::check(spec, plan, &paths, &mut found);
    evacuation::check(spec, plan, &paths, observations, &mut found);
    files::check(plan, &paths, &mut found);
    capacity::check(spec, plan, &paths, observations, &mut found);
    found.sort();
    found.dedup();
    found
}
