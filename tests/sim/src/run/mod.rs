//! One run: everything together, one event after the other.
//!
//! | file | holds |
//! |---|---|
//! | `coordinators` | coordinator processes: writes, then sends; death and recovery |
//! | `network` | sessions that delay, end, lose, repeat |
//! | `agents` | agent processes around their ledgers |
//! | `looking` | what agents see of their nodes |
//! | `hearing` | what agents do with the messages of coordinators |
//! | `machines` | actions that take their time |
//! | `boots` | machines that go down and come up |
//! | `guards` | what guards decide and begin |
//! | `operator` | the person who plans, starts, approves and decides |
//! | `trouble` | what goes wrong by chance |
//! | `deaths` | instances that die by themselves |
//! | `backup` | a store that goes back to an earlier copy of itself |

mod agents;
mod backup;
mod boots;
mod coordinators;
mod deaths;
mod guards;
mod hearing;
mod looking;
mod machines;
mod network;
mod operator;
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_engine::coordinator::{CheckReport, FromAgent, ToAgent};
use interlock_model::action::Power;
use interlock_model::ids::{AttemptId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::StepId;

use crate::agent::Agent;
use crate::fact::{Fact, Sight};
use crate::invariants::{self, Invariant, Violation};
use crate::random::Random;
use crate::schedule::Schedule;
use crate::setup::{Report, Setup};
use crate::store::Store;
use crate::world::World;

use backup::Backup;
use coordinators::Process;
use network::{Network, Travel};
use operator::Operator;

pub(crate) use looking::EVERY;
pub(crate) use network::SessionId;

/// A run that takes longer than this will not come to its end.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How long after the trouble everything must be done.
const LIVENESS: Duration = Duration::from_secs(1500);

/// What can happen.
#[derive(Debug)]
enum Event {
    /// A coordinator process starts.
    CoordinatorUp,
    /// It dies.
    CoordinatorDown { process: u32 },
    /// It looks at the clock.
    Tick { process: u32 },
    /// Its oldest write becomes durable.
    Stored { process: u32 },
    /// It notices that a session is over.
    Closed { session: SessionId },
    /// A message reaches an agent.
    ToAgent {
        session: SessionId,
        term: Term,
        message: ToAgent,
        late: bool,
    },
    /// A message reaches a coordinator.
    ToCoordinator {
        session: SessionId,
        message: FromAgent,
    },
    /// An agent tries to open a session.
    Connect { node: NodeName, life: u64 },
    /// An agent process starts.
    AgentUp { node: NodeName, boots: u64 },
    /// A batch of an agent becomes durable.
    Recorded {
        node: NodeName,
        life: u64,
        batch: u64,
    },
    /// An agent says that it is there.
    Beat { node: NodeName, life: u64 },
    /// An agent looks at everything on its node.
    Look { node: NodeName, life: u64 },
    /// Probes have come to an end.
    Found {
        node: NodeName,
        life: u64,
        results: Vec<(CheckReport, Duration)>,
    },
    /// The time limit of an attempt passes at its agent.
    TimeLimit {
        node: NodeName,
        life: u64,
        id: AttemptId,
    },
    /// An action on a machine comes to its end.
    JobEnds {
        node: NodeName,
        boots: u64,
        id: AttemptId,
    },
    /// A machine that goes down has stopped its services and its agent.
    Halfway {
        node: NodeName,
        boots: u64,
        id: AttemptId,
    },
    /// A machine that goes down is down.
    PowersOff {
        node: NodeName,
        boots: u64,
        again: bool,
    },
    /// A machine is up.
    Booted { node: NodeName, boots: u64 },
    /// A power source has answered its `via` node.
    Answered {
        via: NodeName,
        life: u64,
        session: SessionId,
        ask: u64,
        node: NodeName,
        power: Power,
    },
    /// The operator looks at the screen.
    Operator,
    /// A second operator tries.
    Rival,
    /// Something goes wrong by chance.
    Trouble,
    /// What an agent says is held up by chance.
    Stall,
    /// An instance dies by chance.
    Mortality,
    /// This one does.
    Dies {
        node: NodeName,
        service: ServiceName,
    },
    /// An agent notices that something has happened to its instances.
    Noticed { node: NodeName, life: u64 },
    /// The time of a restart that a guard had in mind has come.
    GuardDue {
        node: NodeName,
        life: u64,
        service: ServiceName,
    },
    /// What a guard began comes to its end.
    GuardEnds {
        node: NodeName,
        boots: u64,
        life: u64,
        service: ServiceName,
        work: u64,
    },
    /// The store is copied.
    BackUp,
    /// A trouble is over.
    Reachable { node: NodeName },
}

/// One run.
#[derive(Debug)]
pub struct Simulation {
    setup: Setup,
    random: Random,
    schedule: Schedule<Event>,
    world: World,
    store: Store,
    network: Network,
    agents: BTreeMap<NodeName, Agent>,
    process: Option<Process>,
    processes: u32,
    term: Term,
    operator: Operator,
    invariants: Vec<Box<dyn Invariant>>,
    report: Report,
    tells: bool,
    /// The coordinator dies as soon as it has sent another attempt.
    dies_after_dispatch: bool,
    /// Decides what instances and guards come to: apart from the rest, so that all else goes as it does without.
    fates: Random,
    /// Counts what guards begin.
    guard_works: u64,
    /// The instance that does not live long.
    doomed: Option<(NodeName, ServiceName)>,
    backups: Vec<Backup>,
}

impl Simulation {
    /// A cluster that is up and healthy, and a coordinator that has just been given its spec.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let mut world = World::up(setup.spec.clone(), |nodes| random.pick(nodes).cloned());
        if setup.down {
            world.all_off();
        }
        let agents = setup
            .spec
            .nodes
            .values()
            .filter(|node| node.agentless.is_none())
            .map(|node| (node.name.clone(), Agent::new()))
            .collect();
        let report = Report {
            seed: setup.seed,
            finished: false,
            violations: Vec::new(),
            crashed: false,
            journal_writes: 0,
            steps: Vec::new(),
            attempts: 0,
            attention: 0,
            deaths: 0,
            died: 0,
            guarded: 0,
            restored: 0,
            took: Duration::ZERO,
            story: Vec::new(),
        };
        Self {
            store: Store::new(setup.spec.clone()),
            operator: Operator::new(&setup.tasks),
            network: Network::new(),
            schedule: Schedule::new(),
            process: None,
            processes: 0,
            term: Term(0),
            invariants: invariants::all(),
            tells: false,
            dies_after_dispatch: false,
            fates: Random::new(setup.seed ^ 0x00dea_d5eed_u64),
            guard_works: 0,
            doomed: None,
            backups: Vec::new(),
            world,
            agents,
            random,
            report,
            setup,
        }
    }

    /// Keeps the story as well.
    #[must_use]
    pub fn telling(mut self) -> Self {
        self.tells = true;
        self
    }

    /// Runs until the operator has everything, a rule is broken, or patience is at its end.
    #[must_use]
    pub fn run(mut self) -> Report {
        self.begin();
        let patience = PATIENCE.min(self.setup.trouble + LIVENESS);
        while self.report.violations.is_empty() && !self.report.finished {
            let Some(event) = self.schedule.take() else {
                break;
            };
            if self.now() > patience {
                break;
            }
            self.happen(event);
            self.tell_all(&Fact::Moment);
        }
        self.report.took = self.now();
        self.report
    }

    fn begin(&mut self) {
        self.found_store();
        self.schedule.after(Duration::ZERO, Event::CoordinatorUp);
        let nodes: Vec<NodeName> = self.agents.keys().cloned().collect();
        for node in nodes {
            let delay = self.random.millis(0, 300);
            self.schedule
                .after(delay, Event::AgentUp { node, boots: 1 });
        }
        self.schedule.after(Duration::from_secs(2), Event::Operator);
        if self.setup.trouble > Duration::ZERO {
            self.schedule.after(Duration::from_secs(3), Event::Trouble);
            self.schedule.after(Duration::from_secs(5), Event::Rival);
        }
        if self.setup.harsh {
            self.doom_one();
            self.schedule
                .after(Duration::from_secs(3), Event::Mortality);
        }
        if self.setup.stalls > Duration::ZERO {
            self.schedule.after(Duration::from_secs(2), Event::Stall);
        }
        if self.setup.restores {
            self.schedule.after(Duration::from_secs(1), Event::BackUp);
        }
    }

    fn now(&self) -> Duration {
        self.schedule.now()
    }

    /// Do things go wrong by chance now?
    fn troubled(&self) -> bool {
        self.now() < self.setup.trouble
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::CoordinatorUp => self.coordinator_up(),
            Event::CoordinatorDown { process } => self.coordinator_down(process),
            Event::Tick { process } => self.tick(process),
            Event::Stored { process } => self.stored(process),
            Event::Closed { session } => self.closed(session),
            Event::ToAgent {
                session,
                term,
                message,
                late,
            } => {
                self.arrive_at_agent(&Travel {
                    session,
                    term,
                    message,
                    late,
                });
            }
            Event::ToCoordinator { session, message } => {
                self.arrive_at_coordinator(session, message)
            }
            Event::Connect { node, life } => self.connect(&node, life),
            Event::AgentUp { node, boots } => self.agent_up(&node, boots),
            Event::Recorded { node, life, batch } => self.recorded(&node, life, batch),
            Event::Beat { node, life } => self.beat(&node, life),
            Event::Look { node, life } => self.look(&node, life),
            Event::Found {
                node,
                life,
                results,
            } => self.found(&node, life, results),
            Event::TimeLimit { node, life, id } => self.time_limit(&node, life, &id),
            Event::JobEnds { node, boots, id } => self.job_ends(&node, boots, &id),
            Event::Halfway { node, boots, id } => self.halfway(&node, boots, &id),
            Event::PowersOff { node, boots, again } => self.powers_off(&node, boots, again),
            Event::Booted { node, boots } => self.booted(&node, boots),
            Event::Answered {
                via,
                life,
                session,
                ask,
                node,
                power,
            } => {
                self.answered(&via, life, session, ask, node, power);
            }
            Event::Operator => self.operate(),
            Event::Rival => self.rival(),
            Event::Trouble => self.trouble(),
            Event::Stall => self.stall(),
            Event::Mortality => self.mortality(),
            Event::Dies { node, service } => self.dies(&node, &service),
            Event::Noticed { node, life } => self.noticed(&node, life),
            Event::GuardDue {
                node,
                life,
                service,
            } => self.guard_due(&node, life, &service),
            Event::GuardEnds {
                node,
                boots,
                life,
                service,
                work,
            } => self.guard_ends(&node, boots, life, &service, work),
            Event::BackUp => self.back_up(),
            Event::Reachable { node } => self.network.reachable(&node),
        }
    }

    /// Tells the invariants of a fact.
    fn tell_all(&mut self, fact: &Fact<'_>) {
        let mut sight = Sight {
            now: self.schedule.now(),
            world: &self.world,
            store: &mut self.store,
        };
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.see(fact, &mut sight) {
                self.report.violations.push(Violation {
                    invariant: invariant.number(),
                    at: self.schedule.now(),
                    what,
                });
            }
        }
    }

    /// Notes a line of the story.
    fn say(&mut self, line: impl FnOnce() -> String) {
        if self.tells {
            let line = format!("{:9.3}  {}", self.now().as_secs_f64(), line());
            self.report.story.push(line);
        }
    }

    fn note_step(&mut self, step: &StepId) {
        self.report.attempts += 1;
        if !self.report.steps.contains(step) {
            self.report.steps.push(step.clone());
        }
    }
}
