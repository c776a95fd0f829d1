//! The texts of files that plans write, rendered apart from the driver.
//!
//! A reader's template may take seconds for a service on hundreds of nodes. The driver, which every operation waits for, only
//! puts into the plan what is ready by then. One is rendered at a time, so that many of them leave a processor free.

use std::sync::Arc;

use interlock_mesh::reason::{Because as _, Reason};
use interlock_model::ids::Generation;
use interlock_model::spec::Spec;
use interlock_planner::{Rendering, Request};
use tokio::sync::Semaphore;
use tonic::Status;

use crate::driver::Handle;

/// Renders one template after the other.
#[derive(Debug, Clone)]
pub(super) struct Renderer {
    turn: Arc<Semaphore>,
}

/// What was rendered, and from which generation of the spec.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    pub(super) rendering: Arc<Rendering>,
    pub(super) generation: Option<Generation>,
}

impl Renderer {
    pub(super) fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// The texts that a plan for this request writes.
    ///
    /// # Errors
    /// If there is no spec to plan from, or this process is stopping.
    pub(super) async fn render(
        &self,
        driver: &Handle,
        request: &Request,
    ) -> Result<Rendered, Status> {
        if request.change.is_none() {
            return Ok(Rendered {
                rendering: Arc::default(),
                generation: None,
            });
        }
        let (spec, generation) = driver
            .call(|desk| {
                let applied = desk.coordinator.plannable();
                applied
                    .map(|applied| (Arc::clone(&applied.spec), applied.record.generation))
                    .map_err(|why| {
                        Status::failed_precondition(why.to_string()).because(Reason::NoSpec)
                    })
            })
            .await??;
        Ok(Rendered {
            rendering: self.apart(spec, request.clone()).await?,
            generation: Some(generation),
        })
    }

    /// Renders on a thread of its own.
    async fn apart(&self, spec: Arc<Spec>, request: Request) -> Result<Arc<Rendering>, Status> {
        let stopping = || Status::unavailable("this coordinator is stopping; try again");
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(|_| stopping())?;
        let rendered = tokio::task::spawn_blocking(move || {
            let rendered = interlock_planner::render(&spec, &request);
            // Whoever asked may be gone; the next one has to wait for the thread all the same.
            drop(turn);
            rendered
        });
        Ok(Arc::new(rendered.await.map_err(|_| stopping())?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::poll;
    use interlock_model::plan::PlanKind;
    use interlock_planner::{Change, Scope};

    use super::*;

    const SPEC: &str = "
cluster: shop
nodes: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } }
services:
  web: { nodes: [a, b], active: all, manager: { process: { name: web } }, files: { app: {} } }
";

    #[test]
    fn a_template_is_rendered_while_everything_else_goes_on() {
        let spec = Spec::parse(SPEC.as_bytes(), "test").unwrap().spec;
        let services = BTreeSet::from(["web".parse().unwrap()]);
        let mut request = Request::new(PlanKind::Restart, Scope::Services(services));
        request.change = Some(Change {
            file: None,
            template: "{{ node.name }}".to_owned(),
            even_if_unchanged: false,
        });
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            // The only other thread has something else to do until it is let go.
            let (let_go, held) = std::sync::mpsc::channel::<()>();
            let other = tokio::task::spawn_blocking(move || held.recv());
            let renderer = Renderer::new();
            let mut rendering = Box::pin(renderer.apart(Arc::new(spec), request));
            assert!(poll!(&mut rendering).is_pending());
            drop(let_go);
            other.await.unwrap().unwrap_err();
            assert!(rendering.await.unwrap().has_texts());
        });
    }
}
