//! The planner: cluster spec and observations in, plan and report out.
//!
//! [`plan`] is a pure function. It decides everything that a run will need, so that whoever runs the plan has no choice
//! left, and it refuses rather than guesses: what is *unknown* is a reason not to plan (invariant I5), except where the
//! unknown thing is a named check that the operator overrides by that name. Why there is no plan, or why a plan leaves
//! something out, is a value as well: the [`Report`].
//!
//! # From spec to plan
//!
//! 1. The scope selects instances and nodes; for a shutdown the running dependants join them.
//! 2. What is known of each (`world`) sorts them into *to do*, *already done*, and *unknown*.
//! 3. The builder of the plan's kind (`shutdown`, `startup`, `restart`, `reboot`, `roles`, `evacuate`, `restore`) makes the steps and the edges.
//! 4. `finish` puts the steps into an order, adds the gates that stand at the end, seals the plan, and hands it to
//!    the [`checker`], which shares no code with the builders. A plan that it objects to is never returned.
//!
//! # Which order
//!
//! Order is a matter of *services*. An edge of the spec, `jb requires dbs { start: healthy, stop: down }`, becomes an
//! edge of the plan from every instance of the one to every instance of the other: `start:jb@*` waits for `start:dbs@*`
//! to be healthy, `stop:dbs@*` waits for `stop:jb@*` to be down. Where a service between two others has no step in the
//! plan, those two are ordered as if the edges through it were one.
//!
//! *Machines* follow their services: a node is powered off after everything on it is down, and powered on before
//! anything on it starts. Since *down* means "the manager, for a node its power source, says off", an edge that waits
//! for *down* waits for the power-off of the dependant's node, where the plan powers it off. Likewise a node is powered
//! on only once the services that its earliest services wait for are ready. Both rules yield where they would make a
//! circle: a machine that carries both ends of a chain (storage and web server, with the database on another machine)
//! cannot be off before its own storage stops. There the edge falls back to the instance. See `machines`.
//!
//! # Bounds
//!
//! A plan for 1,000 nodes and 200 services is made in well under 100 ms (`examples/plan_cost.rs`). Between a service of
//! *n* instances and one of *m* there would be *n × m* edges; beyond `graph::FAN` of them a joining step
//! `check:SERVICE` stands in between, which checks nothing and keeps the number of edges at *n + m*.

pub mod checker;
pub mod view;

mod activity;
mod again;
mod at_end;
mod capacity;
mod checks;
mod cost;
mod draft;
mod evacuate;
mod files;
mod finish;
mod found;
mod graph;
mod input;
mod machines;
mod members;
mod moves;
mod needs;
mod order;
mod permits;
mod power;
mod readiness;
mod reboot;
mod report;
mod restart;
mod restore;
mod roles;
mod select;
mod shutdown;
mod startup;
mod steps;
mod template;
mod world;

pub use files::Rendering;
pub use input::{Change, Input, Request, Scope};
pub use report::{Entry, PreVerdict, Report, Subject};

use interlock_model::plan::{PlanKind, SealedPlan};
use interlock_model::spec::Spec;

/// What came of planning.
#[derive(Debug, Clone)]
#[must_use = "a report that nobody reads explains nothing"]
pub struct Outcome {
    /// The plan; none if it was refused. A plan without steps means that there is nothing to do.
    pub plan: Option<SealedPlan>,
    /// What was left out, taken for granted or refused, and why.
    pub report: Report,
}

/// Renders the texts of files that a plan for this request writes; nothing if it writes none. Takes the longer the more a
/// template does, and the longer the more nodes there are: whoever must not wait has it done apart.
#[must_use]
pub fn render(spec: &Spec, request: &Request) -> Rendering {
    Rendering::new(spec, request)
}

/// Makes a plan, or says why not.
pub fn plan(input: &Input<'_>) -> Outcome {
    plan_with(input, &render(input.spec, &input.request))
}

/// The same with texts that were rendered before, from the same spec and request.
pub fn plan_with(input: &Input<'_>, rendering: &Rendering) -> Outcome {
    let mut draft = draft::Draft::new(input, rendering);
    let selection = select::select(&mut draft);
    match input.request.kind {
        PlanKind::Shutdown => shutdown::build(&mut draft, selection),
        PlanKind::Startup => {
            startup::build(&mut draft, &selection);
            members::readmit(&mut draft, &selection);
        }
        PlanKind::Restart => restart::build(&mut draft, &selection),
        PlanKind::Reboot => reboot::build(&mut draft, &selection),
        PlanKind::Switchover | PlanKind::Failover | PlanKind::Failback => {
            roles::switchover(&mut draft, &selection);
        }
        PlanKind::Evacuate => evacuate::build(&mut draft, selection),
        PlanKind::Restore => restore::build(&mut draft, &selection),
    }
    members::leave_out(&mut draft);
    members::weave(&mut draft);
    restore::hold_back(&mut draft);
    finish::finish(draft)
}
