//! What the pure engine takes for a stage of a thousand steps: no wire, no store, no other thread.
//!
//! Every step is dispatched, accepted and proven, and its instance seen in its new state: three messages. They are put
//! to the engine as the driver does it, in batches, and each batch ends with letting the operation go on and taking
//! what is to be written and sent. Batches of one are the worst case; a busy driver finds more in its inbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interlock_engine::coordinator::{
    Coordinator, FromAgent, Hello, Loaded, Send, StartRequest, ToAgent,
};
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::PlanKind;
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};
use interlock_planner::{Input, Request, Scope};

use crate::cluster;
use crate::figure::Figure;

const NODES: usize = 1_000;
const BATCHES: [usize; 2] = [1, 16];

/// Measures.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let figure = |batch| {
        let took = stage(batch)?.as_secs_f64() * 1e6 / NODES as f64;
        let name = format!("engine: stage of {NODES} steps, batches of {batch}");
        Ok(Figure::new(name, "us a step", took))
    };
    BATCHES.into_iter().map(figure).collect()
}

/// The time of one startup of a service on all nodes.
fn stage(batch: usize) -> Result<Duration> {
    let nodes = cluster::nodes(NODES)?;
    let source = cluster::spec(&nodes, &[("wide", &nodes)]);
    let spec = Arc::new(Spec::parse(source.as_bytes(), "bench.yaml")?.spec);
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default())?;
    coordinator.apply_spec(spec, source, "bench.yaml".to_owned(), "bench", now());
    for node in &nodes {
        let hello = Hello {
            boot: BootId(format!("boot of {node}")),
            generation: Generation(1),
            ..Hello::default()
        };
        coordinator.agent(node, FromAgent::Hello(Box::new(hello)), now());
        coordinator.agent(node, seen(InstanceState::Stopped)?, now());
    }
    coordinator.take_output();
    let plan = {
        let applied = coordinator.applied().context("no spec")?;
        let outcome = interlock_planner::plan(&Input {
            spec: &applied.spec,
            generation: applied.record.generation,
            request: Request::new(PlanKind::Startup, Scope::All),
            observations: Some(&coordinator.observations(now())),
            memory: coordinator.activity(),
            forgotten: coordinator.forgotten(),
            power_verified: None,
        });
        outcome.plan.context("there is no plan")?
    };
    let request = StartRequest {
        plan: Arc::new(plan),
        by: "bench".to_owned(),
        reason: "to measure it".to_owned(),
        single_step: false,
    };
    let id = coordinator.start(&request, now())?;

    let mut answers = VecDeque::new();
    let begin = Instant::now();
    answer(coordinator.take_output().sends, &mut answers)?;
    while !answers.is_empty() {
        for (node, message) in answers
            .drain(..batch.min(answers.len()))
            .collect::<Vec<_>>()
        {
            coordinator.agent(&node, message, now());
        }
        coordinator.advance(now());
        answer(coordinator.take_output().sends, &mut answers)?;
    }
    let took = begin.elapsed();
    ensure!(coordinator.operation(id).is_none(), "{id} is not done");
    Ok(took)
}

/// What agents say to what they are told.
fn answer(sends: Vec<Send>, answers: &mut VecDeque<(NodeName, FromAgent)>) -> Result<()> {
    for Send { to, message } in sends {
        let ToAgent::Dispatch { id, .. } = message else {
            continue;
        };
        for state in [AttemptState::Accepted, AttemptState::Done] {
            let report = AttemptReport {
                id: id.clone(),
                state,
                evidence: "nothing to do".to_owned(),
                repeatable: false,
            };
            answers.push_back((to.clone(), FromAgent::Attempt(report)));
        }
        answers.push_back((to, seen(InstanceState::Running)?));
    }
    Ok(())
}

fn seen(state: InstanceState) -> Result<FromAgent> {
    let service: ServiceName = "wide".parse()?;
    let instance = InstanceObservation {
        state,
        ..InstanceObservation::default()
    };
    Ok(FromAgent::Observed {
        full: false,
        generation: Generation(1),
        instances: vec![(service, instance)],
        checks: Vec::new(),
        refuses: Vec::new(),
    })
}

/// A clock that stands still: nothing of this takes time.
fn now() -> Now {
    Now {
        mono: Duration::from_secs(1),
        wall: Timestamp(1),
    }
}
