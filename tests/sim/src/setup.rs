//! What a run is told beforehand, and what it tells afterwards.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::names::ServiceName;
use interlock_model::plan::{PlanKind, StepId};
use interlock_model::spec::Spec;
use interlock_planner::Scope;

use crate::invariants::{Number, Violation};
use crate::mutant::Mutant;

/// Everything that decides a run. The same setup gives the same run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// The cluster.
    pub spec: Arc<Spec>,
    /// Is it down when the run begins, with what was active remembered? Otherwise it is up and healthy.
    pub down: bool,
    /// What the operator does, one after the other.
    pub tasks: Vec<Task>,
    /// How long things go wrong by chance; zero for a quiet run.
    pub trouble: Duration,
    /// Do instances die by themselves as well, so that guards have something to do, and do messages of dead sessions
    /// arrive long after? Without, a seed goes the way that it went before there was any of this.
    pub harsh: bool,
    /// Is the store replaced by an earlier copy of itself now and then, when its coordinator dies?
    pub restores: bool,
    /// The operator takes for done what has failed instead of having it tried again, and then has all of it taken back.
    pub impatient: bool,
    /// How long what agents say is held up now and then, for seconds each time; zero for a network that is not slow.
    pub stalls: Duration,
    /// The one thing that goes wrong on purpose.
    pub crash: Option<Crash>,
    /// The rule that is not kept.
    pub mutant: Option<Mutant>,
}

impl Setup {
    /// A quiet run of some tasks.
    #[must_use]
    pub fn quiet(seed: u64, spec: &Arc<Spec>, tasks: &[Task]) -> Self {
        Self {
            seed,
            spec: Arc::clone(spec),
            down: false,
            tasks: tasks.to_vec(),
            trouble: Duration::ZERO,
            harsh: false,
            restores: false,
            impatient: false,
            stalls: Duration::ZERO,
            crash: None,
            mutant: None,
        }
    }
}

/// Something that the operator wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What.
    pub kind: PlanKind,
    /// To what.
    pub scope: Scope,
    /// What a file of it shall say from then on.
    pub text: Option<String>,
}

impl Task {
    /// A task over the whole cluster.
    #[must_use]
    pub fn all(kind: PlanKind) -> Self {
        Self {
            kind,
            scope: Scope::All,
            text: None,
        }
    }

    /// A rolling restart of a service, whose only file says this from then on.
    #[must_use]
    pub fn change(service: &ServiceName, text: &str) -> Self {
        Self {
            kind: PlanKind::Restart,
            scope: Scope::Services([service.clone()].into()),
            text: Some(text.to_owned()),
        }
    }
}

/// A crash at a chosen point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crash {
    /// The coordinator dies at its n-th journal write, counted from 0.
    Coordinator {
        /// Which write.
        write: usize,
        /// Where exactly.
        moment: WriteMoment,
    },
    /// The agent that carries out a step dies.
    Agent {
        /// The step.
        step: StepId,
        /// Where exactly.
        moment: StepMoment,
    },
}

/// A point around a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMoment {
    /// The write is lost, and all that was to follow.
    Before,
    /// The write is durable, and nothing that was to follow has left.
    Between,
    /// The write is durable, and what was to follow has left.
    After,
}

impl WriteMoment {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Before, Self::Between, Self::After];
}

/// A point inside a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepMoment {
    /// The attempt has arrived and is not in the ledger yet.
    Arrived,
    /// Its action has begun.
    Begun,
    /// Its action has ended, and the ledger does not know yet.
    Ended,
    /// Its outcome is in the ledger, and nobody was told.
    Recorded,
}

impl StepMoment {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Arrived, Self::Begun, Self::Ended, Self::Recorded];
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Was everything done that the operator wanted?
    pub finished: bool,
    /// The rules that were broken; a run ends at the first.
    pub violations: Vec<Violation>,
    /// Was the point of the crash reached?
    pub crashed: bool,
    /// How many journal writes there were.
    pub journal_writes: usize,
    /// The steps of all plans that agents carried out.
    pub steps: Vec<StepId>,
    /// How many attempts began.
    pub attempts: usize,
    /// How often a person had to decide.
    pub attention: usize,
    /// How many coordinators and agents died.
    pub deaths: usize,
    /// How many instances died by themselves.
    pub died: usize,
    /// How often a guard began to bring one up again.
    pub guarded: usize,
    /// How often the store went back to an earlier copy of itself.
    pub restored: usize,
    /// The virtual time that it took.
    pub took: Duration,
    /// The story, where it was asked for.
    pub story: Vec<String>,
}

impl Report {
    /// Panics unless everything was done and no rule was broken, and says how to see it again.
    pub fn assert_good(&self) {
        assert!(self.finished && self.violations.is_empty(), "{self}");
    }

    /// Was this rule broken?
    #[must_use]
    pub fn broke(&self, number: Number) -> bool {
        self.violations
            .iter()
            .any(|violation| violation.invariant == number)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.finished {
            "finished"
        } else {
            "did not finish"
        };
        writeln!(
            f,
            "seed {} {outcome} after {:.1}s of its own time, {} attempts, {} deaths",
            self.seed,
            self.took.as_secs_f64(),
            self.attempts,
            self.deaths
        )?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        let from = self.story.len().saturating_sub(80);
        for line in &self.story[from..] {
            writeln!(f, "    {line}")?;
        }
        write!(
            f,
            "  the last 80 lines of its story; it always goes like this"
        )
    }
}
