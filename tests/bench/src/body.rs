//! What light agents do: as good as nothing, and note when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use interlock_agent::exec::Verb;
use interlock_agent::session::{Assignment, Attempt, Board, Executor, Outcome};
use interlock_model::action::Command;
use interlock_model::names::ServiceName;
use interlock_model::observation::{InstanceObservation, InstanceState};

use crate::process::Process;
use crate::runner::Runner;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    NoOp,
    /// A process that is started and ends, as a real agent runs it.
    Process,
}

/// When the steps of each service arrived at the agents, and when they were done.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    times: Arc<Mutex<BTreeMap<ServiceName, Times>>>,
    coordinator: Process,
}

/// First and last of one service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The first step arrived.
    pub(crate) first: Instant,
    /// The last step was done.
    pub(crate) last: Instant,
    /// What the two sides had used by the first arrival.
    pub(crate) used: Cpu,
}

/// Time on a core, of the one that dispatches and of the process with the agents.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// The coordinator's, or that of the floor's server.
    pub(crate) coordinator: Duration,
    /// That of this process.
    pub(crate) agents: Duration,
}

impl Cpu {
    /// What both have used so far.
    pub(crate) fn now(coordinator: Process) -> Result<Self> {
        Ok(Self {
            coordinator: coordinator.cpu()?,
            agents: Process::own().cpu()?,
        })
    }

    /// What both used since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            coordinator: self.coordinator.saturating_sub(earlier.coordinator),
            agents: self.agents.saturating_sub(earlier.agents),
        }
    }
}

impl Trace {
    /// An empty one, which looks at the coordinator's use of the cores as well.
    pub(crate) fn new(coordinator: Process) -> Self {
        Self {
            times: Arc::default(),
            coordinator,
        }
    }

    /// What was noted since this was last called, by service, in the order of the first arrival.
    pub(crate) fn take(&self) -> Vec<(ServiceName, Times)> {
        let mut times: Vec<_> = std::mem::take(&mut *self.lock()).into_iter().collect();
        times.sort_by_key(|(_, times)| times.first);
        times
    }

    fn note(&self, service: &ServiceName) {
        let last = Instant::now();
        let mut times = self.lock();
        if let Some(times) = times.get_mut(service) {
            times.last = last;
            return;
        }
        // A process that has ended has used nothing, and then there is nothing to measure either.
        let used = Cpu::now(self.coordinator).unwrap_or_default();
        let first = last;
        times.insert(service.clone(), Times { first, last, used });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Times>> {
        // Every change is complete before anything can panic.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::iter::Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            coordinator: sum.coordinator + one.coordinator,
            agents: sum.agents + one.agents,
        })
    }
}

/// The time between two moments; none if they are the other way round.
pub(crate) fn between(first: Instant, then: Instant) -> Duration {
    then.saturating_duration_since(first)
}

/// The executor of a light agent. It posts what became of an instance, as a real one does.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) board: Board,
    pub(crate) trace: Trace,
    /// For agents that start a process.
    pub(crate) runner: Option<Runner>,
}

impl Body {
    fn post(&self, service: &ServiceName, state: InstanceState) {
        let seen = InstanceObservation {
            state,
            ..InstanceObservation::default()
        };
        self.board.post_instance(service, seen);
    }
}

impl Executor for Body {
    async fn execute(&self, attempt: Attempt) -> Outcome {
        let (service, state, verb) = match &attempt.command {
            Command::Start { service, .. } => (service, InstanceState::Running, Verb::Start),
            Command::Stop { service, .. } => (service, InstanceState::Stopped, Verb::Stop),
            _ => return Outcome::done("nothing to do"),
        };
        self.trace.note(service);
        if let Some(runner) = &self.runner
            && let Err(error) = runner.run(&attempt.id, verb).await
        {
            let evidence = format!("{error:#}");
            return Outcome::Failed { evidence };
        }
        self.post(service, state);
        self.trace.note(service);
        Outcome::done("nothing to do")
    }

    fn assigned(&self, assignment: &Assignment) {
        for service in assignment.instances.keys() {
            self.post(service, InstanceState::Stopped);
        }
    }
}
