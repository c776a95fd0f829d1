//! Plans, made apart from the driver.
//!
//! Where hundreds of services require each other a plan takes a second. The driver, which hears agents and goes on with
//! operations, only says what is known, and takes the plan. One is made at a time, so that many of them leave a processor
//! free. What changes meanwhile is what changes between a plan and its start: the start makes it again and compares, the
//! engine refuses what is held or of another generation, and each step looks again.

use std::sync::Arc;

use interlock_mesh::reason::{Because as _, Reason};
use interlock_planner::{Outcome, Rendering, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::driver::{Desk, Known};

/// Makes one plan after the other, whoever asks.
#[derive(Debug, Clone)]
pub struct Planning {
    turn: Arc<Semaphore>,
}

/// The turn of who wants a plan. What is known is to be asked for when it has come, and not before: who waits behind others would
/// go by what was.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Planning {
    /// Of a coordinator.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "one for all services, not one that is made up where it is missing"
    )]
    pub fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for the turn.
    ///
    /// # Errors
    /// If this process is stopping.
    pub(super) async fn turn(&self) -> Result<Turn, Status> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        turn.map(|permit| Turn { _permit: permit })
            .map_err(|_| stopping())
    }
}

impl Turn {
    /// Makes a plan on a thread of its own. The turn ends with the value that comes back, or with the thread: whoever asked may
    /// be gone, and the next one has to wait for it all the same.
    ///
    /// # Errors
    /// If this process is stopping, or the planner has a defect.
    pub(super) async fn plan(
        self,
        known: Known,
        request: Request,
        rendering: Arc<Rendering>,
    ) -> Result<(Outcome, Self), Status> {
        self.make(move || known.plan(request, &rendering)).await
    }

    async fn make<T: Send + 'static>(
        self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Self), Status> {
        let made = tokio::task::spawn_blocking(move || (make(), self)).await;
        made.map_err(|failed| match failed.is_panic() {
            true => Status::internal(
                "the planner failed at this request, which is a defect: the coordinator's log says where",
            ),
            false => stopping(),
        })
    }
}

fn stopping() -> Status {
    Status::unavailable("this coordinator is stopping; try again")
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
            let turn = planning.turn().await.unwrap();
            let mut planned = Box::pin(turn.plan(known, request, Arc::default()));
            assert!(poll!(&mut planned).is_pending());
            let mut next = Box::pin(planning.turn());
            assert!(poll!(&mut next).is_pending(), "one at a time");
            drop(let_go);
            other.await.unwrap().unwrap_err();
            let (outcome, turn) = planned.await.unwrap();
            let report = outcome.report.to_string();
            assert!(report.contains("web@a"), "of what was known: {report}");
            assert!(poll!(&mut next).is_pending(), "until it is started");
            drop(turn);
            let failed = next.await.unwrap().make(|| panic!("a defect")).await;
            let failed = failed.map(drop).unwrap_err();
            assert_eq!(failed.code(), tonic::Code::Internal, "{failed}");
            planning.turn().await.unwrap();
        });
    }
}
