//! Every operation, killed at every point: it is finished all the same, and no rule is broken.
//!
//! The coordinator dies before each journal write, between the write and what was to follow, and after that. The agent
//! of each step dies when its attempt has arrived, when its action has begun, when it has ended, and when its outcome
//! is written down. Each run must have reached its point: a test that silently stops reaching later points is none.
//!
//! Of the longest operations every fifth or seventh point is tried, which is another moment of another write or step
//! each time: all of them would take minutes, and the same code carries out the shorter ones at every point.

use std::sync::Arc;

use interlock_model::plan::PlanKind;
use interlock_model::spec::Spec;
use interlock_sim::{Crash, Report, Setup, Simulation, StepMoment, Task, WriteMoment, clusters};

/// One seed is enough: the point of the crash is chosen, not drawn.
const SEED: u64 = 17;

/// The operation under test.
struct Subject {
    kind: PlanKind,
    spec: Arc<Spec>,
    /// Every how manyth point is tried: 1, or a number that 3 and 4 do not divide, so that every kind of moment is.
    every: usize,
}

impl Subject {
    fn run(&self, crash: Option<Crash>) -> Report {
        let mut setup = Setup::quiet(SEED, &self.spec, &[Task::all(self.kind)]);
        setup.down = self.kind == PlanKind::Startup;
        setup.crash = crash;
        Simulation::new(setup).run()
    }

    /// A run with a crash must reach it, finish, and keep the rules. If not, the whole story is told.
    fn survives(&self, crash: &Crash) {
        let report = self.run(Some(crash.clone()));
        assert!(report.crashed, "{crash:?} was not reached");
        assert!(report.deaths > 0, "{crash:?} killed nobody");
        assert!(report.attention == 0, "{crash:?} called a person: {report}");
        assert!(
            report.finished && report.violations.is_empty(),
            "{crash:?}: {report}"
        );
    }

    fn survives_the_death_of_the_coordinator_everywhere(&self) {
        let whole = self.run(None);
        whole.assert_good();
        assert!(whole.journal_writes > 10, "{whole}");
        let points: Vec<Crash> = (0..whole.journal_writes)
            .flat_map(|write| WriteMoment::ALL.map(|moment| Crash::Coordinator { write, moment }))
            .collect();
        self.survives_some(&points);
    }

    fn survives_the_death_of_an_agent_in_every_step(&self) {
        let steps = self.run(None).steps;
        assert!(steps.len() > 5, "{steps:?}");
        let mut points = Vec::new();
        for step in steps {
            for moment in StepMoment::ALL {
                // A machine that goes down takes its agent with it; what is left is the boot after that.
                let machine =
                    step.as_str().starts_with("power-off:") || step.as_str().starts_with("reboot:");
                if machine && moment != StepMoment::Arrived && moment != StepMoment::Begun {
                    continue;
                }
                points.push(Crash::Agent {
                    step: step.clone(),
                    moment,
                });
            }
        }
        self.survives_some(&points);
    }

    fn survives_some(&self, points: &[Crash]) {
        let tried = points.iter().step_by(self.every);
        assert!(tried.len() > 10, "{} of {}", tried.len(), points.len());
        tried.for_each(|crash| self.survives(crash));
    }
}

macro_rules! matrix {
    ($($name:ident: $kind:ident of $cluster:ident, every $every:literal);* $(;)?) => {$(
        mod $name {
            use super::*;

            #[test]
            fn the_coordinator_may_die_around_every_write() {
                Subject { kind: PlanKind::$kind, spec: clusters::$cluster(), every: $every }
                    .survives_the_death_of_the_coordinator_everywhere();
            }

            #[test]
            fn an_agent_may_die_inside_every_step() {
                Subject { kind: PlanKind::$kind, spec: clusters::$cluster(), every: $every }
                    .survives_the_death_of_an_agent_in_every_step();
            }
        }
    )*};
}

matrix! {
    shutdown_of_large: Shutdown of large, every 1;
    startup_of_large: Startup of large, every 1;
    startup_of_small: Startup of small, every 1;
    restart_of_small: Restart of small, every 1;
    reboot_of_small: Reboot of small, every 1;
    restart_of_large: Restart of large, every 5;
    reboot_of_large: Reboot of large, every 7;
}
