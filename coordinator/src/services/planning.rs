//! Plans, made apart from the driver.
//!
//! Where hundreds of services require each other a plan takes a second. The driver, which hears agents and goes on with
//! operations, only says what is known, and takes the plan. One is made at a time, so that many of them leave a processor
//! free. What changes meanwhile is what changes between a plan and its start: the start makes it again and compares, the
//! engine refuses what is held or of another generation, and each step looks again.

use std::sync::Arc;

use interlock_mesh::reason::{Because as _, Reason};
use interlock_planner::{Outcome, Rendering, Request};
use tokio::sync::Semaphore;
use tonic::Status;

use crate::driver::{Desk, Known};

/// Makes one plan after the other.
#[derive(Debug, Clone)]
pub(super) struct Planning {
    turn: Arc<Semaphore>,
}

impl Planning {
    pub(super) fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes a plan on a thread of its own.
    ///
    /// # Errors
    /// If this process is stopping.
    pub(super) async fn plan(
        &self,
        known: Known,
        request: Request,
        rendering: Arc<Rendering>,
    ) -> Result<Outcome, Status> {
        let stopping = || Status::unavailable("this coordinator is stopping; try again");
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(|_| stopping())?;
        let planned = tokio::task::spawn_blocking(move || {
            let outcome = known.plan(request, &rendering);
            // Whoever asked may be gone; the next one has to wait for the thread all the same.
            drop(turn);
            outcome
        });
        planned.await.map_err(|_| stopping())
    }
}

/// What a plan is made from now.
///
/// # Errors
/// If there is no spec to plan from.
pub(super) fn known(desk: &Desk) -> Result<Known, Status> {
    Known::now(&desk.coordinator)
        .map_err(|why| Status::failed_precondition(why.to_string()).because(Reason::NoSpec))
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use interlock_engine::coordinator::{Coordinator, Loaded};
    use interlock_model::ids::Term;
    use interlock_model::plan::PlanKind;
    use interlock_model::spec::Spec;
    use interlock_planner::Scope;

    use super::*;
    use crate::clock;

    const SPEC: &str = "
cluster: shop
nodes: { a: { address: 10.0.0.1 } }
services:
  web: { nodes: [a], manager: { process: { name: web } } }
";

    #[test]
    fn a_plan_is_made_while_everything_else_goes_on() {
        let spec = Arc::new(Spec::parse(SPEC.as_bytes(), "test").unwrap().spec);
        let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        assert!(Known::now(&coordinator).is_err());
        coordinator.apply_spec(spec, String::new(), String::new(), "anna", clock::now());
        let known = Known::now(&coordinator).unwrap();
        let request = Request::new(PlanKind::Startup, Scope::All);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            // The only other thread has something else to do until it is let go.
            let (let_go, held) = std::sync::mpsc::channel::<()>();
            let other = tokio::task::spawn_blocking(move || held.recv());
            let planning = Planning::new();
            let mut planned = Box::pin(planning.plan(known, request, Arc::default()));
            assert!(poll!(&mut planned).is_pending());
            drop(let_go);
            other.await.unwrap().unwrap_err();
            let report = planned.await.unwrap().report.to_string();
            assert!(report.contains("web@a"), "of what was known: {report}");
        });
    }
}
